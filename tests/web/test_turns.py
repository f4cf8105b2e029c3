"""One call at a time, a bounded queue, and what becomes of those who leave it."""
import asyncio
import threading

import pytest

from convnext_dense.web.turns import Busy, Turns, unless


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, 30))


async def let_others_run():
    for _ in range(10):
        await asyncio.sleep(0)


async def until(condition):
    while not condition():
        await asyncio.sleep(.001)


class Call:
    """A call that runs until it is let go, and writes down when it began and ended."""

    def __init__(self, name, log, error=None):
        self.name, self.log, self.error, self.go = name, log, error, threading.Event()

    def __call__(self):
        self.log.append(f'{self.name} begins')
        assert self.go.wait(20)
        self.log.append(f'{self.name} ends')
        if self.error:
            raise self.error
        return self.name


def test_calls_run_one_after_the_other_in_the_order_in_which_they_came():
    async def scenario():
        turns, log = Turns(5), []
        calls = [Call(name, log) for name in 'abc']
        tasks = [asyncio.create_task(turns.run(call)) for call in calls]
        for call in reversed(calls):
            call.go.set()
        assert await asyncio.gather(*tasks) == ['a', 'b', 'c']
        assert log == [f'{name} {what}' for name in 'abc' for what in ('begins', 'ends')]
    run(scenario())


@pytest.mark.parametrize('places', [0, 1, 3])
def test_who_finds_no_place_is_told_when_to_come_again(places):
    async def scenario():
        turns, log = Turns(places), []
        calls = [Call(number, log) for number in range(places + 1)]
        tasks = [asyncio.create_task(turns.run(call)) for call in calls]
        await let_others_run()
        with pytest.raises(Busy) as refused:
            await turns.run(Call('late', log))
        assert refused.value.seconds == places + 1  # a second for each at first
        for call in calls:
            call.go.set()
        await asyncio.gather(*tasks)
        assert turns.waiting == 0 and 'late begins' not in log
        assert await turns.run(lambda: 'place again') == 'place again'
    run(scenario())


def test_who_leaves_the_queue_is_never_called_and_frees_its_place():
    async def scenario():
        turns, log = Turns(1), []
        first, second, third = (Call(name, log) for name in 'abc')
        running = asyncio.create_task(turns.run(first))
        waiting = asyncio.create_task(turns.run(second))
        await let_others_run()
        waiting.cancel()
        await let_others_run()
        after = asyncio.create_task(turns.run(third))
        for call in (first, third):
            call.go.set()
        assert await asyncio.gather(running, after) == ['a', 'c']
        assert waiting.cancelled() and 'b begins' not in log
    run(scenario())


def test_who_leaves_while_its_call_runs_keeps_the_turn_to_the_end():
    async def scenario():
        turns, log = Turns(1), []
        first, second = Call('a', log, ValueError('seen by nobody')), Call('b', log)
        running = asyncio.create_task(turns.run(first))
        await until(lambda: log)
        running.cancel()
        after = asyncio.create_task(turns.run(second))
        await let_others_run()
        assert log == ['a begins']
        first.go.set()
        second.go.set()
        assert await after == 'b'
        assert log == ['a begins', 'a ends', 'b begins', 'b ends']
    run(scenario())


def test_an_error_reaches_who_asked_and_the_next_gets_its_turn():
    async def scenario():
        turns = Turns(1)
        failing = asyncio.create_task(turns.run(lambda: 1 / 0))
        assert await turns.run(lambda: 'next') == 'next'
        with pytest.raises(ZeroDivisionError):
            await failing
    run(scenario())


def test_work_ends_where_the_event_comes_first():
    async def scenario():
        ended = []

        async def work():
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(True)
        assert await unless(asyncio.sleep(0), work()) is None
        await let_others_run()
        assert ended
        assert await unless(asyncio.sleep(60), asyncio.sleep(0, 'done')) == 'done'
        with pytest.raises(KeyError):
            async def failing():
                raise KeyError
            await unless(asyncio.sleep(60), failing())
    run(scenario())
