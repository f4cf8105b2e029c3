"""How long the trainings of a study take, from a few steps of each model that run as they will."""
from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path

from convnext_dense.analysis.study import Study
from convnext_dense.commands import demo
from convnext_dense.commands.compare_study import at_once, result_of
from convnext_dense.config import load_config, set_device
from convnext_dense.errors import convert_errors
from convnext_dense.wording import counted

STEPS = 4  # of which the first prepares what the others find ready


def estimate(study: Study, device: str, left: int, val_images: int) -> str:
    """How long the trainings take, in a sentence.

    Args:
        study (Study): the plan.
        device (str): ``cpu`` or ``cuda``.
        left (int): trainings that are to come.
        val_images (int): images of a validation.
    """
    with at_once(len(study.configs), device) as pool:
        futures = {name: pool.submit(step_seconds, config, device)
                   for name, config in study.configs.items()}
        seconds = {name: result_of(future, name) for name, future in futures.items()}
    cfg = load_config(next(iter(study.configs.values())))
    steps = cfg.train_cfg.max_iters
    processes = demo.process_count(left, device)
    # a validation image takes about a third of a training image
    validations = -(-steps // cfg.train_cfg.val_interval)
    work = steps + validations * val_images / 3 / cfg.train_dataloader.batch_size
    total = left * work * sum(seconds.values()) / len(seconds) / processes
    speeds = ', '.join(f'{name} {one:.2g} s' for name, one in seconds.items())
    return (f'{counted(left, "training")} to come, each of {counted(steps, "step")} ({speeds} a '
            f'step), {processes} at a time: about {duration(total)}')


def step_seconds(config: Path, device: str) -> float:
    """Seconds of a training step, loading included.

    Raises:
        InputError: the step fails.
    """
    from mmengine.hooks import Hook

    from convnext_dense.commands.options import build_runner

    class Times(Hook):
        """The moments at which steps ended."""

        def __init__(self):
            self.moments: list[float] = []

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            self.moments.append(time.perf_counter())

    times = Times()
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, 'w') as nowhere, \
            contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        cfg = load_config(config)
        cfg.work_dir = folder
        cfg.train_cfg.update(max_iters=STEPS, val_interval=STEPS + 1)
        cfg.param_scheduler = None  # which may be shorter
        cfg.default_hooks.checkpoint = None
        set_device(cfg, device)
        with convert_errors(f'{config}: a training step fails', 'look at the model and the data'):
            runner = build_runner(cfg)
            runner.register_hook(times, 'LOWEST')
            runner.train()
    return (times.moments[-1] - times.moments[0]) / (STEPS - 1)


def duration(seconds: float) -> str:
    """A time in the unit that a person would take."""
    if seconds < 90:
        return counted(max(round(seconds), 1), 'second')
    if seconds < 90 * 60:
        return counted(round(seconds / 60), 'minute')
    return f'{seconds / 3600:.1f} hours'
