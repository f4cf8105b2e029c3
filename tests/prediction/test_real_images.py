"""Predictions of real images are the values that tests evaluate, to 1e-6."""
import os

import numpy as np
import pytest
from prediction.samples import assert_same_instances, samples_of_test

from convnext_dense import Predictor
from convnext_dense.config import load_config, set_data_root, set_device
from convnext_dense.runtime import Runner

pytestmark = pytest.mark.slow


def trained(config, data, folder, steps=8, **settings):
    """Work directory of an example that was trained for a few steps on real images."""
    if data not in os.environ:
        pytest.skip(f'{data} names no folder')
    cfg = load_config(config)
    cfg.merge_from_dict(settings)
    set_data_root(cfg, os.environ[data])
    set_device(cfg, 'cpu')
    cfg.work_dir = str(folder)
    cfg.train_cfg.update(max_iters=steps, val_interval=10**6)
    cfg.param_scheduler[0].total_steps = steps
    cfg.default_hooks.checkpoint.interval = steps
    Runner.from_cfg(cfg).train()
    return folder


def test_penn_fudan(tmp_path):
    # so few steps give low scores only
    folder = trained('cascade-mask-rcnn_convnextv2-atto_pennfudan', 'CONVNEXT_DENSE_PENNFUDAN',
                     tmp_path, **{'model.test_cfg.rcnn.score_thr': 0.})
    predictor = Predictor(folder, device='cpu', threshold=0)
    samples = samples_of_test(folder, predictor.source)
    results = predictor(list(samples))
    assert len(results) == 34 and sum(map(len, results)) > 100
    for result in results:
        assert_same_instances(result, samples[result.path])


def test_camvid(tmp_path):
    folder = trained('upernet_convnextv2-atto_camvid', 'CONVNEXT_DENSE_CAMVID', tmp_path)
    predictor = Predictor(folder, device='cpu')
    samples = samples_of_test(folder, predictor.source)
    results = predictor(list(samples))
    assert len(results) == 101
    for result in results:
        np.testing.assert_array_equal(
            result.labels, samples[result.path].pred_sem_seg.data[0].numpy())
