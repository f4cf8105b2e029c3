"""Both demo models in tiny on the GPU: every way to train and test them, beside the CPU's."""
import math
import shutil

import pytest
import torch
from mmengine.config import ConfigDict

KINDS = ('detector', 'segmenter')
STEPS = 4


@pytest.fixture(scope='session')
def shapes(tmp_path_factory, device):
    from convnext_dense.datasets.shapes import write_shapes
    folder = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(folder, train=8, val=4, size=64)
    return folder


def config(kind, shapes, folder, device, wrapper=None, **settings):
    import tiny

    from convnext_dense.config import set_device
    length = dict(epochs=1) if kind == 'detector' else dict(iters=STEPS)
    cfg = getattr(tiny, f'{kind}_config')(shapes, folder, workers=0, **length)
    cfg.custom_hooks = []
    cfg.model.backbone.drop_path_rate = 0.
    cfg.default_hooks.logger.interval = 1
    cfg.default_hooks.checkpoint.update(interval=2, by_epoch=False, max_keep_ckpts=-1,
                                        save_best=None)
    cfg.randomness = dict(seed=0, deterministic=True)
    cfg.merge_from_dict(settings)
    if wrapper:
        cfg.optim_wrapper = ConfigDict(cfg.optim_wrapper, type='AmpOptimWrapper', **wrapper)
    set_device(cfg, device)
    return cfg


def train(cfg, device):
    """The runner after training, and the loss of each step."""
    from unittest import mock

    from convnext_dense.runtime import Runner
    torch.use_deterministic_algorithms(False)
    with mock.patch('mmengine.runner.runner.get_device', lambda: device):
        runner = Runner.from_cfg(cfg)
        runner.train()
    torch.use_deterministic_algorithms(False)  # the runner's setting would reach other tests
    return runner, runner.message_hub.log_scalars['train/loss']._log_history


@pytest.fixture(scope='session')
def trained(shapes, tmp_path_factory, device):
    """{kind: (work directory, losses)} of a plain training on the device."""
    found = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(kind)
        runner, losses = train(config(kind, shapes, folder, device), device)
        assert next(runner.model.parameters()).device.type == device
        found[kind] = folder, losses
    return found


@pytest.mark.parametrize('kind', KINDS)
def test_losses_follow_the_cpus(kind, shapes, trained, tmp_path):
    _, losses = trained[kind]
    _, expected = train(config(kind, shapes, tmp_path, 'cpu'), 'cpu')
    assert len(losses) == len(expected) == STEPS
    assert losses[0] == pytest.approx(expected[0], rel=1e-3)
    assert losses == pytest.approx(expected, rel=.05)


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
@pytest.mark.parametrize('kind', KINDS)
def test_mixed_precision_trains(kind, dtype, shapes, trained, tmp_path, device):
    scale = dict(enabled=False) if dtype == 'bfloat16' else 'dynamic'
    wrapper = dict(dtype=dtype, loss_scale=scale)
    runner, losses = train(config(kind, shapes, tmp_path, device, wrapper), device)
    assert len(losses) >= 2 and all(map(math.isfinite, losses))
    assert losses[0] == pytest.approx(trained[kind][1][0], rel=.05)
    assert all(parameter.dtype == torch.float32 for parameter in runner.model.parameters())


@pytest.mark.parametrize('settings', [
    dict(acceleration=dict(ops='auto')), dict(compile=True), dict(acceleration=False)],
    ids=['kernels', 'compiled', 'plain'])
@pytest.mark.parametrize('kind', KINDS)
def test_forms_train_alike(kind, settings, shapes, trained, tmp_path, device):
    if device == 'cpu' and 'compile' in settings:
        settings = dict(compile=dict(backend='eager'))
    _, losses = train(config(kind, shapes, tmp_path, device, **settings), device)
    assert losses == pytest.approx(trained[kind][1], rel=.05)


@pytest.mark.parametrize('kind', KINDS)
def test_a_run_goes_on_where_a_killed_one_stopped(kind, shapes, trained, tmp_path, device):
    folder, losses = trained[kind]
    checkpoint = next(iter(sorted(folder.glob('iter_2.pth'))))
    other = tmp_path / 'resumed'
    other.mkdir()
    shutil.copy(checkpoint, other)
    cfg = config(kind, shapes, other, device, resume=True, load_from=str(other / checkpoint.name))
    _, rest = train(cfg, device)
    # RoIAlign and bilinear interpolation add up with atomics on a GPU
    assert rest[-2:] == pytest.approx(losses[2:], rel=0 if device == 'cpu' else 1e-2)


@pytest.mark.parametrize('kind', KINDS)
def test_another_model_starts_from_this_one(kind, shapes, trained, tmp_path, device):
    folder, losses = trained[kind]
    last = sorted(folder.glob('iter_*.pth'))[-1]
    _, ours = train(config(kind, shapes, tmp_path, device, init_from=dict(source=str(last))),
                    device)
    assert abs(ours[0] - losses[0]) > 1e-3 * losses[0]  # it does not start where that one did


@pytest.mark.parametrize('graphs', [0, 2])
@pytest.mark.parametrize('kind', KINDS)
def test_predictions_are_the_cpus(kind, graphs, shapes, trained, device):
    from convnext_dense import Predictor
    folder, _ = trained[kind]
    images = sorted(map(str, (shapes / 'images' / 'validation').iterdir()))
    ours = Predictor(folder, device=device, threshold=0)
    if graphs:
        from convnext_dense.acceleration.cuda_graphs import use_cuda_graphs
        use_cuda_graphs(ours.model.backbone, graphs)
    for result, expected in zip(ours(images), Predictor(folder, device='cpu', threshold=0)(images)):
        if kind == 'segmenter':
            assert (result.labels == expected.labels).mean() > .99
        else:
            assert result.scores[:3] == pytest.approx(expected.scores[:3], abs=1e-3)
