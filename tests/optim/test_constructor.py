"""Optimizer groups of whole models, and what the log says of them."""
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from convnext_dense.errors import InputError
from convnext_dense.models import ConvNeXt
from convnext_dense.optim import LearningRateDecayOptimizerConstructor


class Model(nn.Module):
    """The least that a detector has: a backbone and something after it."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Conv2d(8, 4, 1)


def build(backbone=None, wd=.05, lr=1e-4, **paramwise):
    paramwise = {'decay_rate': .5, **paramwise}
    model = Model(backbone or ConvNeXt('atto', use_grn=True, layer_scale_init_value=0.))
    return model, build_optim_wrapper(model, dict(
        type='OptimWrapper', optimizer=dict(type='AdamW', lr=lr, weight_decay=wd),
        constructor='convnext_dense.LearningRateDecayOptimizerConstructor',
        paramwise_cfg=paramwise))


def settings(model, wrapper):
    """{parameter name: (lr, weight decay)} as the optimizer holds them."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(parameter)]: (group['lr'], group['weight_decay'])
            for group in wrapper.optimizer.param_groups for parameter in group['params']}


def test_every_trainable_parameter_is_in_exactly_one_group():
    backbone = ConvNeXt('atto', frozen_stages=1)
    model, wrapper = build(backbone)
    grouped = [id(p) for group in wrapper.optimizer.param_groups for p in group['params']]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_lr_and_weight_decay_follow_the_layer():
    found = settings(*build())
    assert found['head.weight'] == (1e-4, .05)
    assert found['head.bias'] == (1e-4, 0.)
    assert found['backbone.norm3.weight'] == (1e-4, 0.)
    assert found['backbone.stages.3.1.pwconv1.weight'] == (1e-4 * .5, .05)
    assert found['backbone.stages.2.0.grn.gamma'] == (1e-4 * .5**3, 0.)
    assert found['backbone.downsample_layers.0.0.weight'] == (1e-4 * .5**6, .05)


def test_the_first_group_has_the_base_lr_which_is_what_the_log_shows():
    _, wrapper = build(lr=2e-4)
    assert wrapper.get_lr()['lr'][0] == 2e-4
    assert wrapper.optimizer.param_groups[0]['lr_scale'] == 1.


def test_custom_keys_are_honoured_the_longest_first():
    found = settings(*build(custom_keys={
        'head': dict(lr_mult=10.), 'backbone.stages': dict(decay_mult=.5),
        'backbone.stages.3': dict(lr_mult=.1)}))
    assert found['head.weight'] == (1e-3, .05)
    assert found['backbone.stages.0.0.pwconv1.weight'][1] == .025
    assert found['backbone.stages.3.0.pwconv1.weight'] == (pytest.approx(1e-4 * .5 * .1), .05)


def test_stage_wise_decay():
    found = settings(*build(decay_type='stage_wise', decay_rate=.9))
    assert found['backbone.downsample_layers.3.1.weight'][0] == pytest.approx(1e-4 * .9**6)
    assert found['backbone.stages.3.0.pwconv1.weight'][0] == pytest.approx(1e-4 * .9**2)


def test_swin_and_resnet_have_a_stem_stages_and_heads_too():
    from mmdet.models import ResNet, SwinTransformer
    swin = SwinTransformer(embed_dims=8, depths=(2, 2, 6, 2), num_heads=(1, 1, 2, 2))
    found = settings(*build(swin))
    assert found['backbone.patch_embed.projection.weight'][0] == 1e-4 * .5**6
    assert found['backbone.stages.3.blocks.1.ffn.layers.1.weight'] == (1e-4 * .5, .05)
    table = 'backbone.stages.0.blocks.0.attn.w_msa.relative_position_bias_table'
    assert found[table][1] == 0.
    found = settings(*build(ResNet(18, base_channels=8)))
    assert found['backbone.conv1.weight'][0] == 1e-4 * .5**5
    assert found['backbone.layer4.1.conv2.weight'][0] == 1e-4 * .5


def test_the_log_has_one_line_for_each_group(monkeypatch):
    lines = []
    monkeypatch.setattr('convnext_dense.optim.constructor.print_log',
                        lambda message, **_: lines.append(message))
    _, wrapper = build()
    assert len(lines) == 1 + len(wrapper.optimizer.param_groups)
    assert lines[1] == 'layer  6: lr scale 1, weight decay 0.05, 1 tensors'


@pytest.mark.parametrize('paramwise, words', [
    (dict(decay_rate=0.), ['decay_rate=0.0']), (dict(decay_rate=None), ['decay_rate=None']),
    (dict(decay_type='block_wise'), ['block_wise', 'layer_wise']),
    (dict(num_layer=6), ['num_layer', 'num_layers']),
    (dict(num_layers=3), ['num_layers=3', 'use 5'])])
def test_wrong_settings_are_one_clear_error(paramwise, words):
    with pytest.raises(InputError) as error:
        build(**paramwise)
    assert all(word in str(error.value) for word in words)


def test_an_unknown_backbone_is_named():
    model = Model(nn.Conv2d(3, 8, 1))
    constructor = LearningRateDecayOptimizerConstructor(
        dict(optimizer=dict(type='AdamW', lr=1.)), dict(decay_rate=.9))
    with pytest.raises(InputError, match='not Conv2d'):
        constructor(model)


def test_a_step_moves_the_parameters_by_their_own_lr():
    model, wrapper = build(wd=0.)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    loss = sum(p.sum() for p in model.parameters())
    wrapper.update_params(loss)
    for name, parameter in model.named_parameters():
        step = (before[name] - parameter).abs().mean().item()
        assert step == pytest.approx(settings(model, wrapper)[name][0], rel=2e-2), name
    assert torch.isfinite(loss)
