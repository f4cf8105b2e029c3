"""Whole models in bfloat16 on a CPU: every operator on their way works under autocast."""
import math

import pytest
import tiny
from mmengine.config import ConfigDict

from convnext_dense.config import set_device
from convnext_dense.datasets.shapes import write_shapes
from convnext_dense.runtime import Runner

CONFIGS = dict(detector=(tiny.detector_config, dict(epochs=1)),
               segmenter=(tiny.segmenter_config, dict(iters=2)))


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(folder, train=4, val=2, size=64)
    return folder


def losses(kind, data, folder, **settings):
    """Of each step."""
    make, length = CONFIGS[kind]
    cfg = make(data, folder, workers=0, **length)
    cfg.custom_hooks = []
    cfg.default_hooks.logger.interval = 1
    cfg.optim_wrapper = ConfigDict(cfg.optim_wrapper, **settings)
    set_device(cfg, 'cpu')
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner.optim_wrapper, runner.message_hub.log_scalars['train/loss']._log_history


@pytest.mark.parametrize('kind', [
    pytest.param('detector', marks=pytest.mark.slow), 'segmenter'])
def test_the_losses_are_near_those_in_float32(kind, shapes, tmp_path):
    wrapper, ours = losses(kind, shapes, tmp_path / 'amp', type='AmpOptimWrapper',
                           dtype='bfloat16', loss_scale='dynamic')
    assert type(wrapper).__name__ == 'Bfloat16OptimWrapper'
    _, plain = losses(kind, shapes, tmp_path / 'plain')
    assert len(ours) == len(plain) > 1 and all(map(math.isfinite, ours))
    assert ours[0] == pytest.approx(plain[0], rel=.03) and ours[0] != plain[0]
