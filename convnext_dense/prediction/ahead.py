"""Work done ahead by threads, in order, with bounded memory."""
from collections import deque


def map_ahead(pool, function, items, ahead):
    """``map(function, items)`` whose next results are being made while one is used.

    Args:
        pool (concurrent.futures.Executor): where ``function`` runs.
        function (Callable): its errors are raised when their result's turn comes.
        items (Iterable): read by the caller's thread, ``ahead`` items further than used.
        ahead (int): most results that are waiting or being made.

    Yields:
        what ``function`` returned, in the order of ``items``.
    """
    waiting = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
