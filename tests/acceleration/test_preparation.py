"""The one door: the same values, forms where they fit, all of it switched off by one setting."""
import copy
import pickle
from itertools import product

import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn
from torch.nn.utils import parametrize

from convnext_dense.acceleration import Acceleration, prepare
from convnext_dense.acceleration.cpu.block import CpuBlock
from convnext_dense.acceleration.cpu.inference_block import InferenceBlock
from convnext_dense.acceleration.cpu.winograd import WinogradConv2d
from convnext_dense.acceleration.cpu.winograd_stack import WinogradStack
from convnext_dense.errors import InputError
from convnext_dense.models import ConvNeXt
from convnext_dense.models.convnext import Block

VERSIONS = dict(v1=dict(layer_scale_init_value=1.),
                v2=dict(use_grn=True, layer_scale_init_value=0.))


def backbone(version='v1', **options):
    torch.manual_seed(0)
    model = ConvNeXt(arch='atto', **VERSIONS[version], **options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * .05)
    return model


def images():
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def prepared(model, mode='infer', **settings):
    model = copy.deepcopy(model)
    prepare(model, mode, settings=Acceleration(**settings))
    return model


def assert_same(ours, expected):
    """Equal up to rounding: 2e-5 of the largest value."""
    assert float((ours - expected).abs().max()) <= 2e-5 * float(expected.abs().max())


def forms(model):
    return {type(module) for module in model.modules()
            if type(module).__module__.startswith('convnext_dense.acceleration')}


# ---- values


@pytest.mark.parametrize('part', [2**20, 5000], ids=['whole', 'chunks'])
@pytest.mark.parametrize('version', VERSIONS)
@torch.inference_mode()
def test_a_backbone_prepared_for_inference_gives_the_same_maps(version, part, monkeypatch):
    monkeypatch.setattr('convnext_dense.chunks.CHUNK_VALUES', part)
    model = backbone(version)
    ready = prepared(model)
    assert InferenceBlock in forms(ready)
    for ours, expected in zip(ready(images()), model(images()), strict=True):
        assert_same(ours, expected)


@pytest.mark.parametrize('version', VERSIONS)
def test_a_backbone_prepared_for_training_gives_the_same_maps_and_gradients(version):
    results = []
    model = backbone(version)
    for one in (model, prepared(model, 'train')):
        maps = one(images())
        gradients = torch.autograd.grad(sum(x.square().mean() for x in maps), one.parameters())
        results.append([*maps, *gradients])
    for expected, ours in zip(*results, strict=True):
        assert_same(ours, expected)


@torch.inference_mode()
def test_batch_norm_is_folded():
    torch.manual_seed(0)
    module = ConvModule(8, 6, 3, padding=1, norm_cfg=dict(type='BN')).eval()
    module.bn.running_mean.normal_()
    module.bn.running_var.uniform_(.5, 2)
    module.bn.weight.normal_()
    module.bn.bias.normal_()
    ready = prepared(module)
    assert isinstance(ready.norm, nn.Identity)
    maps = torch.randn(2, 8, 9, 7)
    assert_same(ready(maps), module(maps))


@torch.inference_mode()
def test_prepared_heads_of_a_detector_give_the_same_values():
    import mmdet.models  # noqa: F401
    from mmdet.registry import MODELS
    torch.manual_seed(0)
    box_head = MODELS.build(dict(
        type='ConvFCBBoxHead', num_shared_convs=2, num_shared_fcs=1, in_channels=64,
        conv_out_channels=64, fc_out_channels=32, num_classes=3, norm_cfg=dict(type='BN'))).eval()
    mask_head = MODELS.build(dict(
        type='FCNMaskHead', num_convs=2, in_channels=64, conv_out_channels=64, num_classes=3))
    for head, size in ((box_head, 7), (mask_head, 14)):
        features = torch.randn(20, 64, size, size).to(memory_format=torch.channels_last)
        ready = prepared(head)
        assert any(isinstance(module, WinogradStack) for module in ready.modules())
        outputs = [model(features) for model in (ready, head)]
        for ours, expected in zip(*outputs) if head is box_head else [outputs]:
            assert_same(ours, expected)


# ---- what has a form, and what does not


