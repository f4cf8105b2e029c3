"""Data workers that the system killed."""
import multiprocessing
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from mmengine.registry import DATASETS
from tiny import ToyData, toy_config, with_validation

from convnext_dense.errors import InputError
from convnext_dense.runtime import Runner
from convnext_dense.runtime.workers import explain, explain_killed_worker, wait_for_cause


@DATASETS.register_module()
class Greedy(ToyData):
    """Its reader is killed, as by a full memory."""

    def __getitem__(self, index):
        if index == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


@DATASETS.register_module()
class Masked(ToyData):
    """Writes down the signals that were blocked when its worker began."""

    def __init__(self, *args, file, **kwargs):
        super().__init__(*args, **kwargs)
        self.file = Path(file)

    def __getitem__(self, index):
        if index == 0:
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
            self.file.write_text(' '.join(sorted(one.name for one in mask)))
        return super().__getitem__(index)


def test_no_signal_reaches_a_worker_before_it_ignores_them(tmp_path):
    """In training and in validation, whose loop is mmengine's."""
    config = with_validation(toy_config(
        tmp_path / 'work', workers=1, epochs=1, experiment_name=f'run_{uuid.uuid4().hex}'), 1)
    config.val_dataloader.num_workers = 1
    for name in ('train', 'val'):
        config[f'{name}_dataloader'].dataset.update(type='Masked', file=str(tmp_path / name))
    Runner.from_cfg(config).train()
    for name in ('train', 'val'):
        assert (tmp_path / name).read_text() == 'SIGINT SIGTERM SIGUSR1'


@DATASETS.register_module()
class Broken(ToyData):
    """One of its samples stops a run."""

    def __getitem__(self, index):
        if index == 7:
            raise InputError('sample 7 is broken')
        return super().__getitem__(index)


@pytest.mark.parametrize('persistent', [False, True])
@pytest.mark.parametrize('by_epoch', [False, True])
@pytest.mark.parametrize('data', ['ToyData', 'Broken'])
def test_no_worker_outlives_its_run(tmp_path, data, by_epoch, persistent):
    """Even where its error is kept; and the same runner goes on with workers of its own."""
    config = with_validation(toy_config(
        tmp_path, by_epoch, workers=2, epochs=2,
        experiment_name=f'run_{uuid.uuid4().hex}'), 1 if by_epoch else 6)
    config.val_dataloader.num_workers = 2
    config.train_dataloader.dataset.type = data
    for name in ('train', 'val'):
        config[f'{name}_dataloader'].persistent_workers = persistent
    runner = Runner.from_cfg(config)
    error = None
    try:
        runner.train()
    except InputError as caught:
        error = caught
    assert (error is not None) == (data == 'Broken')
    assert not multiprocessing.active_children()
    for _ in range(2):
        assert runner.val()
        assert not multiprocessing.active_children()


def test_a_killed_worker_is_said_to_have_been_killed_with_the_usual_cause(tmp_path):
    config = toy_config(tmp_path, workers=1, experiment_name=f'run_{uuid.uuid4().hex}')
    config.train_dataloader.dataset.type = 'Greedy'
    with pytest.raises(InputError, match=r'data worker \d+ was killed by the system, nearly always '
                       'because the memory was full'):
        Runner.from_cfg(config).train()


@pytest.mark.parametrize('error', [ConnectionResetError(), EOFError()])
def test_a_batch_breaks_off_before_the_death_is_known(error):
    def tell(number, frame):
        raise RuntimeError('DataLoader worker (pid 5) is killed by signal: Killed. ')
    before = signal.signal(signal.SIGALRM, tell)
    try:
        signal.setitimer(signal.ITIMER_REAL, .05)
        cause = wait_for_cause(error, 30.)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert 'data worker 5 was killed by the system' in explain_killed_worker(cause)
    assert wait_for_cause(error, .01) is error


@pytest.mark.parametrize('text, words', [
    ('DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that ...',
     'data worker 12 was killed by a bus error: the shared memory /dev/shm was full'),
    ('DataLoader worker (pid(s) 1, 2) exited unexpectedly', 'data worker 1, 2 was killed'),
    ('DataLoader worker (pid 3) exited unexpectedly with exit code 7. Details are lost',
     'data worker 3 exited with status 7'),
])
def test_each_kind_of_death_is_explained(text, words):
    assert words in explain(text)


def test_other_errors_are_left_alone():
    assert explain_killed_worker(RuntimeError('CUDA out of memory')) is None


def test_an_error_that_is_the_cause_of_its_own_cause_ends():
    first, second = ValueError('first'), ValueError('second')
    first.__cause__, second.__cause__ = second, first
    assert explain_killed_worker(first) is None


def test_a_process_whose_error_still_holds_the_data_workers_ends(tmp_path):
    """As under pytest and in notebooks; Python would wait for them without end."""
    script = '''
import sys
from tiny import toy_config
from convnext_dense.runtime import Runner
runner = Runner.from_cfg(toy_config(sys.argv[1], workers=2))
held = iter(runner.build_dataloader(runner._train_dataloader))
next(held)
sys.exit(3)
'''
    here = Path(__file__).parent
    ran = subprocess.run([sys.executable, '-c', script, tmp_path], timeout=240, env=dict(
        os.environ, OMP_NUM_THREADS='1',
        PYTHONPATH=os.pathsep.join(map(str, [here.parents[1], here.parent, here]))))
    assert ran.returncode == 3


def hold_workers(folder):
    runner = Runner.from_cfg(toy_config(folder, workers=3))
    held.append(iter(runner.build_dataloader(runner._train_dataloader)))
    next(held[0])
    raise SystemExit(3)


held: list = []


def test_a_process_of_multiprocessing_ends_as_well_and_without_a_traceback(tmp_path, capfd):
    """As those of torch's launchers and of pools; they run nothing of atexit."""
    process = multiprocessing.get_context('fork').Process(target=hold_workers, args=(tmp_path, ))
    process.start()
    process.join(60)
    ended = process.exitcode
    if ended is None:
        process.kill()
    assert ended == 3
    assert 'Traceback' not in capfd.readouterr().err
