"""Pixels to image files, in a small pool of threads.

Pillow lets go of the interpreter lock while it resamples and compresses.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model import FaceRequest, encode_face
from service.engine.job import Job, Outcome
from service.engine.watch import Watch

log = logging.getLogger(__name__)

#: Sides up to this are cheap enough that one task encodes all of a batch. A larger face takes up to half a second, so
#: it is a task of its own in a thread of its own, and nobody waits for a stranger's poster.
_LARGE: Final = 256


class Encoder:
    """Encodes batches and hands the outcomes to ``deliver``, which is called from the pool's threads."""

    def __init__(
        self,
        threads: int,
        deliver: Callable[[Sequence[Outcome]], None],
        describe: Callable[[FaceRequest], Mapping[str, str]] | None,
        watch: Watch,
    ) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="emoface-encoder")
        self._posters = ThreadPoolExecutor(1, thread_name_prefix="emoface-posters")
        self._deliver = deliver
        self._describe = describe
        self._watch = watch

    def submit(self, jobs: Sequence[Job], pixels: NDArray[np.uint8]) -> None:
        """Take ``pixels`` uint8 ``[len(jobs), H, W, C]``; every job comes out of ``deliver`` once."""
        pairs = list(zip(jobs, pixels, strict=True))
        small = [(job, face) for job, face in pairs if (job.encoding.size or 0) <= _LARGE]
        if small:
            self._pool.submit(self._encode, small)
        for pair in pairs:
            if (pair[0].encoding.size or 0) > _LARGE:
                self._posters.submit(self._encode, [pair])

    def close(self) -> None:
        """Finish what was submitted, then end the threads."""
        for pool in (self._pool, self._posters):
            pool.shutdown(wait=True)

    def _encode(self, pairs: Sequence[tuple[Job, NDArray[np.uint8]]]) -> None:
        outcomes: list[Outcome] = []
        for job, face in pairs:
            if job.answer.cancelled():
                continue
            began = time.monotonic()
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
