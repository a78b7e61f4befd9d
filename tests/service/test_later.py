"""What is done later: all of it, in its order, soon, and some of it at a time."""

from __future__ import annotations

import asyncio
import threading

from service.later import Later
from tests.service.serving import until


def test_what_waits_is_done_in_its_order_and_not_at_once() -> None:
    async def scenario() -> None:
        done: list[int] = []
        later = Later()
        for number in range(3):
            later.add(done.append, number)
            later.soon()
        assert done == []
        await until(lambda: len(done) == 3)
        assert done == [0, 1, 2]
        later.add(done.append, 3)  # and again
        later.soon()
        await until(lambda: len(done) == 4)

    asyncio.run(scenario())


def test_much_of_it_does_not_wait() -> None:
    async def scenario() -> None:
        done: list[int] = []
        later = Later()
        for number in range(1000):
            later.add(done.append, number)
            later.soon()
        assert 800 < len(done) < 1000
        later.close()

    asyncio.run(scenario())


def test_nothing_is_lost_or_done_twice_when_several_threads_do_it() -> None:
    done: list[int] = []
    later = Later()

    def add(first: int) -> None:
        for number in range(first, first + 2000):
            later.add(done.append, number)
            if number % 7 == 0:
                later.flush()

    threads = [threading.Thread(target=add, args=(first,)) for first in (0, 2000, 4000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    later.flush()
    assert sorted(done) == list(range(6000))


def test_at_the_end_nothing_waits_for_a_timer_any_more() -> None:
    done: list[int] = []
    later = Later()
    later.add(done.append, 1)
    later.close()
    assert done == [1]
    later.add(done.append, 2)
    later.soon()  # with no event loop left
    assert done == [1, 2]
