"""What the engine tells of itself while it works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from service.engine.job import Timing

#: What became of a face: its picture was made, or lay ready; or it was refused because too many wait, given up because
#: it was late or nobody waited any more, or its batch or its encoding raised.
Event = Literal["made", "ready", "refused", "late", "abandoned", "failed"]


class Watch:
    """Is told what happens; this one does nothing with it. Methods may be called from any thread and must not block."""

    def batch(self, faces: int, seconds: float, waited: list[float]) -> None:
        """``faces`` were generated in ``seconds``, after each had ``waited`` seconds in the queue."""

    def encoded(self, seconds: float) -> None:
        """A picture was encoded."""

    def face(self, event: Event) -> None:
        """Something became of a face that somebody asked for; one that several wait for counts for each of them."""

    def made(self, timing: Timing) -> None:
        """A picture was made for somebody; called in the context of their request, for each of them."""


class Watches(Watch):
    """Tells several."""

    def __init__(self, watches: Sequence[Watch]) -> None:
        self._watches = watches

    def batch(self, faces: int, seconds: float, waited: list[float]) -> None:
        """Pass it on."""
        for watch in self._watches:
            watch.batch(faces, seconds, waited)

    def encoded(self, seconds: float) -> None:
        """Pass it on."""
        for watch in self._watches:
            watch.encoded(seconds)

    def face(self, event: Event) -> None:
        """Pass it on."""
        for watch in self._watches:
            watch.face(event)

    def made(self, timing: Timing) -> None:
        """Pass it on."""
        for watch in self._watches:
            watch.made(timing)
