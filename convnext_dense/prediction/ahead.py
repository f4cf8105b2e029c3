"""Work done ahead by threads, in order, with bounded memory."""
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar('Item')
Made = TypeVar('Made')


def map_ahead(pool: Executor, function: Callable[[Item], Made], items: Iterable[Item],
              ahead: int) -> Iterator[Made]:
    """``map(function, items)`` whose next results are being made while one is used.

    Args:
        pool: where ``function`` runs.
        function: its errors are raised when their result's turn comes.
        items: read by the caller's thread, ``ahead`` items further than used.
        ahead: most results that are waiting or being made.

    Yields:
        what ``function`` returned, in the order of ``items``.
    """
    waiting: deque[Future[Made]] = deque()
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
