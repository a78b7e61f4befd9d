"""The queue by itself: every job comes out once, whoever takes, and nobody sleeps while there is one."""

from __future__ import annotations

import random
import threading
import time
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.engine.job import Job
from service.engine.queue import Closed, JobQueue


def jobs(count: int) -> list[Job]:
    return [cast(Job, number) for number in range(count)]  # it never looks into one


def test_first_in_first_out_and_at_most_as_many_as_asked_for() -> None:
    queue = JobQueue()
    first, *rest = jobs(6)
    queue.put(first)
    assert queue.take(4) == [first]
    for job in rest:
        queue.put(job)
    assert queue.take(2) == rest[:2]
    queue.discard(rest[2])
    queue.discard(first)  # taken long ago
    queue.close()
    with pytest.raises(Closed):
        queue.put(first)
    assert queue.take(9) == rest[3:]
    assert not queue.take(9)
    assert not queue.take(9)


@pytest.mark.parametrize(("there", "takers", "gets"), [(1, 2, 1), (5, 2, 2), (11, 2, 2), (12, 2, 4), (64, 2, 8)])
def test_one_of_several_takers_leaves_something(there: int, takers: int, gets: int) -> None:
    queue = JobQueue()
    for job in jobs(there):
        queue.put(job)
    assert len(queue.take(8, takers)) == gets


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 8))
def test_every_job_is_taken_once_and_soon(seed: int, takers: int, most: int) -> None:
    """Takers sleep in between, jobs come in bursts, some are discarded; after each burst the queue runs empty."""
    queue, chance = JobQueue(), random.Random(seed)
    taken: list[Job] = []

    def take() -> None:
        while batch := queue.take(most, takers):
            taken.extend(batch)
            time.sleep(chance.choice((0, 0, 0.0003)))

    threads = [threading.Thread(target=take, daemon=True) for _ in range(takers)]
    for thread in threads:
        thread.start()
    put, dropped = 0, set()
    for _ in range(15):
        for _ in range(chance.randrange(1, 12)):
            queue.put(cast(Job, put))
            if chance.random() < 0.1:
                queue.discard(cast(Job, put))
                dropped.add(put)
            put += 1
        end = time.monotonic() + 5
        while queue._jobs:  # nothing more is put until then, so nobody else would wake a sleeper
            assert time.monotonic() < end, "a job waits, and nobody takes it"
            time.sleep(0.0001)
    queue.close()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    assert len(taken) == len(set(taken))
    assert set(range(put)) - dropped <= set(taken) <= set(range(put))
