"""``train --gpus N`` becomes torchrun; a process that it starts again goes on by itself."""
import os
import sys
from argparse import Namespace

import pytest
import torch

from convnext_dense.commands import launching
from convnext_dense.errors import InputError


def arguments(**changes):
    return Namespace(**dict(dict(gpus=2, restarts=0, launcher='none', device='cpu'), **changes))


def test_torchrun_gets_all_other_arguments_as_they_are():
    command = launching.torchrun_command(4, 3, [
        'a.py', '--gpus', '4', '--cfg-options', 'x=1', 'y=2', '--restarts=3', '--resume'])
    assert command[:3] == [sys.executable, '-m', 'torch.distributed.run']
    assert {'--nproc-per-node=4', '--max-restarts=3', '--standalone'} < set(command)
    assert command[command.index('convnext_dense'):] == [
        'convnext_dense', 'train', 'a.py', '--cfg-options', 'x=1', 'y=2', '--resume',
        '--launcher', 'pytorch']


@pytest.mark.parametrize('changes, words', [
    (dict(gpus=0), 'from 1'), (dict(restarts=-1), 'from 0'), (dict(launcher='slurm'), 'slurm'),
    (dict(gpus=None, restarts=2), 'add --gpus 1')])
def test_numbers_that_cannot_be_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        launching.launch(arguments(**changes), [])


def test_more_gpus_than_there_are_are_refused(monkeypatch):
    monkeypatch.setattr('convnext_dense.commands.options.choose_device', lambda name: 'cuda')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    with pytest.raises(InputError, match='--gpus 2: torch finds 1 here'):
        launching.launch(arguments(), [])


def test_without_the_option_nothing_is_started(monkeypatch):
    monkeypatch.setattr(os, 'execve', pytest.fail)
    launching.launch(arguments(gpus=None), ['a.py'])


def test_a_process_that_was_started_again_resumes(monkeypatch):
    monkeypatch.delenv('TORCHELASTIC_RESTART_COUNT', raising=False)
    assert not launching.was_restarted()
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '1')
    assert launching.was_restarted()


@pytest.mark.slow
def test_a_run_of_two_processes_survives_the_death_of_one(tmp_path):
    """The demo's segmenter; one of two processes is killed once it has saved; about 2 minutes."""
    import signal
    import subprocess
    import time

    import psutil

    from convnext_dense.datasets.shapes import write_shapes
    write_shapes(tmp_path / 'shapes', train=8, val=2, size=64)
    command = [sys.executable, '-m', 'convnext_dense', 'train',
               'configs/demo/upernet_convnext_shapes.py', '--gpus', '2', '--restarts', '1',
               '--device', 'cpu', '--work-dir', str(tmp_path / 'run'), '--data-root',
               str(tmp_path / 'shapes'), '--cfg-options', 'train_cfg.max_iters=12',
               'train_cfg.val_interval=12', 'default_hooks.checkpoint.interval=4',
               'train_dataloader.batch_size=2', 'train_dataloader.num_workers=0',
               'val_dataloader.num_workers=0']
    with open(tmp_path / 'log', 'w') as log:
        run = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT,
                               env=dict(os.environ, OMP_NUM_THREADS='1'))
        begin = time.monotonic()
        while not (tmp_path / 'run' / 'iter_4.pth').is_file():
            assert run.poll() is None and time.monotonic() < begin + 300, \
                (tmp_path / 'log').read_text()[-2000:]
            time.sleep(.1)
        worker = next(child for child in psutil.Process(run.pid).children(recursive=True)
                      if 'convnext_dense' in child.cmdline())
        worker.send_signal(signal.SIGKILL)
        assert run.wait(300) == 0, (tmp_path / 'log').read_text()[-2000:]
    assert (tmp_path / 'run' / 'iter_12.pth').is_file()
    assert 'resum' in (tmp_path / 'log').read_text().lower()
