"""Whatever a config holds, the user meets an InputError of one line or a run.

Each example does what ``convnext-dense train`` does, with a detector or a segmenter of two steps
and a validation, after random changes of any settings: of the model, the optimizer, the schedule,
the loops, the loaders, the metrics and the hooks.
"""
import copy
import uuid

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from test_fuzzed_data import change
from tiny import detector_config, segmenter_config

from convnext_dense.checks.preflight import check_config
from convnext_dense.commands.options import build_runner
from convnext_dense.datasets.shapes import write_shapes
from convnext_dense.errors import InputError

# a failing example is not made smaller: that takes hundreds of runs
LONG = settings(max_examples=150, deadline=None, database=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck))
SHORT = settings(LONG, max_examples=6, derandomize=True)
KEYS = ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader',
        'val_dataloader', 'val_evaluator', 'default_hooks', 'custom_hooks', 'bad_images')


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(root, train=4, val=2, size=64)
    return root


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def config_of(make, root):
    config = make(root, 'none', workers=0)
    config.train_cfg = dict(by_epoch=False, max_iters=2, val_interval=2)
    config.param_scheduler = [dict(type='LinearLR', start_factor=.1, by_epoch=False, end=2)]
    config.default_hooks.checkpoint.interval = 1000
    config.bad_images = dict(limit=2)
    config.log_level = 'CRITICAL'
    return config


def train(config, work_dir):
    """What the command does; returns why it was refused, or None."""
    config.work_dir = str(work_dir)
    config.experiment_name = f'run_{uuid.uuid4().hex}'
    try:
        check_config(config, training=True)
        build_runner(config).train()
    except InputError as error:
        assert '\n' not in str(error)
        return str(error)
    return None


@pytest.mark.parametrize('make', [detector_config, segmenter_config])
@pytest.mark.parametrize('size', [SHORT, pytest.param(LONG, marks=pytest.mark.slow)],
                         ids=['short', 'long'])
def test_nothing_but_input_errors_comes_out(size, make, shapes, tmp_path):
    """Long: 150 examples of each, 300 together."""
    base = config_of(make, shapes)
    assert train(copy.deepcopy(base), tmp_path) is None
    answers = []

    @size
    @given(st.data())
    def run(data):
        config = copy.deepcopy(base)
        key = data.draw(st.sampled_from(KEYS))
        part = {key: config[key] if isinstance(config[key], (str, int)) else
                copy.deepcopy(config._cfg_dict.to_dict()[key])}
        change(data, part)
        config.pop(key)
        config.update(part)
        answers.append(train(config, tmp_path))
    run()
    assert len(set(answers)) > 2
