"""A run under torchrun of which one process is killed once; see test_resuming.py."""
import os
import signal
import sys

import torch
from mmengine.hooks import Hook
from tiny import segmenter_config, toy_config

from convnext_dense.runtime import Runner


class KillOnce(Hook):
    """Kills its process with SIGKILL, in torchrun's first attempt only."""

    def __init__(self, rank, iteration):
        self.rank, self.iteration = rank, iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if os.environ.get('TORCHELASTIC_RESTART_COUNT') == '0' and (
                runner.rank, runner.iter) == (self.rank, self.iteration):
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == '__main__':
    kind, data, work_dir, rank, iteration = sys.argv[1:]
    torch.set_num_threads(1)
    config = toy_config(work_dir, workers=1) if kind == 'toy' else segmenter_config(data, work_dir)
    config.update(launcher='pytorch', resume=True, **(
        dict(parallel=dict(type='fsdp')) if kind == 'sharded' else
        dict(find_unused_parameters=True)))
    runner = Runner.from_cfg(config)
    runner.register_hook(KillOnce(int(rank), int(iteration)))
    runner.train()
