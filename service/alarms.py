"""Timers that all run equally long, most of which are stopped before they ring.

Right after a face has been drawn, a timer of the event loop's own takes 0.02 to 0.04 ms to be set and stopped, for
nothing of it is in the processor's caches; and each request has some.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any


class Alarm:
    """One of them: calls ``ring(*given)`` when it is ``due``, in the event loop's time."""

    __slots__ = ("due", "given", "ring")

    def __init__(self, due: float, ring: Callable[..., None], given: tuple[Any, ...]) -> None:
        self.due = due
        self.ring: Callable[..., None] | None = ring  # None: it has been stopped, or has rung
        self.given = given

    def stop(self) -> None:
        """Do not ring any more, and hold on to nothing."""
        self.ring, self.given = None, ()


class Alarms:
    """Alarms that ring ``seconds`` after they were set. All is for the one event loop on which they are set."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._set: deque[Alarm] = deque()  # what is due first comes first
        self._timer: asyncio.TimerHandle | None = None  # one for them all

    def set(self, ring: Callable[..., None], *given: Any) -> Alarm:
        """Have ``ring(*given)`` called, unless it is stopped before."""
        loop = asyncio.get_running_loop()
        alarm = Alarm(loop.time() + self._seconds, ring, given)
        while self._set and self._set[0].ring is None:
            self._set.popleft()
        self._set.append(alarm)
        if self._timer is None:
            self._timer = loop.call_at(alarm.due, self._look)
        return alarm

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        try:
            while self._set and (self._set[0].ring is None or self._set[0].due <= loop.time()):
                alarm = self._set.popleft()
                ring, given = alarm.ring, alarm.given
                alarm.stop()
                if ring is not None:
                    ring(*given)
        finally:
            if self._set and self._timer is None:  # whoever was rung may have set one
                self._timer = loop.call_at(self._set[0].due, self._look)
