"""Drawing on CPUs with OpenVINO, from a weight file's arrays alone: no torch is needed.

Each face is a call of its own of a graph that draws one, so a face's bytes cannot depend on the rest of a batch. In
float32 a batch is no faster (one core of an AMX Xeon: 4.5 ms a face alone, 4.3 in batches of 8; in bfloat16 1.3 and
0.9; ``benchmarks/inference.py``). Each core draws faces of its own: two cores for one face would save a lone client
nothing (5.6 and 5.7 ms, medians).
"""

from __future__ import annotations

import logging
from queue import Empty, SimpleQueue
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.inference.base import Floats
from model.inference.openvino_graph import CORE, Arrays, generator_graph
from model.networks.configs import StyleGeneratorConfig

log = logging.getLogger(__name__)

#: Names of precisions as OpenVINO has them.
HINTS: Final = {"float32": "f32", "bfloat16": "bf16"}
_MOST_CALLERS: Final = 8  # more would wait for Python's lock rather than for a core
_BATCH: Final = 8  # a caller that takes more at a time makes others wait longer


class OpenVINORenderer:
    """Draws with a style-based generator. Threads may call it at once.

    Args:
        config: of the generator.
        arrays: its tensors by name.
        precision: of the arithmetic, ``float32`` or ``bfloat16``.
        threads: how many cores draw.
        batch_size: how many faces a caller should ask for at a time.
    """

    runtime: Final = "openvino"

    def __init__(
        self,
        config: StyleGeneratorConfig,
        arrays: Arrays,
        *,
        precision: str = "float32",
        threads: int = 1,
        batch_size: int | None = None,
    ) -> None:
        self._config = config
        self._threads = threads
        self.batch_size = batch_size or _BATCH
        self.max_concurrency = min(_MOST_CALLERS, threads + 1)
        settings = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
            "ENABLE_CPU_PINNING": False,  # other work needs the cores too, and the system places threads better
        }
        self._compiled = CORE.compile_model(generator_graph(config, arrays, 1), "CPU", settings)
        self._free: SimpleQueue[_Request] = SimpleQueue()
        log.info("OpenVINO draws in %s with %d threads", precision, threads)

    def __call__(self, latents: Floats, emotions: Floats, truncations: Floats) -> NDArray[np.uint8]:
        """Draw faces; see :class:`model.inference.base.Renderer`."""
        side = self._config.resolution
        images = np.empty((len(latents), self._config.channels, side, side), np.float32)
        running: list[tuple[_Request, int]] = []
        for face in range(len(latents)):
            # One more than there are cores, so that none waits for Python.
            if len(running) > self._threads:
                self._finish(*running.pop(0), images)
            request = self._take()
            request.start(latents[face], emotions[face], truncations[face])
            running.append((request, face))
        for request, face in running:
            self._finish(request, face, images)
        return to_pixels(images)

    def _take(self) -> _Request:
        """Return a request that is free, a new one if there is none: nobody waits here."""
        try:
            return self._free.get_nowait()
        except Empty:
            return _Request(self._compiled)

    def _finish(self, request: _Request, face: int, images: Floats) -> None:
        images[face] = request.finish()
        self._free.put(request)


class _Request:
    """An inference request with the memory that it reads and writes.

    OpenVINO would take arrays too, but to find out what it was given takes it 0.1 ms, with Python's lock held.
    """

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._inputs = [self._request.get_input_tensor(place).data for place in range(3)]
        self._image: Floats = self._request.get_output_tensor(0).data

    def start(self, latent: Floats, emotion: Floats, truncation: np.float32) -> None:
        for there, here in zip(self._inputs, (latent, emotion, truncation), strict=True):
            there[0] = here
        self._request.start_async()

    def finish(self) -> Floats:
        """Wait for the image, float32 ``[channels, H, W]``, and return it; the next start overwrites it."""
        self._request.wait()
        image: Floats = self._image[0]
        return image


def to_pixels(images: Floats) -> NDArray[np.uint8]:
    """Return images ``[n, C, H, W]``, black at -1, white at 1, as uint8 ``[n, H, W, C]``, 0 black, 255 white.

    ``images`` is overwritten.
    """
    images += 1
    images *= 127.5
    np.rint(images, out=images)
    np.clip(images, 0, 255, out=images)
    return images.transpose(0, 2, 3, 1).astype(np.uint8, order="C")
