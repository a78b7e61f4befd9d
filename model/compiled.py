"""The residual generator on CPUs, run by OpenVINO: the same faces in a fraction of the time.

:mod:`model.graph` says what is computed. OpenVINO packs the weights once and fuses what follows a convolution, and a
face is one call that lets go of Python's lock, where torch takes it up again for each of forty operations and waits
for whatever else runs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from model.generator import Floats, Generator, trial_inputs
from model.graph import CORE, generator_graph
from model.sizes import sized_graph

if TYPE_CHECKING:
    import openvino as ov

log = logging.getLogger(__name__)

_HINTS: Final = {"float32": "f32", "bfloat16": "bf16"}


class CompiledGenerator:
    """Draws with a copy of a generator's weights, as they are now. Threads may call it at once.

    Every core draws faces of its own, a few at a time, and waits for no other, for what two cores do to one face has
    to be put together after each layer: under load that costs half as much again. Only a lone face is drawn by all
    of them, in two thirds of the time, where the one before was alone too: under load there is nobody else only for a
    moment.

    Args:
        generator: in evaluation mode; its batch norms' running statistics are used.
        precision: of the arithmetic, ``float32`` or ``bfloat16``.
        threads: how many cores draw.
        largest: how many faces a core draws at a time, at most.
    """

    def __init__(self, generator: Generator, *, precision: str = "float32", threads: int = 1, largest: int = 8) -> None:
        self._config = generator.config
        self._precision = _HINTS[precision]
        self._threads = threads
        graph = generator_graph(generator, exact=precision == "float32")
        self._apart = self._compile(graph, _sizes(largest), streams=threads)
        self._together = self._compile(graph, [1], streams=1) if threads > 1 else None
        self._calls = 0  # that are being answered
        self._begun = 0  # calls, ever
        self._quiet = False  # the last call was for one face, and nobody else called meanwhile
        self._lock = threading.Lock()
        if not self._agree():
            log.info("fewer than %d faces at a time would differ by a bit, so a core always draws as many", largest)
            self._apart, self._together = self._compile(graph, [largest], streams=threads), None
        log.info("%d threads draw %s faces at a time in %s", threads, "/".join(map(str, self.sizes)), precision)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many faces a core draws at a time. What a face looks like, to the last bit, does not depend on it."""
        return self._apart.sizes

    def __call__(self, latents: Floats, emotions: Floats) -> NDArray[np.uint8]:
        """Draw faces.

        Args:
            latents: float32 ``[n, latent_dim]``.
            emotions: float32 ``[n, len(emotions)]``, each row sums to 1.

        Returns:
            uint8 ``[n, resolution, resolution, channels]``, 0 black..255 white.
        """
        return np.rint(self.unrounded(latents, emotions)).astype(np.uint8)

    def unrounded(self, latents: Floats, emotions: Floats) -> Floats:
        """Draw as when called, float32."""
        faces = self._empty(len(latents))
        with self._lock:
            others = self._calls
            self._calls += 1
            self._begun += 1
            call, lone = self._begun, len(latents) == 1 and not others
            together = lone and self._quiet
        try:
            if together and self._together is not None:
                self._draw(self._together, [(1, slice(0, 1))], latents, emotions, faces)
                return faces
            cores = max(1, self._threads - others)
            at_once = cores * max(self.sizes)
            for start in range(0, len(latents), at_once):
                plan = self._plan(start, min(start + at_once, len(latents)), cores)
                self._draw(self._apart, plan, latents, emotions, faces)
        finally:
            with self._lock:
                self._calls -= 1
                self._quiet = lone and call == self._begun
        return faces

    def _empty(self, count: int) -> Floats:
        side = self._config.resolution
        return np.empty((count, side, side, self._config.channels), np.float32)

    def _plan(self, start: int, end: int, cores: int) -> Plan:
        """Share faces out to cores, and each core's to as few draws as it can."""
        plan = []
        share = -(-(end - start) // cores)
        for first in range(start, end, share):
            at, last = first, min(first + share, end)
            while at < last:
                size = max((size for size in self.sizes if size <= last - at), default=min(self.sizes))
                plan.append((size, slice(at, min(at + size, last))))
                at += size
        return plan

    @staticmethod
    def _draw(pool: _Pool, plan: Plan, latents: Floats, emotions: Floats, faces: Floats) -> None:
        """Draw all of a plan at once, into ``faces``."""
        begun = []
        for size, part in plan:
            draw = pool.take()
            draw.start(size, latents[part], emotions[part])
            begun.append((draw, part))
        for draw, part in begun:
            draw.finish(faces[part])
            pool.give(draw)

    def _compile(self, graph: ov.Model, sizes: Sequence[int], streams: int) -> _Pool:
        settings = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,  # other work has its right to the cores, and knows better where it is
        }
        return _Pool(CORE.compile_model(sized_graph(graph, sizes), "CPU", settings), sizes)

    def _agree(self) -> bool:
        """Tell whether every way to draw adds its sums up in the same order, on this machine: bit by bit."""
        most = max(self.sizes)
        latents, emotions = trial_inputs(self._config, most)
        expected, faces = self._empty(most), self._empty(most)
        self._draw(self._apart, [(most, slice(0, most))], latents, emotions, expected)
        for pool in (self._apart, *([self._together] if self._together is not None else ())):
            for size in pool.sizes:
                for at in range(0, most - size + 1, size):
                    part = slice(at, at + size)
                    self._draw(pool, [(size, part)], latents, emotions, faces)
                    if not np.array_equal(faces[part], expected[part]):
                        return False
        return True


class _Draw:
    """A request to a compiled graph, with the memory that it reads and writes.

    OpenVINO would take arrays too, but to find out what it was given takes it 0.1 ms, with Python's lock held.
    """

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._size, self._latents, self._emotions = (self._request.get_input_tensor(place).data for place in range(3))
        self._faces: Floats = self._request.get_output_tensor(0).data

    def start(self, size: int, latents: Floats, emotions: Floats) -> None:
        """Draw as many faces as the size says, or fewer."""
        self._size[0] = size
        self._latents[: len(latents)], self._emotions[: len(emotions)] = latents, emotions
        self._request.start_async()

    def finish(self, faces: Floats) -> None:
        """Wait for them."""
        self._request.wait()
        faces[:] = self._faces[: len(faces)]


class _Pool:
    """Draws with one compiled graph."""

    def __init__(self, compiled: Any, sizes: Sequence[int]) -> None:
        self.sizes = tuple(sizes)
        self._compiled = compiled
        self._free: SimpleQueue[_Draw] = SimpleQueue()

    def take(self) -> _Draw:
        """Return one that is free, a new one if there is none: nobody waits here."""
        try:
            return self._free.get_nowait()
        except Empty:
            return _Draw(self._compiled)

    def give(self, draw: _Draw) -> None:
        """Let others have it."""
        self._free.put(draw)


#: How many faces at a time, and which.
Plan = list[tuple[int, slice]]


def _sizes(largest: int) -> list[int]:
    """Return 1, 2, 4 and 8 up to ``largest``, and that; more would gain little."""
    return [*(size for size in (1, 2, 4, 8) if size < largest), largest]
