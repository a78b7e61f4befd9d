"""Alarms ring when they are due, each by itself, and not when they were stopped."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from service.alarms import Alarms
from tests.service.serving import until


def test_alarms_ring_in_time_and_in_their_order() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        rang: list[tuple[int, float]] = []
        alarms = Alarms(0.1)
        began = []
        for number in range(3):
            began.append(loop.time())
            alarms.set(lambda number: rang.append((number, loop.time())), number)
            await asyncio.sleep(0.03)
        await until(lambda: len(rang) == 3)
        assert [number for number, _ in rang] == [0, 1, 2]
        for (_, at), since in zip(rang, began, strict=True):
            assert at - since >= 0.099

    asyncio.run(scenario())


def test_a_stopped_one_does_not_ring_and_those_behind_it_do() -> None:
    async def scenario() -> None:
        rang: list[str] = []
        alarms = Alarms(0.05)
        first, second, third = (alarms.set(rang.append, name) for name in ("first", "second", "third"))
        first.stop()
        third.stop()
        await until(lambda: bool(rang))
        second.stop()  # too late, and no harm
        await asyncio.sleep(0.1)
        assert rang == ["second"]
        alarms.set(rang.append, "fourth")  # after all was quiet
        await until(lambda: rang == ["second", "fourth"])

    asyncio.run(scenario())


def test_one_may_be_set_by_another_and_one_that_fails_hinders_none() -> None:
    async def scenario() -> None:
        rang: list[str] = []
        alarms = Alarms(0.02)

        def fails() -> None:
            alarms.set(rang.append, "child")
            raise RuntimeError("boom")

        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))
        alarms.set(fails)
        alarms.set(rang.append, "next")
        await until(lambda: rang == ["next", "child"])
        assert [str(failure) for failure in failures] == ["boom"]

    asyncio.run(scenario())


def test_stopped_ones_hold_on_to_nothing() -> None:
    class Large:
        pass

    async def scenario() -> None:
        alarms = Alarms(60)
        kept = alarms.set(print)
        large = Large()
        alarms.set(print, large).stop()
        gone = weakref.ref(large)
        del large
        gc.collect()
        assert gone() is None
        kept.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("kept", [0, 1])
def test_they_do_not_pile_up(kept: int) -> None:
    async def scenario() -> None:
        alarms = Alarms(0.05)
        held = [alarms.set(print) for _ in range(kept)]
        for _ in range(1000):
            alarms.set(print).stop()
        for alarm in held:
            alarm.stop()
        alarms.set(print).stop()
        assert len(alarms._set) == 1

    asyncio.run(scenario())
