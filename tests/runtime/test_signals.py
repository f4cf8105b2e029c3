"""Signals to a whole process group, as torchrun, SLURM and a terminal send them."""
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from killing import final_state, same
from signalled import config_of

from convnext_dense.cli import run_command
from convnext_dense.runtime import Runner
from convnext_dense.runtime.newest_checkpoint import newest_whole

HERE = Path(__file__).parent
ENVIRONMENT = dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='',
                   TORCH_DISABLE_SHARE_RDZV_TCP_STORE='1',
                   PYTHONPATH=os.pathsep.join([str(HERE.parents[1]), str(HERE)]))
TORCHRUN = ['-m', 'torch.distributed.run', '--nproc_per_node=2', '--standalone',
            '--signals_to_handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1']


def start(work_dir, number=0, workers=2, launcher=()):
    return subprocess.Popen(
        [sys.executable, *launcher, HERE / 'signalled.py', work_dir, str(int(number)),
         str(workers)], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True)


def run(*args, **settings):
    process = start(*args, **settings)
    output = process.communicate(timeout=300)[0]
    return process.returncode, output


def train_on(work_dir):
    """Train to the end in this process; returns the state."""
    config = config_of(work_dir, workers=0)
    config.experiment_name = f'run_{uuid.uuid4().hex}'
    Runner.from_cfg(config).train()
    return final_state(work_dir)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    return train_on(tmp_path_factory.mktemp('whole'))


def step_of(work_dir):
    return int(newest_whole(work_dir)[0].rsplit('_', 1)[1][:-4])


@pytest.mark.parametrize('number, workers', [
    (signal.SIGTERM, 2), (signal.SIGINT, 2),
    *(pytest.param(number, workers, marks=pytest.mark.slow)
      for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT) for workers in (0, 1, 4))])
def test_a_signal_to_the_group_saves_the_state_though_data_workers_get_it(
        tmp_path, whole, number, workers):
    code, output = run(tmp_path, number, workers)
    name = 'Ctrl-C' if number == signal.SIGINT else number.name
    assert code == 128 + number, output
    assert f'{name}: the state after iteration 6 is in {tmp_path}/iter_6.pth' in output
    assert 'go on with: this command with --resume' in output and 'Traceback' not in output
    assert step_of(tmp_path) == 6
    assert same(train_on(tmp_path), whole)


def stopped_under_torchrun(work_dir, number, workers=1):
    process = start(work_dir, number, workers, launcher=TORCHRUN)
    output = process.communicate(timeout=300)[0]
    name = 'Ctrl-C' if number == signal.SIGINT else signal.Signals(number).name
    assert process.returncode and f'{name}: the state after iteration' in output, output
    assert 'DataLoader worker' not in output and 'data worker' not in output, output
    assert 6 <= step_of(work_dir) < 36


def test_torchrun_hands_a_signal_on_to_processes_with_data_workers(tmp_path):
    stopped_under_torchrun(tmp_path, signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_five_times_each_under_torchrun_with_data_workers(tmp_path, number):
    code, output = run(tmp_path / 'whole', workers=0, launcher=TORCHRUN)
    assert code == 0, output
    expected = final_state(tmp_path / 'whole')
    for repetition in range(5):
        stopped_under_torchrun(tmp_path / str(repetition), number, workers=2)
        code, output = run(tmp_path / str(repetition), workers=2, launcher=TORCHRUN)
        assert code == 0, output
        assert same(final_state(tmp_path / str(repetition)), expected)


def is_alive(process):
    try:
        return Path(f'/proc/{process}/stat').read_text().split(')')[1].split()[0] != 'Z'
    except OSError:
        return False


def test_the_processes_end_with_a_launcher_that_was_killed(tmp_path):
    process = start(tmp_path, 0, 1, launcher=TORCHRUN)
    pids = [tmp_path / f'pid_{rank}' for rank in range(2)]
    until = time.monotonic() + 90
    while not all(path.exists() for path in pids) and time.monotonic() < until:
        time.sleep(.05)
    numbers = [int(path.read_text()) for path in pids]
    process.kill()
    until = time.monotonic() + 30
    while any(map(is_alive, numbers)) and time.monotonic() < until:
        time.sleep(.1)
    assert not any(map(is_alive, numbers))
    assert step_of(tmp_path) < 72


def test_a_second_interrupt_stops_at_once(tmp_path):
    script = '''
import os, signal, sys, time
from convnext_dense.runtime.stop_signals import StopSignals
with StopSignals() as signals:
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)  # the same one, handed on twice
    print(signals.agreed(), flush=True)
    time.sleep(1.2)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
    print('still there')
'''
    ran = subprocess.run([sys.executable, '-c', script], env=ENVIRONMENT, capture_output=True,
                         text=True)
    assert (ran.returncode, ran.stdout) == (-signal.SIGINT, '2\n')
    assert ran.stderr.strip() == ('Ctrl-C: the state is saved after the running step; once more '
                                  'stops at once')


def test_an_interrupted_command_ends_without_a_traceback(monkeypatch, capsys):
    from convnext_dense.commands import demo_data

    def interrupted(args):
        raise KeyboardInterrupt
    monkeypatch.setattr(demo_data, 'run', interrupted)
    assert run_command('demo-data', ['--out', 'x']) == 130
    assert capsys.readouterr().err == 'stopped by Ctrl-C\n'
