"""Whatever a config holds, every command gives a run or one line, and they agree.

300 detectors and segmenters of two steps, a validation and a test, each with one or two random
changes of any setting: of the model, the optimizer, the schedule, the loops, the loaders, the
metrics, the hooks and the run. Where check-data says that training can start, it starts.
"""
import copy

import pytest
from fuzzing import Verdicts, change, fuzzed
from hypothesis import given
from hypothesis import strategies as st
from tiny import detector_config, segmenter_config

KEYS = ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader',
        'val_dataloader', 'test_dataloader', 'val_evaluator', 'test_evaluator', 'default_hooks',
        'custom_hooks', 'bad_images', 'visualizer', 'env_cfg', 'randomness', 'log_processor',
        'log_level', 'acceleration', 'compile', 'freeze', 'lora', 'init_from', 'not_finite',
        'load_from', 'resume', 'default_scope', 'val_cfg', 'test_cfg', 'launcher', 'progress')


def config_of(make, root, work_dir):
    config = make(root, work_dir, workers=0)
    config.train_cfg = dict(by_epoch=False, max_iters=2, val_interval=2)
    config.param_scheduler = [dict(type='LinearLR', start_factor=.1, by_epoch=False, end=2)]
    config.default_hooks.checkpoint.interval = 1000
    config.test_evaluator.report = False  # its figures take longer than the run
    config.bad_images = dict(limit=2)
    config.log_level = 'CRITICAL'
    return config


@pytest.mark.parametrize('make', [detector_config, segmenter_config])
@pytest.mark.parametrize('number', [5, pytest.param(150, marks=pytest.mark.slow)])
def test_every_config_gives_a_run_or_one_line(number, make, tiny_shapes, tmp_path, many_runs):
    base = config_of(make, tiny_shapes, tmp_path)
    verdicts = Verdicts(base)

    @fuzzed(number)
    @given(st.data())
    def judge_all(data):
        key = data.draw(st.sampled_from(KEYS))
        part = {key: copy.deepcopy(base._cfg_dict.to_dict().get(key))}
        change(data, part)
        config = copy.deepcopy(base)
        config.pop(key, None)
        config.update(part)
        verdicts.add(config, part)
    judge_all()
    verdicts.conclude()
