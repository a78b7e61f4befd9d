"""Pixels to image files, in a small pool of threads; a PNG as it was drawn, by the thread that drew it.

Pillow and zlib let go of the interpreter lock while they resample and compress.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model import FaceRequest, encode_face
from service.engine.job import Encoding, Job, Outcome
from service.engine.watch import Watch

log = logging.getLogger(__name__)

#: Sides up to this are cheap enough that one task encodes all of a batch. A larger face takes up to half a second, so
#: it is a task of its own in a thread of its own, and nobody waits for a stranger's poster.
_LARGE: Final = 256
#: A tenth of a millisecond: for a lone client 1.05 times as many faces as by way of another thread. But a GPU whose
#: one inference thread encodes 64 of them has nothing to do meanwhile.
_AS_DRAWN: Final = Encoding()

_Pairs = Sequence[tuple[Job, NDArray[np.uint8]]]


class Encoder:
    """Encodes batches and hands the outcomes to ``deliver``, which is called from the threads that encode.

    Args:
        threads: size of the pool.
        callers: how many threads call :meth:`submit`.
        deliver: takes outcomes, from any thread.
        describe: gives the text that is written into a face's file.
        watch: is told what happens.
    """

    def __init__(
        self,
        threads: int,
        callers: int,
        deliver: Callable[[Sequence[Outcome]], None],
        describe: Callable[[FaceRequest], Mapping[str, str]] | None,
        watch: Watch,
    ) -> None:
        self._pool = _Pool(threads, "emoface-encoder")
        self._posters = _Pool(1, "emoface-posters")
        self._callers = callers
        self._busy = _Busy(callers)  # encoding what they have drawn
        self._deliver = deliver
        self._describe = describe
        self._watch = watch

    def submit(self, jobs: Sequence[Job], pixels: NDArray[np.uint8]) -> None:
        """Take ``pixels`` uint8 ``[len(jobs), H, W, C]``; every job comes out of ``deliver`` once."""
        here, small = [], []
        for pair in zip(jobs, pixels, strict=True):
            encoding = pair[0].encoding
            if (encoding.size or 0) > _LARGE:
                self._posters.submit(partial(self._encode, [pair]))
            elif encoding == _AS_DRAWN and self._callers > 1:
                here.append(pair)
            else:
                small.append(pair)
        if small:
            self._pool.submit(partial(self._encode, small))
        if here:
            with self._busy:
                self._encode(here)

    def hangs(self, seconds: float | None) -> bool:
        """Tell whether all of the pool, or all callers, have been at one task for longer (None: they may be)."""
        return seconds is not None and max(self._busy.seconds(), self._pool.busy.seconds()) > seconds

    def close(self, seconds: float | None = None) -> None:
        """Finish what was submitted, then end the threads; one that hangs is left behind after ``seconds``."""
        end = None if seconds is None else time.monotonic() + seconds
        for pool in (self._pool, self._posters):
            pool.close()
        for pool in (self._pool, self._posters):
            pool.join(end)

    def _encode(self, pairs: _Pairs) -> None:
        outcomes: list[Outcome] = []
        for job, face in pairs:
            if not job.wanted:
                continue
            job.timing.encoded_from = began = time.monotonic()
            try:
                text = self._describe(job.request) if self._describe else None
                content = encode_face(face, job.encoding.size, job.encoding.format, text)
                job.timing.encode = time.monotonic() - began
                self._watch.encoded(job.timing.encode)
                outcomes.append((job, content))
            except Exception as error:  # one face that cannot be written must not take its neighbours with it
                log.exception("a face could not be encoded as %s", job.encoding)
                outcomes.append((job, error))
        self._deliver(outcomes)


class _Busy:
    """Since when all of some threads have been at something; each says so itself, with ``with``."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._since: dict[int, float] = {}  # when each began; absent where it is at nothing

    def __enter__(self) -> None:
        self._since[threading.get_ident()] = time.monotonic()

    def __exit__(self, *_: object) -> None:
        del self._since[threading.get_ident()]

    def seconds(self) -> float:
        """Return for how long all have been at what they are at; 0 where one is at nothing."""
        since = list(self._since.values())
        return time.monotonic() - max(since) if len(since) == self._threads else 0.0


class _Pool:
    """Threads that work off a queue.

    Daemons, unlike those of ``concurrent.futures``, for which Python waits at its end: an encoder that hangs must not
    keep the process from ending.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.busy = _Busy(threads)
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}_{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Callable[[], None]) -> None:
        self._tasks.put(task)

    def close(self) -> None:
        for _ in self._threads:
            self._tasks.put(None)

    def join(self, end: float | None) -> None:
        for thread in self._threads:
            thread.join(None if end is None else max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                with self.busy:
                    task()
            except BaseException:  # whatever it was, the tasks to come need this thread
                log.exception("an encoder thread failed")