def test_training_keeps_names_values_and_identity_of_the_parameters():
    model = backbone(drop_path_rate=.1).train()
    before = {name: (parameter, parameter.detach().clone())
              for name, parameter in model.named_parameters()}
    names = list(model.state_dict())
    done = prepare(model, 'train')
    assert '18 blocks' not in done and f'{sum(model.depths)} blocks' in done
    assert list(model.state_dict()) == names and forms(model)
    for name, parameter in model.named_parameters():
        assert parameter is before[name][0] and torch.equal(parameter, before[name][1])
    assert model.training and all(p.requires_grad for p in model.parameters())


def test_preparing_twice_for_training_changes_nothing_more():
    model = backbone()
    prepare(model, 'train')
    first = [type(module) for module in model.modules()]
    prepare(model, 'train')
    assert [type(module) for module in model.modules()] == first


def test_a_trained_model_can_be_prepared_for_inference():
    model = backbone()
    expected = model(images())
    prepare(model, 'train')
    prepare(model, 'infer')
    assert InferenceBlock in forms(model) and CpuBlock not in forms(model)
    for ours, wanted in zip(model(images()), expected, strict=True):
        assert_same(ours, wanted)


def test_copies_and_pickles_keep_their_form():
    model = prepared(backbone(), 'train')
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert forms(twin) == forms(model)
        for a, b in zip(twin(images()), model(images()), strict=True):
            assert torch.equal(a, b)


def test_one_setting_switches_all_of_it_off():
    model = backbone()
    twin = copy.deepcopy(model)
    assert prepare(model, 'infer', settings=Acceleration.from_config(False)) == [
        'as it is (acceleration=False)']
    assert not forms(model) and not any(p.requires_grad for p in model.parameters())
    for a, b in zip(model(images()), twin(images()), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize('off', [False, None])
def test_switched_off_the_forms_of_a_prepared_model_go(off):
    model = prepared(backbone(), 'train')
    assert forms(model)
    prepare(model, 'train', settings=off)
    assert not forms(model)


def test_settings_are_also_taken_as_a_config_writes_them():
    model = backbone()
    assert prepare(model, 'train', settings=dict(memory_format='contiguous', forms=False)) == [
        'contiguous']
    assert prepare(model, 'train', settings=True) == prepare(backbone(), 'train')
    with pytest.raises(InputError, match="there is no 'opps'"):
        prepare(model, settings=dict(opps='triton'))


def test_a_folded_model_is_not_trained():
    model = prepared(backbone(), 'infer')
    prepare(model, 'infer')
    with pytest.raises(InputError, match='the layers of this ConvNeXt were folded'):
        prepare(copy.deepcopy(model), 'train')
    plain = backbone()
    prepare(plain, 'infer', settings=Acceleration(forms=False))
    prepare(plain, 'train')


def test_a_model_on_the_cpu_has_no_cuda_graphs():
    done = prepare(backbone(), settings=Acceleration(cuda_graphs=2))
    assert done[-1] == 'no CUDA graphs (the model is on the CPU)'


@pytest.mark.parametrize('mode, winograd, given', [
    ('train', 'infer', False), ('train', True, True), ('infer', 'infer', True),
    ('infer', False, False)])
def test_winograd_rounds_more_and_trains_only_where_it_is_asked_for(mode, winograd, given):
    model = prepared(nn.Sequential(nn.Conv2d(64, 64, 3, padding=1)), mode, winograd=winograd)
    assert isinstance(model[0], WinogradConv2d) == given


def test_narrow_and_compiled_convolutions_are_left_to_torch():
    model = nn.Sequential(nn.Conv2d(64, 63, 3, padding=1))
    assert not forms(prepared(model, winograd=True))
    model = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), backbone())
    assert not forms(prepared(model, 'train', winograd=True, compile=True))


# ---- seams: wrapped layers, hooks, other devices


class Twice(nn.Module):
    def forward(self, weight):
        return 2 * weight


@pytest.mark.parametrize('name, mode, when', [
    *product(['dwconv', 'norm', 'pwconv1', 'pwconv2', 'grn'], ['train'], ['before', 'after']),
    *product(['dwconv', 'norm', 'pwconv1', 'pwconv2', 'grn'], ['infer'], ['before']),
    # what GRN and pwconv2 are folded into is another layer afterwards
    *product(['dwconv', 'norm', 'pwconv1'], ['infer'], ['after'])])
