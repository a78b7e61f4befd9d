"""The engine: its inference threads own the sampler and compute what is queued, in batches.

A GPU has one of them, the cores of a CPU have some. A thread takes what is there, or its share, and never waits for
more: the batch grows by itself while the ones before are computed. A face's pixels do not depend on its batch
(:mod:`model.sampler` holds that), so nobody can see the batching, and a picture that somebody else has asked for is as
good as a new one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from model import FaceRequest
from service.alarms import Alarms
from service.engine.encoder import Encoder
from service.engine.job import Encoding, Job, Key, Outcome, Picture, Timing, key_of
from service.engine.queue import Closed, JobQueue
from service.engine.watch import Watch

log = logging.getLogger(__name__)

_NEWEST: Final = 0.1  # weight of the newest batch in the mean time that a face takes


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
    def precision(self) -> str: ...
    @property
    def gpu_bytes(self) -> int: ...
    @property
    def batch_size(self) -> int:
        """How many faces are best asked for at a time."""
        ...

    @property
    def callers(self) -> int:
        """How many threads may call :meth:`sample` at once."""
        ...

    def sample(self, requests: Sequence[FaceRequest]) -> NDArray[np.uint8]:
        """Return uint8 ``[len(requests), resolution, resolution, channels]``."""
        ...


class QueueFull(Exception):
    """As many faces as allowed are unanswered already; ``seconds`` is how long they will take, about."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the queue is full for about {seconds:.1f} s")
        self.seconds = seconds


class DeadlineExceeded(Exception):
    """The face was not ready in the time that it was given; ``seconds`` is how long what waits will take, about."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"what waits takes about {seconds:.1f} s")
        self.seconds = seconds


class EngineStopped(Exception):
    """An inference thread has ended: nothing will be computed any more."""


class EngineFailed(Exception):
    """This face's batch or its encoding raised; the cause is in the log."""


