"""From a plan to encoded faces, on all cores, in order."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from model.sampler import FaceRequest, FaceSampler
from training.data.errors import DataError
from training.export.agreement import Jury
from training.export.plan import Part, Plan

_CHUNK: Final = 64  # faces that one thread draws, judges and encodes at a time
_TRIED: Final = 32  # the same where not all are kept: fewer, because some are drawn in vain at the end
_HOPELESS: Final = 2000  # people tried one after the other without one that is kept

#: Makes what a file holds of a face's pixels, uint8 ``[H, W, C]``, and of what it was drawn from.
Encode = Callable[[NDArray[np.uint8], FaceRequest], bytes]


@dataclass(frozen=True, slots=True)
class Face:
    """A face that is ready."""

    request: FaceRequest
    candidate: int  # its number among those of its cell that were tried, from 0
    pixels: NDArray[np.uint8]  # [H, W, C]
    content: bytes
    agreement: float | None = None  # the jury's, 0..1


@dataclass(frozen=True, slots=True)
class Tally:
    """How many faces of a cell were tried so far, and how many of them kept."""

    tried: int = 0
    kept: int = 0


class Drawer:
    """Draws a plan's faces; a context manager, whose threads end with it.

    Each thread draws, judges and encodes faces of its own, so that cores draw while others encode. What a face looks
    like, and the company in which it is judged, are the plan's alone and do not depend on the threads.

    Args:
        encode: called from several threads at once.
        least: with a jury, a face with less agreement is not kept, and another person is tried.
    """

    def __init__(
        self, sampler: FaceSampler, plan: Plan, encode: Encode, jury: Jury | None = None, least: float = 0.0
    ) -> None:
        self.plan = plan
        self._sampler, self._encode, self._jury, self._least = sampler, encode, jury, least
        # With a jury that computes on the CPU each thread asks it alone: torch's own threads would compete with those
        # that draw. A thread more than may draw at once encodes meanwhile.
        alone = _one_torch_thread if jury is not None and sampler.callers > 1 else None
        self.threads = sampler.callers + 1
        self._turn = threading.BoundedSemaphore(sampler.callers)
        self._pool = ThreadPoolExecutor(self.threads, "emoface-dataset", alone)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def draw(self, parts: Sequence[Part], tallies: Mapping[int, Tally]) -> Iterator[Face]:
        """Give the faces of ``parts``, which are all from some part to the plan's end, in order.

        ``tallies`` says by cell what was tried for the parts before, where not every face is kept.

        Raises:
            DataError: hardly any face of a cell finds agreement.
        """
        if self._least > 0:
            kept = [_Kept(self, cell, tallies.get(cell, Tally())) for cell in range(len(self.plan.cells))]
            for _, slots in self.plan.slots(parts):
                for slot in slots:
                    yield next(kept[slot.cell])
            return
        under_way: deque[Future[list[Face]]] = deque()
        for _, slots in self.plan.slots(parts):
            # A chunk ends with its part, so that faces are judged in the same company when a part is drawn again.
            for start in range(0, len(slots), _CHUNK):
                under_way.append(self.make([(slot.cell, slot.rank) for slot in slots[start : start + _CHUNK]]))
                if len(under_way) > 2 * self.threads:
                    yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()

    def make(self, wanted: Sequence[tuple[int, int]]) -> Future[list[Face]]:
        """Begin to make faces, (cell, candidate) each; those that are kept come out, in the same order."""
        return self._pool.submit(self._make, wanted)

    def _make(self, wanted: Sequence[tuple[int, int]]) -> list[Face]:
        plan = self.plan
        requests = [
            FaceRequest(plan.cells[cell].mix, plan.person(cell, n), plan.cells[cell].intensity, plan.truncation)
            for cell, n in wanted
        ]
        with self._turn:
            pixels = self._sampler.sample(requests)
        said: Sequence[float | None] = [None] * len(requests)
        if self._jury is not None:
            said = self._jury.agreement(pixels, [plan.cells[cell].label for cell, _ in wanted])
        return [
            Face(request, n, face, self._encode(face, request), agreement)
            for (_, n), request, face, agreement in zip(wanted, requests, pixels, said, strict=True)
            if agreement is None or agreement >= self._least
        ]


class _Kept:
    """The faces of one cell that are kept, one after the other; some are always under way.

    People are tried in chunks that begin at fixed numbers, so that each is judged in the same company always.
    """

    def __init__(self, drawer: Drawer, cell: int, tally: Tally) -> None:
        self._drawer, self._cell = drawer, cell
        self._from = tally.tried  # the first that has not been tried for the parts before
        self._chunk = tally.tried // _TRIED
        self._tried, self._got = tally.tried, tally.kept
        self._last = tally.tried - 1  # the one kept last
        self._need = sum(int(counts[cell]) for counts in drawer.plan.counts.values()) - tally.kept
        self._ready: deque[Face] = deque()
        self._under_way: deque[Future[list[Face]]] = deque()
        self._begin(1)

    def __next__(self) -> Face:
        while not self._ready:
            self._begin(2 * self._drawer.threads)
            self._take(self._under_way.popleft().result())
        self._need -= 1
        face = self._ready.popleft()
        self._begin(1)
        return face

    def _begin(self, most: int) -> None:
        """Have up to ``most`` chunks under way, as long as they will probably be needed."""
        rate = max(self._got / self._tried if self._tried else 1.0, 1 / _TRIED)
        wanted = math.ceil((self._need - len(self._ready)) / (rate * _TRIED))
        while len(self._under_way) < min(most, wanted):
            first = self._chunk * _TRIED
            self._under_way.append(self._drawer.make([(self._cell, n) for n in range(first, first + _TRIED)]))
            self._chunk += 1

    def _take(self, faces: Sequence[Face]) -> None:
        fresh = [face for face in faces if face.candidate >= self._from]
        self._ready.extend(fresh)
        self._got += len(fresh)
        self._tried = (self._chunk - len(self._under_way)) * _TRIED
        if fresh:
            self._last = fresh[-1].candidate
        elif self._tried - self._last > _HOPELESS:
            cell = self._drawer.plan.cells[self._cell]
            raise DataError(
                f"of {_HOPELESS:,} people in a row none shows {cell.label} (intensity {cell.intensity:g}) with as much "
                "agreement as asked for; ask for less with --min-agreement, or leave the emotion out with --emotions."
            )


def _one_torch_thread() -> None:
    import torch  # here, because data sets without a jury need no torch

    torch.set_num_threads(1)
