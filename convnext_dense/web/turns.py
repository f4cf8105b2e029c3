"""One inference at a time, and a bounded number of requests that wait for their turn."""
import asyncio
import math
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TypeVar

Answer = TypeVar('Answer')
LONGEST_ADVICE = 60  # seconds that Retry-After says at most
RECENT = .2  # share of the last call in the mean duration


class Busy(Exception):
    """As many requests wait as may.

    Attributes:
        seconds (int): when to ask again.
    """

    def __init__(self, seconds: int):
        super().__init__(seconds)
        self.seconds = seconds


class Turns:
    """Calls in a thread of their own, first come, first served; of one event loop.

    Args:
        places (int): requests that may wait while one is served.
    """

    def __init__(self, places: int):
        self.places, self.waiting = places, 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix='inference')
        self._turn = asyncio.Lock()
        self._seconds = 1.

    async def run(self, call: Callable[[], Answer]) -> Answer:
        """Wait for the turn, then call in the thread.

        Whoever is cancelled while it waits leaves the queue. A call that runs cannot be stopped: it
        keeps its turn to its end, and nobody gets its result.

        Raises:
            Busy: no place is left.
        """
        if self.waiting >= self.places and (self._turn.locked() or self.waiting):
            raise Busy(min(max(math.ceil(self._seconds * (self.waiting + 1)), 1), LONGEST_ADVICE))
        self.waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self.waiting -= 1
        running = asyncio.get_running_loop().run_in_executor(self._thread, self._timed, call)
        running.add_done_callback(self._end)
        return await asyncio.shield(running)

    def _timed(self, call):
        begin = perf_counter()
        try:
            return call()
        finally:
            self._seconds += RECENT * (perf_counter() - begin - self._seconds)

    def _end(self, running):
        self._turn.release()
        if not running.cancelled():
            running.exception()  # seen, also where nobody waits for it any more

    def close(self) -> None:
        """End the thread once its call has ended."""
        self._thread.shutdown(wait=False, cancel_futures=True)


async def unless(event: Awaitable, work: Awaitable[Answer]) -> Answer | None:
    """The result of ``work``, or None where ``event`` comes first, which cancels the work."""
    tasks = asyncio.ensure_future(work), asyncio.ensure_future(event)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].result() if tasks[0].done() else None
    finally:
        for task in tasks:
            task.cancel()
