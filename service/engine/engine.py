"""The engine: one inference thread owns the sampler and computes what is queued, in batches.

It takes what is there and never waits for more: the batch grows by itself while the one before is computed. A
face's pixels do not depend on its batch (:mod:`model.sampler` holds that), so nobody can see the batching.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model import FaceRequest
from service.engine.encoder import Encoder
from service.engine.job import Encoding, Job, Outcome
from service.engine.queue import Closed, JobQueue

log = logging.getLogger(__name__)


class Sampler(Protocol):
    """What the service needs of :class:`model.FaceSampler`."""

    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def emotions(self) -> tuple[str, ...]: ...
    @property
    def resolution(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def batch_size(self) -> int:
        """How many faces one computation draws; fewer cost as much."""
        ...

    def sample(self, requests: Sequence[FaceRequest]) -> NDArray[np.uint8]:
        """Return uint8 ``[len(requests), resolution, resolution, channels]``. Called by one thread only."""
        ...


class QueueFull(Exception):
    """As many faces as allowed are unanswered already."""


class EngineStopped(Exception):
    """The inference thread has ended: nothing will be computed any more."""


class EngineFailed(Exception):
    """This face's batch or its encoding raised; the cause is in the log."""


class Engine:
    """Computes faces for coroutines of the one event loop that called :meth:`start`.

    Args:
        sampler: owned by the inference thread from :meth:`start` on.
        limit: how many faces may be unanswered (waiting, computed or encoded) at a time.
        encoder_threads: size of the encoding pool.
        describe: gives the text that is written into a face's file.
    """

    def __init__(
        self,
        sampler: Sampler,
        *,
        limit: int,
        encoder_threads: int,
        describe: Callable[[FaceRequest], Mapping[str, str]] | None = None,
    ) -> None:
        self._sampler = sampler
        self._limit = limit
        self._queue = JobQueue()
        self._encoder = Encoder(encoder_threads, self._deliver, describe)
        # A daemon, so that a sampler that hangs cannot keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="emoface-inference", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Touched on the event loop only, hence without a lock.
        self._unanswered: set[Job] = set()

    @property
    def alive(self) -> bool:
        """Whether faces are being computed."""
        return self._thread.is_alive()

    @property
    def unanswered(self) -> int:
        """How many faces somebody waits for."""
        return len(self._unanswered)

    def start(self) -> None:
        """Start the inference thread. Call it once, on the event loop that will await :meth:`face`."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self, seconds: float | None = None) -> None:
        """Finish what is queued, then end the threads. Blocks, so call it off the event loop.

        A sampler that hangs is left behind after ``seconds`` (None: never).
        """
        self._queue.close()
        if self._thread.ident is not None:
            self._thread.join(seconds)
        self._encoder.close()

    async def face(self, request: FaceRequest, encoding: Encoding) -> bytes:
        """Return the image file of one face. Cancelling the wait takes the face out of the queue.

        Raises:
            QueueFull: as many faces as allowed are unanswered.
            EngineStopped: the inference thread has ended.
            EngineFailed: computing or encoding this face raised.
        """
        if len(self._unanswered) >= self._limit:
            raise QueueFull
        job = Job(request, encoding, asyncio.get_running_loop().create_future())
        try:
            self._queue.put(job)
        except Closed:
            raise EngineStopped from None
        self._unanswered.add(job)
        try:
            return await job.answer
        finally:
            self._unanswered.discard(job)
            if job.answer.cancelled():
                self._queue.discard(job)

    # ---- on the inference thread ----

    def _run(self) -> None:
        batch: Sequence[Job] = ()
        try:
            while batch := self._queue.take(self._sampler.batch_size):
                self._compute([job for job in batch if not job.answer.cancelled()])
        finally:
            # At a stop the queue is empty by now. When something worse than an Exception ends the thread, its
            # batch and all that wait get an answer: nobody waits for ever.
            self._queue.close()
            while batch:
                self._deliver([(job, EngineStopped()) for job in batch])
                batch = self._queue.take(self._sampler.batch_size)

    def _compute(self, batch: Sequence[Job]) -> None:
        if not batch:
            return
        try:
            pixels = self._sampler.sample([job.request for job in batch])
            self._encoder.submit(batch, pixels)
        except Exception as error:
            log.exception("a batch of %d faces failed", len(batch))
            self._deliver([(job, error) for job in batch])

    # ---- back to the event loop ----

    def _deliver(self, outcomes: Sequence[Outcome]) -> None:
        """Bring outcomes home in one hop. Called from the inference thread and the encoder's."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(_resolve, outcomes)
        except RuntimeError:
            log.debug("%d faces came after the event loop had closed", len(outcomes))


def _resolve(outcomes: Sequence[Outcome]) -> None:
    for job, outcome in outcomes:
        if job.answer.done():
            continue
        if isinstance(outcome, bytes):
            job.answer.set_result(outcome)
        elif isinstance(outcome, EngineStopped):
            job.answer.set_exception(outcome)
        else:
            failure = EngineFailed()
            failure.__cause__ = outcome
            job.answer.set_exception(failure)