class Engine:
    """Computes faces for coroutines of the one event loop that called :meth:`start`.

    Args:
        sampler: owned by the inference threads from :meth:`start` on.
        limit: how many faces may be unanswered (waiting, computed or encoded) at a time.
        encoder_threads: size of the encoding pool.
        describe: gives the text that is written into a face's file.
        cache_bytes: how large the pictures that are kept may be, all together; 0 keeps none.
        deadline: seconds after which a face that is not ready is given up; None waits for ever.
        watch: is told what happens.
        died: called on the event loop when an inference thread has ended of something that no batch can be blamed for.
    """

    def __init__(
        self,
        sampler: Sampler,
        *,
        limit: int,
        encoder_threads: int,
        describe: Callable[[FaceRequest], Mapping[str, str]] | None = None,
        cache_bytes: int = 0,
        deadline: float | None = None,
        died: Callable[[], None] = lambda: None,
        watch: Watch | None = None,
    ) -> None:
        self._sampler = sampler
        self._limit = limit
        self._deadline = deadline
        self._deadlines = None if deadline is None else Alarms(deadline)
        self._died = died
        self._watch = watch or Watch()
        self._queue = JobQueue()
        self._encoder = Encoder(encoder_threads, sampler.callers, self._deliver, describe, self._watch)
        # A daemon, so that a sampler that hangs cannot keep the process from ending.
        self._threads = [
            threading.Thread(target=self._run, name=f"emoface-inference_{number}", daemon=True)
            for number in range(sampler.callers)
        ]
        self._loop: asyncio.AbstractEventLoop | None = None
        # The inference threads' own, and behind the lock.
        self._lock = threading.Lock()
        self._computing = 0
        self._seconds_a_face = 0.0
        self._dead = False
        # Both touched on the event loop only, hence without a lock.
        self._flights: dict[Key, Job] = {}
        self._cache: LRUCache[Key, bytes] = LRUCache(cache_bytes, getsizeof=len)

    @property
    def alive(self) -> bool:
        """Whether faces can be had: the inference threads run, and encoders do not all take longer than any may."""
        return all(thread.is_alive() for thread in self._threads) and not self._encoder.hangs(self._deadline)

    @property
    def unanswered(self) -> int:
        """How many different faces somebody waits for."""
        return len(self._flights)

    @property
    def backlog(self) -> float:
        """Seconds that what is unanswered will take, about."""
        return self._seconds_a_face * len(self._flights)

    @property
    def cached_bytes(self) -> int:
        """How large the pictures are that lie ready, all together."""
        return int(self._cache.currsize)

    def start(self) -> None:
        """Start the inference threads. Call it once, on the event loop that will await :meth:`face`."""
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float | None = None) -> None:
        """Finish what is queued, then end the threads. Blocks, so call it off the event loop.

        A sampler or an encoder that hangs is left behind after ``seconds`` (None: never).
        """
        end = None if seconds is None else time.monotonic() + seconds
        self._queue.close()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(None if end is None else max(0.0, end - time.monotonic()))
        self._encoder.close(None if end is None else max(0.0, end - time.monotonic()))

    async def face(self, request: FaceRequest, encoding: Encoding) -> Picture:
        """Return the image file of one face.

        A picture that was made lately is taken from the cache, and who asks for one that is being made waits for that
        one. When nobody waits any more, because all were cancelled or late, the face is taken out of the queue.

        Raises:
            QueueFull: as many faces as allowed are unanswered.
            DeadlineExceeded: it took too long.
            EngineStopped: an inference thread has ended.
            EngineFailed: computing or encoding this face raised.
        """
        key = key_of(request, encoding)
        if key in self._cache:  # its get() raises and catches where there is none
            self._watch.face("ready")
            return Picture(self._cache[key])
        job = self._flights.get(key) or self._launch(Job(key, request, encoding, Timing(time.monotonic())))
        waiter = asyncio.get_running_loop().create_future()
        job.waiting.append(waiter)
        alarm = self._deadlines.set(self._late, waiter) if self._deadlines else None
        try:
            content = await waiter
        except DeadlineExceeded:
            self._watch.face("late")
            raise
        except asyncio.CancelledError:
            self._watch.face("abandoned")
            raise
        except (EngineFailed, EngineStopped):
            self._watch.face("failed")
            raise
        else:
            self._watch.face("made")
            self._watch.made(job.timing)
            return Picture(content, job.timing)
        finally:
            if alarm is not None:
                alarm.stop()
            self._leave(job, waiter)

    def _launch(self, job: Job) -> Job:
        if len(self._flights) >= self._limit:
            self._watch.face("refused")
            raise QueueFull(self.backlog)
        try:
            self._queue.put(job)
        except Closed:
            raise EngineStopped from None
        self._flights[job.key] = job
        return job

    def _late(self, waiter: asyncio.Future[bytes]) -> None:
        if not waiter.done():
            waiter.set_exception(DeadlineExceeded(self.backlog))

    def _leave(self, job: Job, waiter: asyncio.Future[bytes]) -> None:
        """Wait no longer; a face that nobody waits for is not computed."""
        job.waiting.remove(waiter)
        if not job.waiting and not job.answered:
            job.wanted = False
            self._queue.discard(job)
        if (job.answered or not job.wanted) and self._flights.get(job.key) is job:
            del self._flights[job.key]

    # ---- on the inference threads ----

    def _run(self) -> None:
        batch: Sequence[Job] = ()
        ended = False
        try:
            while batch := self._queue.take(self._sampler.batch_size, len(self._threads)):
                self._compute([job for job in batch if job.wanted])
            ended = True
        except BaseException:  # Python itself says nothing of a thread that SystemExit ends
            log.critical("an inference thread has ended", exc_info=True)
        finally:
            # At a stop the queue is empty by now. When something worse than an Exception ends a thread, its batch and
            # all that wait get an answer, and the other threads end: nobody waits for ever.
            self._queue.close()
            while batch:
                self._deliver([(job, EngineStopped()) for job in batch])
                batch = self._queue.take(self._sampler.batch_size)
            with self._lock:
                first, self._dead = not ended and not self._dead, not ended or self._dead
            if first:
                self._hop(self._died)

    def _compute(self, batch: Sequence[Job]) -> None:
        if not batch:
            return
        began = time.monotonic()
        with self._lock:
            self._computing += 1
        try:
            pixels = self._sampler.sample([job.request for job in batch])
            took = time.monotonic() - began
            for job in batch:
                job.timing.queue, job.timing.generate = began - job.timing.since, took
            self._watch.batch(len(batch), took, [job.timing.queue for job in batch])
            with self._lock:
                share = took / len(batch) / self._computing
                self._seconds_a_face += (share - self._seconds_a_face) * (_NEWEST if self._seconds_a_face else 1)
            self._encoder.submit(batch, pixels)
        except Exception as error:
            log.exception("a batch of %d faces failed", len(batch))
            self._deliver([(job, error) for job in batch])
        finally:
            with self._lock:
                self._computing -= 1

    # ---- back to the event loop ----

    def _deliver(self, outcomes: Sequence[Outcome]) -> None:
        """Bring outcomes home in one hop. Called from inference threads and the encoder's."""
        self._hop(self._resolve, outcomes)

    def _hop(self, callback: Callable[..., None], *args: object) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            log.debug("%s came after the event loop had closed", callback.__name__)

    def _resolve(self, outcomes: Sequence[Outcome]) -> None:
        for job, outcome in outcomes:
            if job.answered or not job.wanted:
                continue
            job.answered = True
            if isinstance(outcome, bytes):
                if len(outcome) <= self._cache.maxsize:
                    self._cache[job.key] = outcome
            elif not isinstance(outcome, EngineStopped):
                failure = EngineFailed()
                failure.__cause__ = outcome
                outcome = failure
            for waiter in job.waiting:
                if waiter.done():
                    continue
                if isinstance(outcome, bytes):
                    waiter.set_result(outcome)
                else:
                    waiter.set_exception(outcome)
