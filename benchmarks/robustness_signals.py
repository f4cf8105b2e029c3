"""Signals to whole process groups, as terminals, SLURM and torchrun send them.

Runs with 0, 2 and 4 data workers, alone and as two processes below torchrun's agent, get SIGTERM,
SIGUSR1 or Ctrl-C in a random step of training or validation; so do their data workers. Each
must save its state, and the run that goes on from it must end bit-identical to one that nothing
interrupted. Everything is imported once: runs and torchrun's processes are forks of this one, where
the command torchrun starts new interpreters (``tests/runtime/test_signals.py`` uses that).
"""
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook

from benchmarks import forks

WORKERS = (0, 2, 4)
STEPS = 16
STEP_SECONDS = .03
BEGUN = 'begun'  # holds a byte for each step that a run has begun
PROCESSES = 2


class Slow(Hook):
    """Steps long enough for a signal to arrive in the middle of them; counts those begun."""

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.rank == 0:
            with open(Path(runner.work_dir, BEGUN), 'ab') as file:
                file.write(b'.')
        time.sleep(STEP_SECONDS)

    before_val_iter = before_train_iter


def train(work_dir: Path, workers: int, launched: bool = False) -> None:
    """A run of two epochs with validation after each, which goes on if it was begun."""
    from tiny import toy_config, with_validation

    from convnext_dense.runtime import Runner
    settings = dict(launcher='pytorch', find_unused_parameters=True) if launched else {}
    config = with_validation(toy_config(
        work_dir, workers=workers, length=STEPS * (PROCESSES if launched else 1), epochs=2,
        log_level='INFO', resume=True, experiment_name=f'signals_{time.time_ns()}', **settings), 1)
    config.default_hooks.checkpoint.interval = 10**6
    config.val_dataloader.num_workers = workers
    runner = Runner.from_cfg(config)
    runner.register_hook(Slow())
    runner.train()


def train_launched(work_dir: Path, workers: int) -> None:
    """The same below torchrun's agent, which forks the processes."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch
    launch = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=PROCESSES, max_restarts=0, start_method='fork',
        rdzv_backend='c10d', rdzv_endpoint='localhost:0', run_id=work_dir.name,
        signals_to_handle='SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1')
    try:
        elastic_launch(launch, train_rank)(work_dir, workers)
    except SignalException as error:
        raise SystemExit(128 + error.sigval) from error


def train_rank(work_dir: Path, workers: int) -> None:
    """What a process of torchrun does."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):  # the agent's handlers
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
    train(work_dir, workers, launched=True)


def steps_begun(work_dir: Path) -> int:
    """How many steps of training and validation a run has begun."""
    path = work_dir / BEGUN
    return path.stat().st_size if path.exists() else 0


def interrupt(call: Callable, work_dir: Path, number: int, step: int, delay: float
              ) -> forks.Outcome:
    """Start a run, and signal its process group a while after it has begun a step."""
    printed = work_dir.with_suffix('.txt')
    child = forks.start(call, printed, group=True)
    ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while steps_begun(work_dir) < step and not os.waitid(os.P_PID, child, ended):
        time.sleep(.002)
    time.sleep(delay)
    try:
        os.killpg(child, number)
    except ProcessLookupError:
        pass
    return forks.finish(child, printed)


def check(call: Callable, work_dir: Path, number: int, launched: bool, outcome: forks.Outcome,
          expected: Any) -> str | None:
    """What is wrong with a run that was interrupted; None where nothing is."""
    from killing import final_state, same
    name = 'Ctrl-C' if number == signal.SIGINT else signal.Signals(number).name
    if f'{name}: the state after iteration' not in outcome.text:
        return f'no state saved, status {outcome.status}: {outcome.text.strip()[-1500:]}'
    if 'Traceback' in outcome.text or 'DataLoader worker' in outcome.text:
        return f'a traceback: {outcome.text.strip()[-1500:]}'
    if not launched and outcome.status != 128 + number:
        return f'exit status {outcome.status}'
    after = forks.run(call, work_dir.with_suffix('.txt'))
    if after.status != forks.DONE or 'the resumed run is exact' not in after.text:
        return f'going on: status {after.status}: {after.text.strip()[-1500:]}'
    return None if same(final_state(work_dir), expected) else 'it does not end bit-identical'


def measure(folder: Path, count: int = 60, seed: int = 0) -> int:
    """Interrupt ``count`` runs; returns the number of faults."""
    forks.use_tests()
    from killing import final_state
    torch.set_num_threads(1)
    rng = random.Random(seed)
    expected, steps = {}, {}
    for launched in (False, True):
        work_dir = folder / f'whole_{launched}'
        call = partial(train_launched if launched else train, work_dir, 0)
        outcome = forks.run(call, folder / 'printed')
        if outcome.status != forks.DONE:
            raise RuntimeError(outcome.text)
        steps[launched] = steps_begun(work_dir)
        expected[launched] = final_state(work_dir)
    kinds = list(product((False, True), WORKERS))
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    saved, exact, at, faults = Counter(), 0, [], []
    for run in range(count):
        launched, workers = kinds[run % len(kinds)]
        number = numbers[(run // len(kinds) + seed) % 3]
        work_dir = folder / f'run_{run}'
        call = partial(train_launched if launched else train, work_dir, workers)
        # in the last step a signal may find the work done
        step = rng.randrange(1, steps[launched])
        outcome = interrupt(call, work_dir, number, step, rng.uniform(0, STEP_SECONDS))
        fault = check(call, work_dir, number, launched, outcome, expected[launched])
        where = f'{"torchrun" if launched else "alone"}, {workers} workers, ' \
                f'{signal.Signals(number).name}'
        if fault:
            faults.append(f'{where}: {fault}')
        else:
            saved[signal.Signals(number).name] += 1
            exact += 1
            at += map(int, re.findall(r'the state after iteration (\d+)', outcome.text)[:1])
    return forks.report(f'{count} signals', dict(
        saved=saved, bit_identical=exact, after_iterations=sorted(at)), faults)
