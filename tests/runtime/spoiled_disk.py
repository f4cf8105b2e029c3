"""Driver of test_spoiled_disk.py: runs on file systems that fill up or vanish.

Run it in a mount name space of its own (``unshare -m``). Everything is imported once, a run is a
fork. Prints one JSON line: by case the exit status, what the run and the one after it printed, and
whether all checkpoints are whole.
"""
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from tiny import toy_config, with_validation

from convnext_dense.checkpoints.reading import is_whole
from convnext_dense.cli import run_command
from convnext_dense.commands import train
from convnext_dense.commands.options import build_runner

CASES = ('full', 'full at the start', 'full while drawing', 'removed', 'unmounted',
         'removed while drawing')
STEP = 4


@HOOKS.register_module()
class Spoil(Hook):
    """Spoils the disk after a step, before the other hooks write."""

    priority = 'VERY_HIGH'

    def __init__(self, disk, case):
        self.disk, self.case = Path(disk), case

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == STEP:
            spoil(self.disk, self.case)


@HOOKS.register_module()
class Draw(Hook):
    """Draws as the visualization hooks do, before the log's line is written."""

    priority = 'HIGH'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        runner.visualizer.add_image('val', np.zeros((64, 64, 3), np.uint8), runner.iter)


def spoil(disk, case):
    if case.startswith('removed'):
        shutil.rmtree(disk / 'work')
    elif case == 'unmounted':
        subprocess.run(['umount', '-l', disk], check=True)
    else:
        with open(disk / 'filler', 'wb', 0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass


def config(disk, case):
    made = with_validation(toy_config(disk / 'work', epochs=1, log_level='INFO', resume=True), 3)
    made.default_hooks.logger = dict(type='LoggerHook', interval=1)
    made.visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    made.custom_hooks = [dict(type='Spoil', disk=str(disk), case=case)] if case else []
    made.custom_hooks += [dict(type='Draw')] if 'drawing' in str(case) else []
    made.experiment_name = str(time.time())
    return made


def run(disk, case):
    """Train in a fork; returns the exit status and what it printed."""
    printed = disk.with_suffix('.txt')
    child = os.fork()
    if not child:
        with open(printed, 'wb') as file:
            for descriptor in (1, 2):
                os.dup2(file.fileno(), descriptor)
        train.run = lambda args: build_runner(config(disk, case)).train() and None
        os._exit(run_command('train', ['x.py']))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, printed.read_text()


def attempt(disk, case):
    disk.mkdir()
    mounted = ['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', disk]
    subprocess.run(mounted, check=True)
    if case == 'full at the start':
        spoil(disk, case)
    status, printed = run(disk, case)
    whole = all(map(is_whole, disk.rglob('*.pth')))
    if case == 'unmounted':
        subprocess.run(mounted, check=True)
    (disk / 'filler').unlink(missing_ok=True)
    return dict(status=status, printed=printed, whole=whole, after=run(disk, None))


if __name__ == '__main__':
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    print(json.dumps({case: attempt(folder / case.replace(' ', '_'), case) for case in CASES}))
