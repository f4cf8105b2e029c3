"""The backbone against timm's and mmpretrain's implementations, and in every mode of use."""
import copy
import re
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from peers import import_mmpretrain, import_timm

from convnext_dense.errors import InputError
from convnext_dense.models import ConvNeXt
from convnext_dense.models.architectures import ARCHITECTURES

SMALL = dict(arch=dict(depths=(1, 1, 2, 1), channels=(8, 16, 24, 32)), layer_scale_init_value=1.)
V2 = dict(use_grn=True, layer_scale_init_value=0.)
#: gradients of their stem only, which pass through every layer
BIG = {'large', 'xlarge', 'xxlarge', 'huge'}


def random_backbone(seed=0, **cfg):
    """A backbone whose every parameter differs from its initial value, built without waiting."""
    with torch.device('meta'):
        model = ConvNeXt(**cfg)
    model.to_empty(device='cpu').eval()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        spread = .3 if parameter.ndim == 1 or 'grn' in name else .05
        parameter.data.normal_(0, spread, generator=generator)
        if name.endswith('weight') and parameter.ndim == 1:
            parameter.data.add_(1)
    return model


def timm_name(name):
    """timm's name of a parameter, from its published layout."""
    name = name.replace('downsample_layers.0.', 'stem.')
    name = re.sub(r'downsample_layers\.(\d)\.', r'stages.\1.downsample.', name)
    name = re.sub(r'stages\.(\d)\.(\d+)\.', r'stages.\1.blocks.\2.', name)
    for ours, theirs in (('dwconv', 'conv_dw'), ('pwconv1', 'mlp.fc1'), ('pwconv2', 'mlp.fc2'),
                         ('grn.gamma', 'mlp.grn.weight'), ('grn.beta', 'mlp.grn.bias')):
        name = name.replace(ours, theirs)
    return name


def mmpretrain_name(name):
    for ours, theirs in (('dwconv', 'depthwise_conv'), ('pwconv', 'pointwise_conv')):
        name = name.replace(ours, theirs)
    return name


def share_weights(ours, peer, rename):
    """Give ``peer`` the very tensors of ``ours``; returns the peer's names that got none."""
    shapes = {name: tensor.shape for name, tensor in peer.state_dict().items()}
    names = {name: rename(name) for name in ours.state_dict()}
    named = dict(ours.named_parameters())
    for name, theirs in names.items():
        if theirs in shapes:
            # a reshaped view keeps the link to our leaf
            owner, _, attribute = theirs.rpartition('.')
            module = peer.get_submodule(owner)
            del module._parameters[attribute]
            setattr(module, attribute, named[name].view(shapes[theirs]))
    return set(shapes) - set(names.values())


class Reference:
    """Our backbone of one architecture, with its maps and gradients for an image.

    Args:
        arch (str): name of the architecture.
        version (str): ``'v1'`` or ``'v2'``.
    """

    def __init__(self, arch, version):
        self.arch, self.use_grn = arch, version == 'v2'
        self.options = V2 if self.use_grn else {}
        self.model = random_backbone(arch=arch, **self.options)
        self.parameters = [parameter for name, parameter in self.model.named_parameters()
                           if arch not in BIG or name.startswith('downsample_layers.0')]
        self.image = torch.randn(1, 3, 64, 64)
        outputs = self.model(self.image)
        self.weights = [torch.randn_like(output) for output in outputs]
        self.gradients = self.gradients_of(outputs)
        self.outputs = [output.detach() for output in outputs]

    def gradients_of(self, maps):
        loss = sum((output * weight).sum() for output, weight in zip(maps, self.weights))
        return torch.autograd.grad(loss, self.parameters)

    def assert_same(self, expected, tolerance=1e-5):
        """Outputs and gradients agree, relative to the largest value of each."""
        for found, values in ((self.outputs, expected),
                              (self.gradients, self.gradients_of(expected))):
            for a, b in zip(found, values, strict=True):
                assert (a - b).abs().max() <= tolerance * max(b.abs().max(), 1)


LARGE = ('large', 'xlarge', 'huge', 'xxlarge')


@pytest.fixture(scope='module', params=[
    pytest.param((arch, version), id=f'{arch}-{version}',
                 marks=[pytest.mark.slow] * (arch in LARGE))
    for arch in ARCHITECTURES for version in ('v1', 'v2')])
def reference(request):
    """Both peers are compared with it before the next one is built."""
    return Reference(*request.param)


