"""SIGTERM and SIGUSR1: end after the running step, with a saved state."""
import os
import signal
import threading

import torch
from mmengine.dist import get_world_size

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Stopping:
    """Notices the signals with which schedulers announce the end (SLURM: SIGUSR1, SIGTERM).

    With several processes all of them stop after the same step, whichever was signalled: they
    agree after each step over a group of their own on the CPU.
    """

    def __init__(self):
        self.received = 0
        self._previous = {}
        self._group = None
        self._process = None

    def __enter__(self):
        self._process = os.getpid()
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self._receive)
        if get_world_size() > 1:
            self._group = torch.distributed.new_group(backend='gloo')
        return self

    def __exit__(self, *error):
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous, self._process = {}, None

    def _receive(self, number, frame):
        if os.getpid() != self._process:  # a data worker, forked from here: ends as usual
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.received = number

    @property
    def watching(self):
        """Whether training runs."""
        return self._process is not None

    def least(self, number):
        """The smallest ``number`` of all processes."""
        return self._reduce(number, torch.distributed.ReduceOp.MIN)

    def agreed(self, reason=0):
        """The number of a signal, or ``reason``, that any process has; 0 to go on.

        Args:
            reason (int): a process's own reason to stop.
        """
        return self._reduce(self.received or reason, torch.distributed.ReduceOp.MAX)

    def _reduce(self, number, operation):
        if self._group is None:
            return number
        number = torch.tensor([number])
        torch.distributed.all_reduce(number, operation, group=self._group)
        return int(number)


def exit_status(number):
    """What a shell and a scheduler read as "ended by this signal": 143 for SIGTERM."""
    return 128 + number
