"""What nobody waits for is done later, some of it at a time.

Right after a face has been drawn, a processor's caches hold weights and nothing of Python. To write one line of the log
takes 0.11 ms then, and the next one, right behind it, 0.013 (AMD EPYC, Zen 4); a lone client's face takes 2.5 ms.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

_SECONDS: Final = 0.05
_MOST: Final = 128  # a millisecond or two: nobody should wait for more than that


class Later:
    """Things to do. They are done in their order, on the event loop that calls :meth:`soon`."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def add(self, work: Callable[..., None], *given: Any) -> None:
        """Have ``work(*given)`` done, which must not raise. May be called from any thread."""
        self._waiting.append((work, given))

    def soon(self) -> None:
        """See to it that what waits is done in 0.05 s, or now if there is much of it. Call it on the event loop."""
        if self._closed or len(self._waiting) >= _MOST:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SECONDS, self._due)

    def flush(self) -> None:
        """Do all that waits. May be called from any thread."""
        while True:
            try:
                work, given = self._waiting.popleft()
            except IndexError:
                return
            work(*given)

    def close(self) -> None:
        """Do all that waits, and from now on whatever comes at once: the loop may end before a timer does."""
        self._closed = True
        self.flush()

    def _due(self) -> None:
        self._timer = None
        self.flush()
