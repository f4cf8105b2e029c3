"""A run with data workers that signals its process group, or its launcher; see test_signals.py."""
import os
import signal
import sys
import time
from pathlib import Path

import torch
from mmengine.hooks import Hook
from tiny import toy_config

from convnext_dense.runtime import Runner

STEP = 5


class Signal(Hook):
    """Sends a signal after a step of the first process: to the group, or to the launcher."""

    def __init__(self, number, to_launcher):
        self.number, self.to_launcher = number, to_launcher

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.rank or runner.iter != STEP:
            return
        if self.to_launcher:
            os.kill(os.getppid(), self.number)
        else:
            os.killpg(0, self.number)


class Slow(Hook):
    """Steps long enough for a signal to arrive in the middle of the run."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        Path(runner.work_dir, f'pid_{runner.rank}').write_text(str(os.getpid()))
        time.sleep(.1)


def config_of(work_dir, workers):
    config = toy_config(work_dir, workers=workers, length=48, log_level='INFO', resume=True)
    config.default_hooks.checkpoint.interval = 10**6
    return config


if __name__ == '__main__':
    launched = 'TORCHELASTIC_RUN_ID' in os.environ
    torch.set_num_threads(1)
    config = config_of(sys.argv[1], workers=int(sys.argv[3]))
    if launched:
        config.update(launcher='pytorch', find_unused_parameters=True)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until training listens
    runner = Runner.from_cfg(config)
    number = int(sys.argv[2])
    if number:
        runner.register_hook(Signal(number, launched))
    if launched:
        runner.register_hook(Slow())
    runner.train()