def test_features_and_gradients_equal_timm(reference):
    timm, ours = import_timm(), reference.model
    with torch.device('meta'):
        peer = timm.models.convnext.ConvNeXt(
            depths=ours.depths, dims=ours.channels, num_classes=0, use_grn=reference.use_grn,
            ls_init_value=None if reference.use_grn else 1e-6, head_init_scale=1.,
            norm_eps=ours.norm0.eps).eval()
    missing = share_weights(ours, peer, timm_name)
    assert missing <= {'head.norm.weight', 'head.norm.bias'}
    features = peer.forward_intermediates(reference.image, intermediates_only=True)
    norms = [getattr(ours, f'norm{stage}') for stage in range(4)]
    reference.assert_same([
        F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], norm.weight, norm.bias, norm.eps)
        .permute(0, 3, 1, 2) for x, norm in zip(features, norms)])


def test_features_and_gradients_equal_mmpretrain(reference, monkeypatch):
    import_mmpretrain()
    from mmpretrain.models.backbones import ConvNeXt as Peer
    if reference.arch not in Peer.arch_settings:
        pytest.skip(f'this mmpretrain has no arch {reference.arch}')
    # it reads its drop path rates off a tensor, which must hold values also on the meta device
    monkeypatch.setattr(torch, 'linspace', partial(torch.linspace, device='cpu'))
    with torch.device('meta'):
        peer = Peer(arch=reference.arch, out_indices=(0, 1, 2, 3), gap_before_final_norm=False,
                    **reference.options)
    peer.eval()
    missing = share_weights(reference.model, peer, mmpretrain_name)
    assert not missing
    reference.assert_same(peer(reference.image))


def test_a_config_for_mmpretrain_builds_by_changing_the_scope():
    """The backbone of mmdet's and mmseg's own ConvNeXt configs, word for word but for the scope."""
    from mmdet.registry import MODELS
    backbone = MODELS.build(dict(
        type='convnext_dense.ConvNeXt', arch='tiny', out_indices=[0, 1, 2, 3],
        drop_path_rate=0.4, layer_scale_init_value=1.0, gap_before_final_norm=False,
        init_cfg=dict(type='Pretrained', checkpoint='file.pth', prefix='backbone.')))
    assert isinstance(backbone, ConvNeXt)
    assert [info.channels for info in backbone.feature_info] == [96, 192, 384, 768]


@pytest.mark.parametrize('out_indices, stages', [
    (None, (0, 1, 2, 3)), (-1, (3, )), ((0, -1), (0, 3)), ([2], (2, )), ((-4, 2), (0, 2))])
