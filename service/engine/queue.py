"""Jobs on their way from the event loop to the inference threads."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Sequence
from queue import Empty, SimpleQueue

from service.engine.job import Job


class Closed(Exception):
    """The queue takes no more jobs."""


class JobQueue:
    """First in, first out, between one event loop and its takers. All methods may be called from any thread.

    It has no bound of its own: :class:`service.engine.Engine` bounds the faces that are *unanswered*, so that
    a slow encoder meets the same limit as a slow sampler.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: deque[Job] = deque()
        # Rings at least as often as there are jobs; who hears it looks for some, and may find that others took them
        # along. In C: threading.Condition does this with dozens of calls, which a lone client's face waits for.
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._closed = False

    def put(self, job: Job) -> None:
        """Append a job. Raises :class:`Closed` after :meth:`close`."""
        with self._lock:
            if self._closed:
                raise Closed
            self._jobs.append(job)
            self._bell.put(None)

    def take(self, most: int, takers: int = 1) -> Sequence[Job]:
        """Wait for a job, then return what is queued, at most ``most``; empty once closed and drained.

        One of several takers leaves something for the others: of a short queue it takes two jobs, of a longer one its
        share, in a power of two. Else all that is asked for at a time is soon in one taker's hands, and the others'
        cores have nothing to do until it is done.
        """
        while True:
            self._bell.get()
            with self._lock:
                if self._jobs:
                    return self._share(most, takers)
                if self._closed:
                    self._bell.put(None)  # for the next taker
                    return ()

    def _share(self, most: int, takers: int) -> list[Job]:
        there = len(self._jobs)
        if takers > 1:
            share = there // (takers + 1)
            most = min(most, max(2, 1 << share.bit_length() >> 1))
        taken = [self._jobs.popleft() for _ in range(min(most, there))]
        with contextlib.suppress(Empty):  # others have heard it, and will look in vain
            for _ in taken[1:]:
                self._bell.get_nowait()
        return taken

    def discard(self, job: Job) -> None:
        """Take a job out again if it is still waiting."""
        # ValueError: already taken; an inference thread looks once more before it computes.
        with self._lock, contextlib.suppress(ValueError):
            self._jobs.remove(job)

    def close(self) -> None:
        """Refuse new jobs; those already queued can still be taken."""
        with self._lock:
            self._closed = True
            self._bell.put(None)
