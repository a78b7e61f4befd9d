"""What the engine tells of itself while it works."""

from __future__ import annotations

from typing import Literal

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