def test_a_parametrised_layer_counts_whenever_it_was_wrapped(name, mode, when):
    def wrap(model):
        tensor = 'gamma' if name == 'grn' else 'weight'
        parametrize.register_parametrization(getattr(model.stages[1][0], name), tensor, Twice())
        return model
    expected = wrap(backbone('v2'))(images())
    model = backbone('v2')
    if when == 'before':
        wrap(model)
    prepare(model, mode)
    if when == 'after':
        wrap(model)
    for ours, wanted in zip(model(images()), expected, strict=True):
        assert_same(ours, wanted)


@pytest.mark.parametrize('mode', ['train', 'infer'])
def test_hooks_of_all_layers_fire_in_a_prepared_model(mode):
    model, seen = prepared(backbone('v2'), mode), []
    watched = [module for name, module in model.named_modules()
               if not list(module.children()) and not isinstance(module, nn.Identity)]
    for module in watched:
        module.register_forward_hook(lambda module, *_: seen.append(module))
    model(images())
    assert set(seen) == set(watched)


@torch.no_grad()
def test_a_prepared_model_computes_in_double_on_meta_and_with_gradients():
    model = prepared(backbone())
    for change in (torch.Tensor.double, lambda x: x.to('meta')):
        x = change(images())
        maps = copy.deepcopy(model).to(x.device, x.dtype)(x)
        assert [y.shape[1] for y in maps] == [40, 80, 160, 320]
    with torch.enable_grad():
        x = images().requires_grad_()
        assert torch.autograd.grad(model(x)[-1].sum(), x)[0].abs().sum() > 0


def test_the_first_bad_module_is_found_in_a_prepared_model():
    """The search goes by hooks, which a faster form must not pass over."""
    from convnext_dense.models.layers import LayerNorm2d
    model, found = prepared(backbone(), 'train'), []
    with torch.no_grad():
        model.stages[1][1].norm.weight.fill_(float('nan'))
    for module in model.modules():
        if isinstance(module, (LayerNorm2d, nn.Linear, nn.Conv2d)):
            module.register_forward_hook(
                lambda module, _, y: found.append(module) if y.isnan().any() else None)
    model(images())
    assert found[0] is model.stages[1][1].norm


# ---- settings


@pytest.mark.parametrize('setting, message', [
    (dict(memory_format='nhwc'), "memory_format='nhwc'; give one of 'channels_last'"),
    (dict(winograd='train'), "winograd='train'; give one of False, 'infer', True"),
    (dict(ops='cuda'), "ops='cuda'; give one of 'torch'"),
    (dict(forms=1), 'forms=1; give one of False, True'),
    (dict(cuda_graphs=-1), 'cuda_graphs=-1; give a number'),
    (dict(compile=True, cuda_graphs=2), 'do not go together'),
    (dict(compile='yes'), "compile='yes': give True, False or a dict"),
    (dict(opps='triton'), "there is no 'opps'; the settings are memory_format, forms"),
    ('fast', "acceleration='fast': give True, False or a dict")])
def test_settings_that_cannot_be_are_one_line(setting, message):
    with pytest.raises(InputError, match=message.replace('(', r'\(')) as error:
        Acceleration.from_config(setting)
    assert '\n' not in str(error.value)


def test_defaults_and_mmengines_own_compile():
    assert Acceleration.from_config(None) == Acceleration.from_config(True) == Acceleration()
    assert Acceleration.from_config(False) is None
    assert Acceleration.from_config(None, compile=True).compile is True
    assert Acceleration().ops == 'torch'  # until the kernels have run on a GPU


def test_an_unknown_mode_is_named():
    with pytest.raises(InputError, match="mode='test'; give train or infer"):
        prepare(nn.Linear(1, 1), 'test')


def test_a_block_that_is_a_subclass_of_somebody_elses_is_left_alone():
    class Own(Block):
        def compute(self, x):
            return super().compute(x) + 1
    model = backbone()
    model.stages[0][0].__class__ = Own
    prepare(model, 'train')
    assert type(model.stages[0][0]) is Own
