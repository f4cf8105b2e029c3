"""Data workers: what became of one that torch found dead, and their end with the run's process."""
from __future__ import annotations

import multiprocessing
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convnext_dense.runtime.runner import Runner

_CAUSES = {
    'Killed': 'killed by the system, nearly always because the memory was full (see dmesg); '
              'lower num_workers or prefetch_factor of the data loader, or give the job more '
              'memory',
    'Bus error': 'killed by a bus error: the shared memory /dev/shm was full; enlarge it '
                 '(docker run --shm-size=8g), or lower num_workers',
    'Segmentation fault': 'crashed (segmentation fault) in a compiled library; set num_workers=0 '
                          'to see the image that it was reading',
    'Terminated': 'ended by SIGTERM, from outside',
}


def explain_killed_worker(error: BaseException | None) -> str | None:
    """One line about a dead data worker, or None where an error has another reason.

    Args:
        error (BaseException): torch's RuntimeError, or one that was raised while it was handled.
    """
    seen: list[BaseException] = []  # an error that was raised again may be its own context
    while error is not None and error not in seen:
        seen.append(error)
        line = explain(str(error)) if isinstance(error, RuntimeError) else None
        if line is not None:
            return line
        error = error.__cause__ or error.__context__
    return None


def wait_for_cause(error: Exception, seconds: float = 1.) -> Exception:
    """The error that torch raises once the system has told it of a dead data worker.

    A batch that is being fetched from the worker breaks off a moment before that.

    Args:
        error (Exception): that stopped the work; nothing is waited for if no connection broke.
        seconds (float): the longest to wait.

    Returns:
        Exception: torch's RuntimeError, or ``error``.
    """
    try:
        if isinstance(error, (ConnectionError, EOFError)):
            time.sleep(seconds)
    except RuntimeError as cause:  # from torch's signal handler
        return cause
    return error


def explain(text: str) -> str | None:
    """One line about a dead data worker from torch's message, or None for another message."""
    found = re.search(r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)', text)
    if not found:
        return None
    name = f'data worker {found[1]}'
    by = re.search(r'is killed by signal: ([A-Za-z ]+?)\.', text)
    if by:
        cause = _CAUSES.get(by[1], f'killed by a signal: {by[1]}')
        return f'{name} was {cause}. Go on with --resume'
    status = re.search(r'exit code (\d+)', text)
    if status:
        return (f'{name} exited with status {status[1]}; what it printed above says why. Go on '
                'with --resume')
    return f'{name} was {_CAUSES["Killed"]}. Go on with --resume'


@contextmanager
def ended_workers(runner: Runner) -> Iterator[None]:
    """End a run's data workers with its work; where the process ends, they end with it."""
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        raise  # a worker that reads for long is not waited for
    except BaseException:
        _end_workers(runner)
        raise
    _end_workers(runner)


def _end_workers(runner):
    for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
        if hasattr(loop, 'batches'):  # built, and no loop of others
            loop.batches.close()


def end_with_process() -> None:
    """Let data workers end with this process.

    They ignore SIGTERM, see :func:`~convnext_dense.runtime.stop_signals.ignore_in_worker`. Where
    one is left at the end, because an error still holds its data loader, Python would send it
    SIGTERM and wait for it without end.
    """
    # not atexit: processes that multiprocessing started, such as torch's launchers, run none of it
    Finalize(None, _end, (os.getpid(), ), exitpriority=1)


def _end(process, seconds=1.):
    if os.getpid() != process:  # a fork of it
        return
    left = [child for child in multiprocessing.active_children() if child.daemon]
    # torch's handler raises for each worker that is killed
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for child in left:
        child.terminate()
    end = time.monotonic() + seconds
    for child in left:
        child.join(max(0., end - time.monotonic()))
        if child.is_alive():
            child.kill()
