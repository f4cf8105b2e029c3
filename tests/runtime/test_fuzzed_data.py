"""Whatever data settings and annotation files hold, the user meets an InputError or a run.

Each example does what ``tools/train.py`` does, with a detector or a segmenter of one training
step, and after random changes of the config's data settings, or of annotation files and label
maps. No other error may come out.
"""
import copy
import io
import json
import shutil
import uuid
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from fuzzing import change
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny import detector_config, segmenter_config

from convnext_dense.checks.preflight import check_config
from convnext_dense.config import set_data_root
from convnext_dense.errors import InputError
from convnext_dense.runtime import Runner

LONG = settings(max_examples=200, deadline=None, database=None,
                suppress_health_check=list(HealthCheck))
SHORT = settings(LONG, max_examples=8, derandomize=True)


@cache
def base_config(make, root):
    config = make(root, 'none', workers=0)
    for key in ('val_dataloader', 'val_evaluator', 'val_cfg'):
        config[key] = None
    config.train_cfg = dict(by_epoch=False, max_iters=2, val_interval=10)
    config.param_scheduler = None
    config.default_hooks.checkpoint.interval = 1000
    config.update(log_level='CRITICAL', custom_hooks=[], bad_images=dict(limit=2))
    return config


def train(config, work_dir):
    """What ``tools/train.py`` does.

    Returns:
        str | None: why it was refused.
    """
    config.work_dir = str(work_dir)
    config.experiment_name = f'run_{uuid.uuid4().hex}'
    try:
        check_config(config, training=True)
        Runner.from_cfg(config).train()
    except InputError as error:
        assert '\n' not in str(error)
        return str(error)
    return None


def fuzz_settings(make, root, work_dir, data):
    """One run with other data settings."""
    config = copy.deepcopy(base_config(make, root))
    loader = config.train_dataloader.to_dict()
    change(data, loader)
    config.train_dataloader = loader
    return train(config, work_dir)


def fuzz_files(make, root, work_dir, data):
    """One run with another annotation file, or other label maps."""
    changed = Path(shutil.copytree(root, work_dir / f'data_{uuid.uuid4().hex}'))
    if make is detector_config:
        path = changed / 'annotations/instances_training.json'
        content = json.loads(path.read_text())
        change(data, content)
        text = json.dumps(content).encode()
    else:
        path = changed / f'annotations/training/00000{data.draw(st.integers(0, 3))}.png'
        shape = data.draw(st.sampled_from([(64, 64), (64, 63), (1, 1)]))
        kind = data.draw(st.sampled_from(['uint8', 'uint16', 'bool', 'float32']))
        lowest = data.draw(st.integers(0, 255))
        image = io.BytesIO()
        Image.fromarray(np.arange(lowest, lowest + shape[0] * shape[1]).reshape(shape).astype(
            kind)).save(image, 'TIFF' if kind == 'float32' else 'PNG')
        text = image.getvalue()
    if data.draw(st.integers(0, 4)) == 0:
        text = text[:data.draw(st.integers(0, len(text)))]
    if data.draw(st.integers(0, 9)) == 0:
        text = data.draw(st.binary(max_size=20)) + text
    path.write_bytes(text)
    config = copy.deepcopy(base_config(make, root))
    set_data_root(config, changed)
    try:
        return train(config, work_dir)
    finally:
        shutil.rmtree(changed)


@pytest.mark.parametrize('fuzz', [fuzz_settings, fuzz_files])
@pytest.mark.parametrize('make', [detector_config, segmenter_config])
@pytest.mark.parametrize('size', [SHORT, pytest.param(LONG, marks=pytest.mark.slow)],
                         ids=['short', 'long'])
def test_nothing_but_input_errors_comes_out(size, make, fuzz, tiny_shapes, tmp_path, many_runs):
    """Long: 200 examples of each of the four kinds, 5 minutes."""
    answers = []

    @size
    @given(st.data())
    def run(data):
        answers.append(fuzz(make, tiny_shapes, tmp_path, data))
    run()
    assert len(set(answers)) > 2  # not all the same
