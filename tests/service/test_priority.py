"""What draws on a CPU lets the event loop and the encoders go first."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from model import EmotionMix, FaceRequest
from service.app import load_sampler
from service.priority import giving_way
from service.settings import Settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities for threads")


def _priorities() -> dict[int, int]:
    """How nice each thread of this process is."""
    threads = (int(task.name) for task in Path("/proc/self/task").iterdir())
    return {thread: os.getpriority(os.PRIO_PROCESS, thread) for thread in threads}


def test_work_is_done_by_a_thread_that_gives_way_and_so_are_its_own_threads() -> None:
    def work() -> list[int]:
        seen = [os.getpriority(os.PRIO_PROCESS, threading.get_native_id())]
        child = threading.Thread(target=lambda: seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
        child.start()
        child.join()
        return seen

    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert giving_way(work) == [min(own + 5, 19)] * 2
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own


def test_what_it_raises_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        giving_way(lambda: 1 // 0)


def test_what_draws_gives_way_and_who_asks_does_not() -> None:
    before = _priorities()
    sampler = load_sampler(Settings(device="cpu", threads=2))
    sampler.sample([FaceRequest(EmotionMix.parse("happy", sampler.emotions), seed) for seed in range(16)])
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    new = Counter(nice for thread, nice in _priorities().items() if thread not in before)
    assert new[min(own + 5, 19)] >= 2
    assert before.items() <= _priorities().items()
