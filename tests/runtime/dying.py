"""A run of which one process dies, in training or validation; see test_process_errors.py."""
import os
import signal
import sys
import time
from pathlib import Path

import torch
from mmengine.hooks import Hook
from tiny import toy_config, with_validation

from convnext_dense.runtime import Runner


class Die(Hook):
    """Kills the second process in its second step of a kind."""

    def __init__(self, folder, moment):
        self.folder, self.moment = folder, moment

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._die(runner, 'train', runner.iter)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._die(runner, 'val', batch_idx)

    def _die(self, runner, moment, step):
        if runner.rank == 1 and (moment, step) == (self.moment, 1):
            Path(self.folder, 'died').write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == '__main__':
    folder, moment = sys.argv[1:]
    torch.set_num_threads(1)
    config = with_validation(toy_config(Path(folder) / 'run', launcher='pytorch'), 1)
    config.val_dataloader.dataset.length = 12
    runner = Runner.from_cfg(config)
    runner.register_hook(Die(folder, moment))
    runner.train()
