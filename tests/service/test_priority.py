"""What draws on a CPU lets the event loop and the encoders go first."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from service.priority import giving_way

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities for threads")


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
    # A process of its own, as the service is: OpenVINO keeps threads for whoever needs such ones again.
    script = """
import os
from pathlib import Path
from model import EmotionMix, FaceRequest
from service.app import load_sampler
from service.settings import Settings
own = os.getpriority(os.PRIO_PROCESS, 0)
sampler = load_sampler(Settings(device="cpu", threads=2))
sampler.sample([FaceRequest(EmotionMix.parse("happy", sampler.emotions), seed) for seed in range(16)])
threads = [int(task.name) for task in Path("/proc/self/task").iterdir()]
lower = [thread for thread in threads if os.getpriority(os.PRIO_PROCESS, thread) == min(own + 5, 19)]
print(len(lower) >= 2, os.getpid() not in lower)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "True True\n", done.stderr
