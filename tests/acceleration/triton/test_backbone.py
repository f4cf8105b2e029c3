"""A whole backbone with the fused operators against one in plain torch."""
import logging

import pytest
import torch

from convnext_dense.acceleration import triton as ops
from convnext_dense.errors import InputError
from convnext_dense.models import ConvNeXt

TINY = dict(arch=dict(depths=(1, 1), channels=(8, 12)), drop_path_rate=.3)
VERSIONS = {'v1': dict(layer_scale_init_value=.7),
            'v2': dict(use_grn=True, layer_scale_init_value=0.)}


def backbone(version, setting, **more):
    model = ConvNeXt(**TINY, **VERSIONS[version], ops=setting, **more).train()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(0, .3, generator=generator)
    return model.to(memory_format=torch.channels_last)


def run(model, image):
    torch.manual_seed(3)  # drop path
    maps = model(image)
    sum(x.float().square().mean() for x in maps).backward()
    return [*maps, *(parameter.grad for parameter in model.parameters())]


@pytest.mark.no_cover  # other tests run the same lines
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
    fused = ConvNeXt(**options, ops='triton').eval()
    plain = ConvNeXt(**options, ops='torch').eval()
    plain.load_state_dict(fused.state_dict())
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


def test_on_a_cpu_auto_is_plain_torch(monkeypatch):
    monkeypatch.setattr(ops, 'module', None)
    model = ConvNeXt(**TINY)
    assert ops.module is None and not ops.wanted('auto', torch.zeros(1))
    assert ops.describe('auto', torch.device('cpu')) == 'torch (the model is on the CPU)'
    model(torch.randn(1, 3, 16, 16))


def test_what_runs_is_described():
    import triton
    cpu, cuda = torch.device('cpu'), torch.device('cuda')
    assert ops.describe('torch', cuda) == 'torch (as set)'
    assert ops.describe('triton', cpu) == f'triton {triton.__version__}'


@pytest.mark.parametrize('installed, words', [
    (False, ['Triton is not installed']), (True, ['no CUDA GPU'])])
def test_kernels_that_cannot_run_are_one_clear_error(monkeypatch, installed, words):
    import triton
    monkeypatch.setattr(triton.knobs.runtime, 'interpret', False)
    monkeypatch.setattr(ops, 'find_spec', lambda name: name if installed else None)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(InputError) as error:
        ConvNeXt(**TINY, ops='triton')
    assert all(word in str(error.value) for word in words)
    with pytest.raises(InputError, match="ops='cuda'; give one of auto, torch, triton"):
        ConvNeXt(**TINY, ops='cuda')


def test_an_old_triton_and_an_old_gpu_are_named(monkeypatch):
    import triton
    monkeypatch.setattr(triton, '__version__', '3.2.0')
    assert 'Triton 3.2.0 is too old' in ops._obstacle()
    monkeypatch.undo()
    monkeypatch.setattr(triton.knobs.runtime, 'interpret', False)
    monkeypatch.setattr(torch.version, 'cuda', '12.8')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: (7, 5))
    assert 'compute capability 7.5' in ops._obstacle()


def test_the_log_says_which_form_runs(caplog):
    from types import SimpleNamespace

    from convnext_dense.runtime.start_line import start_line
    runner = SimpleNamespace(
        model=torch.nn.Sequential(ConvNeXt(**TINY)), cfg={}, seed=0, deterministic=False,
        world_size=1, logger=logging.getLogger('test'))
    with caplog.at_level(logging.INFO):
        start_line(runner)
    assert 'ops torch (the model is on the CPU)' in caplog.text
