"""Work on a CPU in pieces, each computed by one thread from its beginning to its end.

torch divides every operation among its threads anew, and what one has written another reads. Where
their cores share no cache, that takes longer than many an operation. Threads of torch wait for
some milliseconds after an operation before they leave their core, so this pays where a piece takes
tens of them.
"""
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier

import torch
from torch.profiler import record_function


def for_each(function: Callable, pieces: Sequence) -> None:
    """Call a function for each piece, in as many threads as torch computes with.

    Args:
        function (Callable): is called with a piece, without gradients; torch has one thread in it.
        pieces (Sequence): of the work, no two of which write to the same place.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(pieces) == 1:
        for piece in pieces:
            function(piece)
        return
    inference = torch.is_inference_mode_enabled()

    def call(piece):
        with torch.inference_mode() if inference else torch.no_grad():
            function(piece)
    with record_function('pieces in threads'):  # profilers see the calling thread only
        for _ in _pool(os.getpid(), threads).map(call, pieces):
            pass


def even_chunks(number: int, most: int) -> list[slice]:
    """Slices of about the same length, ``most`` at most, as many for each thread of torch."""
    threads = torch.get_num_threads()
    count = -(-number // (most * threads)) * threads
    size = -(-number // count)
    return [slice(begin, min(begin + size, number)) for begin in range(0, number, size)]


@cache
def _pool(_process, threads):
    """Threads that compute with one thread of torch each; a forked process needs its own."""
    pool = ThreadPoolExecutor(threads, 'convnext_dense', _use_one_thread)
    started = Barrier(threads)
    list(pool.map(lambda _: started.wait(), range(threads)))
    torch.set_num_threads(threads)  # of threads that start from now on
    return pool


def _use_one_thread():
    torch.get_num_threads()  # its first call in a thread sets the number that the process has
    torch.set_num_threads(1)