def test_any_subset_of_the_stages_can_be_returned(out_indices, stages):
    model = ConvNeXt(**SMALL, out_indices=out_indices).eval()
    maps = model(torch.randn(2, 3, 64, 96))
    assert tuple(info.stage for info in model.feature_info) == stages
    for output, info in zip(maps, model.feature_info, strict=True):
        assert output.shape == (2, info.channels, 64 // info.stride, 96 // info.stride)
    norms = {name.split('.')[0] for name, _ in model.named_parameters() if name[:4] == 'norm'}
    assert norms == {f'norm{stage}' for stage in stages}


def test_the_number_of_stages_is_free():
    model = ConvNeXt(arch=dict(depths=(1, 2, 1, 1, 1), channels=(4, 8, 12, 16, 20)))
    assert [tuple(x.shape[1:]) for x in model(torch.randn(1, 3, 128, 128))] == [
        (4, 32, 32), (8, 16, 16), (12, 8, 8), (16, 4, 4), (20, 2, 2)]


def test_stem_patch_and_input_channels_are_free():
    model = ConvNeXt(**SMALL, stem_patch_size=2, in_channels=5)
    maps = model(torch.randn(1, 5, 32, 32))
    assert [info.stride for info in model.feature_info] == [2, 4, 8, 16]
    assert maps[0].shape[-2:] == (16, 16)


@pytest.mark.parametrize('size', [(32, 32), (33, 47), (63, 95), (101, 37)])
def test_odd_sizes_give_maps_rounded_down(size):
    maps = ConvNeXt(**SMALL).eval()(torch.randn(1, 3, *size))
    assert maps[0].shape[-2:] == (size[0] // 4, size[1] // 4)
    assert maps[-1].shape[-2:] == (size[0] // 32, size[1] // 32)


def test_pointwise_layers_as_convolutions_give_the_same_values():
    linear = random_backbone(**SMALL)
    convolutions = ConvNeXt(**SMALL, linear_pw_conv=False).eval()
    shapes = {name: x.shape for name, x in convolutions.state_dict().items()}
    convolutions.load_state_dict({name: x.view(shapes[name])
                                  for name, x in linear.state_dict().items()})
    image = torch.randn(1, 3, 64, 64)
    for a, b in zip(linear(image), convolutions(image)):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_other_norms_and_activations_come_from_mmcv():
    model = ConvNeXt(**SMALL, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))
    assert isinstance(model.stages[0][0].norm, torch.nn.BatchNorm2d)
    assert isinstance(model.norm3, torch.nn.BatchNorm2d)
    assert isinstance(model.stages[0][0].act, torch.nn.ReLU)
    model(torch.randn(2, 3, 64, 64))[0].sum().backward()


@pytest.mark.parametrize('options', [{}, V2])
def test_channels_last_gives_the_same_features_and_keeps_the_layout(options):
    model = random_backbone(**{**SMALL, **options})
    image = torch.randn(2, 3, 64, 64)
    expected = model(image)
    model.to(memory_format=torch.channels_last)
    maps = model(image.to(memory_format=torch.channels_last))
    for a, b in zip(maps, expected):
        assert a.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('options', [{}, V2])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast_stays_near_float32_and_trains(dtype, options):
    model = random_backbone(**{**SMALL, **options})
    image = torch.randn(2, 3, 64, 64)
    expected = model(image)
    with torch.autocast('cpu', dtype=dtype):
        maps = model(image)
    bound = 0.1 if dtype is torch.bfloat16 else 0.02
    for a, b in zip(maps, expected):
        assert (a.float() - b).norm() / b.norm() < bound
    sum(x.float().sum() for x in maps).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize('options', [{}, V2])
def test_activation_checkpointing_gives_the_same_gradients(options):
    plain = random_backbone(**{**SMALL, **options}, drop_path_rate=.5).train()
    recomputed = ConvNeXt(**{**SMALL, **options}, drop_path_rate=.5, with_cp=True).train()
    recomputed.load_state_dict(plain.state_dict())
    image = torch.randn(4, 3, 64, 64)
    for model in (plain, recomputed):
        torch.manual_seed(3)
        sum(x.square().mean() for x in model(image)).backward()
    for a, b in zip(plain.parameters(), recomputed.parameters()):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize('options', [pytest.param({}, marks=pytest.mark.slow), V2])
def test_compiled_equals_eager(options):
    arch = dict(depths=(1, 2), channels=(8, 16))  # every layer that there is
    model = random_backbone(**{**SMALL, **options, 'arch': arch})
    compiled = torch.compile(copy.deepcopy(model), backend='aot_eager', fullgraph=True)
    for size in ((64, 64), (64, 96)):
        image = torch.randn(1, 3, *size)
        for a, b in zip(compiled(image), model(image)):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('frozen', range(-1, 5))
def test_frozen_stages_stay_in_eval_and_get_no_gradient(frozen):
    model = ConvNeXt(**SMALL, frozen_stages=frozen, drop_path_rate=.5).train()
    maps = model(torch.randn(2, 3, 64, 64))
    assert all(x.requires_grad != (frozen == 4) for x in maps)
    if frozen < 4:
        sum(x.sum() for x in maps).backward()
    for stage in range(4):
        for part in (model.downsample_layers[stage], model.stages[stage]):
            assert part.training == (stage >= frozen)
            for parameter in part.parameters():
                assert (parameter.grad is None) == (stage < frozen)
        # a wholly frozen backbone has nothing left to train
        assert (getattr(model, f'norm{stage}').weight.grad is None) == (frozen == 4)


def test_drop_path_rises_linearly_over_all_blocks():
    model = ConvNeXt(arch='tiny', drop_path_rate=.4)
    rates = [getattr(block.drop_path, 'drop_prob', 0.) for stage in model.stages
             for block in stage]
    assert rates == pytest.approx([.4 * index / 17 for index in range(18)])


def test_initial_weights_are_those_of_the_release():
    model = ConvNeXt(arch='atto', layer_scale_init_value=1.)
    model.init_weights()
    weight = model.stages[3][0].pwconv1.weight
    assert weight.std().item() == pytest.approx(.02, rel=.05)
    assert model.stages[3][0].pwconv1.bias.abs().max() == 0
    assert (model.stages[0][0].gamma == 1).all() and (model.norm0.weight == 1).all()


KAIMING = dict(type='Kaiming', layer=['Conv2d', 'Linear'], mode='fan_in', distribution='normal')


@pytest.mark.parametrize('version', [dict(layer_scale_init_value=1.), V2], ids=['v1', 'v2'])
@pytest.mark.parametrize('init_cfg', [None, KAIMING], ids=['default', 'kaiming'])
def test_zero_padding_does_not_blow_up_the_first_gradients(init_cfg, version):
    """Half of a batch zero, as padding after normalisation makes it."""
    def gradient_norm(images):
        model.zero_grad()
        sum((out * weight).sum() for out, weight in zip(model(images), weights)).backward()
        return torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()

    torch.manual_seed(0)
    model = ConvNeXt(**{**SMALL, **version}, init_cfg=init_cfg)
    model.init_weights()
    images = torch.randn(4, 3, 64, 64)
    weights = [torch.randn_like(out) for out in model(images)]
    whole = gradient_norm(images)
    images[2:] = 0
    assert gradient_norm(images) < 2 * whole


def test_a_bias_of_the_stem_that_is_set_stays():
    model = ConvNeXt(**SMALL, init_cfg=dict(type='Constant', layer='Conv2d', val=.1, bias=.5))
    model.init_weights()
    assert (model.downsample_layers[0][0].bias == .5).all()


def test_pretrained_weights_without_a_bias_stay_as_they_are(tmp_path):
    weights = random_backbone(**SMALL).state_dict()
    weights['downsample_layers.0.0.bias'].zero_()
    torch.save(weights, tmp_path / 'weights.pth')
    model = ConvNeXt(**SMALL, init_cfg=dict(type='Pretrained',
                                            checkpoint=str(tmp_path / 'weights.pth')))
    model.init_weights()
    assert not model.downsample_layers[0][0].bias.any()


@pytest.mark.parametrize('cfg, words', [
    (dict(arch='tinny'), ['tinny', 'tiny', 'xlarge']),
    (dict(arch=dict(depths=(1, 2), channels=(8, ))), ['depths=[1, 2]', 'channels=[8]']),
    (dict(arch=dict(depths=(1, ))), ['depths', 'channels']),
    (dict(out_indices=(0, 4)), ['out_indices', '(0, 4)', '0 to 3']),
    (dict(out_indices=(1, -3)), ['out_indices', 'once']),
    (dict(out_indices=()), ['out_indices']),
    (dict(frozen_stages=5), ['frozen_stages=5', '0 to 4']),
    (dict(drop_path_rate=1.), ['drop_path_rate=1.0', 'below 1']),
    (dict(drop_path_rate=-.1), ['drop_path_rate=-0.1', 'from 0']),
    (dict(drop_path_rate=None), ['drop_path_rate=None', 'from 0']),
    (dict(frozen_stages='2'), ["frozen_stages='2'", '0 to 4']),
    (dict(frozen_stages=-2), ['frozen_stages=-2', '0 to 4']),
    (dict(in_channels=0), ['in_channels=0', 'from 1 on']),
    (dict(stem_patch_size=2.), ['stem_patch_size=2.0', 'from 1 on']),
    (dict(norm_cfg=dict(eps=1e-6)), ['norm_cfg', 'a dict with a type']),
    (dict(norm_cfg='LN'), ["norm_cfg='LN'", 'a dict with a type']),
    (dict(gap_before_final_norm=True), ['gap_before_final_norm', 'False']),
])
def test_wrong_arguments_are_one_clear_error(cfg, words):
    with pytest.raises(InputError) as error:
        ConvNeXt(**cfg)
    assert all(word in str(error.value) for word in words)


def test_stages_behind_the_last_output_are_not_run_and_get_no_gradient():
    """Distributed training stops at parameters that expect a gradient and get none."""
    model = ConvNeXt(**SMALL, out_indices=(0, 2)).train()
    model.stages[3].forward = None
    maps = model(torch.randn(2, 3, 64, 64))
    sum(x.sum() for x in maps).backward()
    assert all((parameter.grad is not None) == parameter.requires_grad
               for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in model.stages[3].parameters())
    assert model.state_dict().keys() > ConvNeXt(**SMALL, out_indices=0).state_dict().keys() - {
        'norm0.weight', 'norm0.bias'}


@pytest.mark.parametrize('out_norm, normalised', [(True, [0, 1, 2, 3]), (False, []), ([3], [3])])
def test_outputs_without_a_norm_are_the_maps_of_the_stages(out_norm, normalised):
    model = ConvNeXt(**SMALL, out_norm=out_norm).eval()
    assert [stage for stage in range(4) if hasattr(model, f'norm{stage}')] == normalised
    x = torch.randn(1, 3, 64, 64)
    for stage, found in enumerate(model(x)):
        x = model.stages[stage](model.downsample_layers[stage](x))
        norm = getattr(model, f'norm{stage}', lambda y: y)
        torch.testing.assert_close(found, norm(x))


@pytest.mark.parametrize('options', [
    dict(with_cp=2), dict(with_cp=[4]), dict(with_cp=None), dict(with_cp=1.5), dict(out_norm=3),
    dict(out_norm=None), dict(out_norm=[3.]), dict(out_norm=[True])], ids=str)
def test_a_number_is_no_list_of_stages(options):
    with pytest.raises(InputError, match='give True, False or a list of stages, 0 to 3'):
        ConvNeXt(**SMALL, **options)
