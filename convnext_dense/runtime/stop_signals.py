"""SIGTERM, SIGUSR1 and Ctrl-C: end after the running step, with a saved state."""
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.dist import get_world_size, is_main_process

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
REPEATED = 1.  # seconds; a launcher may hand on one Ctrl-C twice


class StopSignals:
    """Notices the signals with which schedulers and people announce the end.

    SLURM sends SIGTERM or SIGUSR1, a terminal SIGINT (Ctrl-C); a second Ctrl-C ends the process
    at once. Below torchrun its death counts as SIGTERM, too: nobody else would end the processes.
    With several processes all of them stop after the same step, whichever was signalled: they
    agree after each step over a group of their own on the CPU.
    """

    def __init__(self) -> None:
        self._received = 0
        self._interrupted: float | None = None  # when the first Ctrl-C came
        self._previous: dict = {}
        self._group = None
        self._process: int | None = None
        self._launcher = os.getppid() if 'TORCHELASTIC_RUN_ID' in os.environ else None

    def __enter__(self) -> 'StopSignals':
        self._process = os.getpid()
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self._receive)
        if get_world_size() > 1:
            self._group = torch.distributed.new_group(backend='gloo')
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous, self._process = {}, None

    def _receive(self, number, frame):
        if os.getpid() != self._process:
            return  # a data worker that was just forked; see ignore_in_worker
        if number == signal.SIGINT:
            self._interrupt()
        self._received = number

    def _interrupt(self):
        if self._interrupted is None:
            self._interrupted = time.monotonic()
            if is_main_process():  # not print: a handler may come in the middle of one
                os.write(2, b'\nCtrl-C: the state is saved after the running step; once more '
                            b'stops at once\n')
        elif time.monotonic() - self._interrupted > REPEATED:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)

    @property
    def active(self) -> bool:
        """Whether training runs."""
        return self._process is not None

    def least(self, number: int) -> int:
        """The smallest ``number`` of all processes."""
        return self._reduce(number, torch.distributed.ReduceOp.MIN)

    def agreed(self, reason: int = 0) -> int:
        """The number of a signal, or ``reason``, that any process has; 0 to go on.

        Args:
            reason: a process's own reason to stop.
        """
        if self._launcher not in (None, os.getppid()):
            self._received = signal.SIGTERM
        return self._reduce(self._received or reason, torch.distributed.ReduceOp.MAX)

    def _reduce(self, number, operation):
        if self._group is None:
            return number
        number = torch.tensor([number])
        torch.distributed.all_reduce(number, operation, group=self._group)
        return int(number)


@contextmanager
def stop_signals_blocked() -> Iterator[None]:
    """Around the start of data workers, which inherit it: no signal comes before they ignore it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_in_worker() -> None:
    """Let a data worker ignore the signals that end a run, as it ends with its parent.

    Launchers and terminals signal the whole process group. The parent still needs its workers
    until the running step is done and the state saved; torch's workers look for it regularly and
    end once it is gone.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def name_of(number: int) -> str:
    """What a person calls a signal: ``SIGTERM``, ``Ctrl-C``."""
    return 'Ctrl-C' if number == signal.SIGINT else signal.Signals(number).name


def exit_status(number: int) -> int:
    """What a shell and a scheduler read as "ended by this signal": 143 for SIGTERM."""
    return 128 + number
