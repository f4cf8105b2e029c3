"""Configs that start from named weights, and the linear probes of frozen ones."""
import pytest
import torch
from config_files import FILES, config, meta_model
from mmengine.config import ConfigDict

from convnext_dense.checkpoints import zoo
from convnext_dense.checks.preflight import pixel_warnings

NAMED = [name for name, path in FILES.items() if '_dinov3' in path.read_text()
         or '_clip-' in path.read_text()]
LINEAR = [name for name, path in FILES.items() if path.parent.name == 'linear']


def checkpoint(name):
    return config(name).model.backbone.init_cfg.checkpoint


def test_each_head_has_recipes_from_dinov3_and_clip():
    def count(head, kind):
        return len([name for name in NAMED if name.startswith(head) and f'-{kind}_' in name])
    assert [count('upernet', kind) for kind in ('dinov3', 'clip')] == [4, 2]
    assert [count('cascade-mask-rcnn', kind) for kind in ('dinov3', 'clip')] == [4, 2]
    assert len(LINEAR) == count('linear', 'dinov3') == 4


@pytest.mark.parametrize('name', NAMED)
def test_the_weights_are_of_the_backbone_s_arch_and_their_pixels_are_the_model_s(name):
    entry, backbone = zoo.entry(checkpoint(name)), config(name).model.backbone
    assert entry.name.startswith(f'convnext-{backbone.arch}_')
    assert pixel_warnings(config(name)) == []
    assert f'-{entry.name.partition("_")[2].partition("-")[0]}_' in name
    if name not in LINEAR:
        assert config(name).recipe == 'convnext_dense' and config(name).published is None


@pytest.mark.parametrize('name', LINEAR)
def test_of_a_linear_probe_norm_and_one_layer_train(name):
    model = meta_model(name)
    assert {key for key, parameter in model.named_parameters() if parameter.requires_grad} == {
        f'decode_head.{part}.{kind}' for part in ('norm', 'conv_seg') for kind in (
            'weight', 'bias')}
    assert [info.stage for info in model.backbone.feature_info] == [3]
    assert model.decode_head.conv_seg.weight.shape == (150, model.backbone.channels[-1], 1, 1)


def test_the_linear_probe_s_recipe_is_the_published_one():
    cfg = config(LINEAR[0])
    assert cfg.train_dataloader.batch_size == 16 and cfg.train_cfg.max_iters == 40000
    assert cfg.optim_wrapper.optimizer.lr == cfg.optim_wrapper.optimizer.weight_decay == 1e-3
    warm_up, cosine = cfg.param_scheduler
    assert warm_up.end == 1500 and cosine.type == 'CosineAnnealingLR'
    assert cosine.T_max == cosine.end == 40000 and cosine.eta_min == 0
    assert cfg.model.test_cfg == dict(mode='slide', crop_size=(512, 512), stride=(341, 341),
                                      keep_logits=False)


def test_a_training_step_of_a_linear_probe():
    from mmengine.registry import MODELS, DefaultScope
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample
    model = ConfigDict(config(LINEAR[0]).model.to_dict())
    model.backbone.update(arch=dict(depths=(1, 1, 1, 1), channels=(8, 8, 8, 16)), init_cfg=None)
    model.decode_head.update(in_channels=16, num_classes=3, norm_cfg=dict(type='BN'))
    with DefaultScope.overwrite_default_scope('mmseg'):
        segmenter = MODELS.build(model).train()
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 3, (1, 64, 64))))
    losses = segmenter.loss(torch.randn(2, 3, 64, 64), [sample, sample])
    losses['decode.loss_ce'].backward()
    assert all(parameter.grad is None for parameter in segmenter.backbone.parameters())
    assert all(parameter.grad is not None for parameter in segmenter.decode_head.parameters())
