"""A whole backbone with the fused operators against one in plain torch."""
import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from convnext_dense.acceleration import Acceleration, prepare
from convnext_dense.acceleration import triton as ops
from convnext_dense.acceleration.triton import give_kernels
from convnext_dense.checkpoints.lora import merge_adapters
from convnext_dense.errors import InputError
from convnext_dense.models import ConvNeXt
from convnext_dense.optim.trainable import add_lora

TINY = dict(arch=dict(depths=(1, 1), channels=(8, 12)), drop_path_rate=.3)
VERSIONS = {'v1': dict(layer_scale_init_value=.7),
            'v2': dict(use_grn=True, layer_scale_init_value=0.)}


def backbone(version, setting, **more):
    model = ConvNeXt(**TINY, **VERSIONS[version], **more).train()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(0, .3, generator=generator)
    prepare(model, 'train', settings=Acceleration(forms=False, ops=setting))
    return model


def run(model, image):
    torch.manual_seed(3)  # drop path
    maps = model(image)
    sum(x.float().square().mean() for x in maps).backward()
    return [*maps, *(parameter.grad for parameter in model.parameters())]


@pytest.mark.parametrize('version', VERSIONS)
def test_maps_and_gradients_equal_plain_torch(version):
    image = torch.randn(2, 3, 9, 14, generator=torch.Generator().manual_seed(1))
    ours, expected = (run(backbone(version, setting), image) for setting in ('triton', 'torch'))
    for a, b in zip(ours, expected, strict=True):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max().clamp(min=1)


def test_checkpointed_stages_give_the_same_gradients():
    image = torch.randn(1, 3, 9, 13, generator=torch.Generator().manual_seed(1))
    expected = run(backbone('v2', 'triton'), image)
    for a, b in zip(run(backbone('v2', 'triton', with_cp=[1]), image), expected):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize('version', VERSIONS)
def test_autocast_trains_with_16_bit_maps(version):
    model = backbone(version, 'triton')
    with torch.autocast('cpu', dtype=torch.bfloat16):
        maps = model(torch.randn(1, 3, 9, 13))
    assert {x.dtype for x in maps} == {torch.bfloat16}
    sum(x.float().square().mean() for x in maps).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_other_norms_and_activations_run_beside_the_fused_residual():
    options = dict(**TINY, use_grn=True, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))
    torch.manual_seed(0)
    plain = ConvNeXt(**options).eval()
    fused = copy.deepcopy(plain)
    prepare(fused, 'train', settings=Acceleration(forms=False, ops='triton'))
    image = torch.randn(1, 3, 16, 16)
    for a, b in zip(fused(image), plain(image)):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('version', VERSIONS)
def test_the_backbone_compiles_as_one_graph(version):
    model = backbone(version, 'triton').eval()
    image = torch.randn(1, 3, 9, 13)
    compiled = torch.compile(model, backend='aot_eager', fullgraph=True)
    for a, b in zip(compiled(image), model(image)):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


class Twice(nn.Module):
    def forward(self, weight):
        return 2 * weight


@pytest.mark.parametrize('name', ['dwconv', 'norm', 'pwconv1', 'pwconv2'])
def test_wrapped_layers_count_and_hooks_fire(name):
    results = []
    for setting in ('triton', 'torch'):
        model, seen = backbone('v2', setting).eval(), []
        layer = getattr(model.stages[1][0], name)
        parametrize.register_parametrization(layer, 'weight', Twice())
        layer.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        results.append([*model(torch.ones(1, 3, 9, 13)), len(seen)])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('version', VERSIONS)
def test_adapters_train_beside_the_kernels_and_merge_into_them(version):
    pytest.importorskip('peft')
    image = torch.randn(1, 3, 9, 13, generator=torch.Generator().manual_seed(1))
    plain = backbone(version, 'torch')
    adapted = ConvNeXt(**TINY, **VERSIONS[version])
    adapted.load_state_dict(plain.state_dict())
    add_lora(adapted, rank=2)
    generator = torch.Generator().manual_seed(2)
    for name, parameter in adapted.named_parameters():
        if '.lora_' in name:
            parameter.data.normal_(0, .3, generator=generator)
    merged = copy.deepcopy(plain)
    merged.load_state_dict(merge_adapters(
        adapted.state_dict(), dict(meta=dict(lora=dict(rank=2, alpha=4))), 'the adapted backbone'))
    outputs = []
    for model, setting in ((adapted, 'torch'), (adapted, 'triton'), (merged, 'triton')):
        model = copy.deepcopy(model).eval()
        prepare(model, 'train', settings=Acceleration(forms=False, ops=setting))
        maps = model(image)
        sum(x.square().mean() for x in maps).backward()
        outputs.append((maps, {name: parameter.grad for name, parameter
                               in model.named_parameters() if parameter.grad is not None}))
    expected, gradients = outputs[0]
    assert gradients and all('.lora_' in name for name in gradients)
    assert outputs[1][1].keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(outputs[1][1][name], gradient, atol=1e-5, rtol=1e-5)
    for maps, _ in outputs[1:]:
        for ours, theirs in zip(maps, expected, strict=True):
            assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max().clamp(min=1)


def test_on_a_cpu_auto_is_plain_torch():
    model = ConvNeXt(**TINY)
    assert give_kernels(model, 'auto', torch.device('cpu')) == (
        0, 'torch (the model is on the CPU)')
    assert not any('Triton' in type(module).__name__ for module in model.modules())


def test_what_runs_is_described():
    import triton
    cpu, cuda = torch.device('cpu'), torch.device('cuda')
    assert give_kernels(ConvNeXt(**TINY), 'torch', cuda) == (0, 'torch (as set)')
    count, form = give_kernels(ConvNeXt(**TINY), 'triton', cpu)
    assert form == f'triton {triton.__version__}' and count == 2 + 2 + 2 + 2


@pytest.mark.parametrize('installed, words', [
    (False, ['Triton is not installed']), (True, ['no CUDA GPU'])])
def test_kernels_that_cannot_run_are_one_clear_error(monkeypatch, installed, words):
    import triton
    monkeypatch.setattr(triton.knobs.runtime, 'interpret', False)
    monkeypatch.setattr(ops, 'find_spec', lambda name: name if installed else None)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(InputError) as error:
        prepare(ConvNeXt(**TINY), settings=Acceleration(ops='triton'))
    assert all(word in str(error.value) for word in words)


def test_an_old_triton_and_an_old_gpu_are_named(monkeypatch):
    import triton
    monkeypatch.setattr(triton, '__version__', '3.2.0')
    assert 'Triton 3.2.0 is too old' in ops._obstacle(torch.device('cuda'))
    monkeypatch.undo()
    monkeypatch.setattr(triton.knobs.runtime, 'interpret', False)
    monkeypatch.setattr(torch.version, 'cuda', '12.8')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (7, 5))
    assert 'compute capability 7.5' in ops._obstacle(torch.device('cuda'))
