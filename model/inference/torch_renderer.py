"""Drawing with torch: every architecture, on CPUs and GPUs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.inference.base import Floats, trial_inputs
from model.inference.cuda_graph import CapturedRenderer
from model.networks.base import Generator

log = logging.getLogger(__name__)

# Shapes in which faces are drawn; a batch is padded to the next. In one shape a face's sums run in the same order
# whatever the rest of the batch is. A GPU has a CUDA graph for each shape whose bytes agree with the largest's.
_CPU_SIZES: Final = (4,)
_GPU_SIZES: Final = (1, 8, 64)


class TorchRenderer:
    """Draws with torch; one thread at a time calls it.

    Where the device is out of memory, ``batch_size`` is halved from then on. Another shape may round a level
    differently, so it is part of what a face's bytes depend on.

    Args:
        generator: it is moved to the device.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        precision: of the arithmetic, ``float32`` or ``bfloat16``.
        batch_size: the largest batch that is drawn at once.
    """

    runtime: Final = "torch"
    max_concurrency: Final = 1

    def __init__(
        self, generator: Generator, *, device: str = "cpu", precision: str = "float32", batch_size: int | None = None
    ) -> None:
        self.device = device
        self._dtype = getattr(torch, precision)
        self._generator = generator.eval().to(device).to(memory_format=torch.channels_last)
        sizes = _CPU_SIZES if device == "cpu" else _GPU_SIZES
        largest = batch_size or sizes[-1]
        self._sizes = (*(size for size in sizes if size < largest), largest) if device != "cpu" else (largest,)
        self._captured: dict[int, CapturedRenderer] = {}
        if device != "cpu":
            self._sizes, self._captured = self._capture(self._sizes)

    @property
    def batch_size(self) -> int:
        """How many faces are best asked for at a time."""
        return self._sizes[-1]

    def __call__(self, latents: Floats, emotions: Floats, truncations: Floats) -> NDArray[np.uint8]:
        """Draw faces; see :class:`model.inference.base.Renderer`.

        Raises:
            torch.OutOfMemoryError: not even one face fits.
        """
        config = self._generator.config
        faces = np.empty((len(latents), config.resolution, config.resolution, config.channels), np.uint8)
        start = 0
        while start < len(latents):
            part = slice(start, start + self.batch_size)
            try:
                faces[part] = self._draw(latents[part], emotions[part], truncations[part])
            except (torch.OutOfMemoryError, MemoryError):
                # A captured graph has its memory already.
                if self.batch_size in self._captured or self.batch_size == 1:
                    raise
                self._shrink()
            else:
                start = part.stop
        return faces

    def _shrink(self) -> None:
        """Go on with half the batch, for good."""
        half = self.batch_size // 2
        self._sizes = (*(size for size in self._sizes if size < half), half)
        if self.device != "cpu":
            torch.cuda.empty_cache()  # else the memory stays in pieces of the size that did not suffice
        log.warning("out of memory: from now on %d faces at a time", self.batch_size)

    def _draw(self, *inputs: Floats) -> NDArray[np.uint8]:
        """Draw up to ``batch_size`` faces, in the smallest shape that holds them."""
        size = next(size for size in self._sizes if size >= len(inputs[0]))
        if size in self._captured:
            return self._captured[size](*inputs)
        return self._eagerly(size, *inputs)

    def _eagerly(self, size: int, *inputs: Floats) -> NDArray[np.uint8]:
        count = len(inputs[0])
        padded = (np.pad(rows, ((0, size - count), *[(0, 0)] * (rows.ndim - 1))) for rows in inputs)
        pixels: NDArray[np.uint8] = (
            self._render(*(torch.from_numpy(rows).to(self.device) for rows in padded)).cpu().numpy()
        )
        return pixels[:count]

    @torch.inference_mode()
    def _render(self, latents: Tensor, emotions: Tensor, truncations: Tensor) -> Tensor:
        """Draw faces, uint8 ``[n, resolution, resolution, channels]``, from and to the device."""
        # On a GPU: one way to compute a shape, and whole float32 products, not the 10 bits of TF32.
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            images: Tensor = self._generator(latents.to(self._dtype), emotions, truncations)
        pixels = images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).contiguous()

    def _capture(self, sizes: Sequence[int]) -> tuple[tuple[int, ...], dict[int, CapturedRenderer]]:
        """Return the shapes to draw in, and a CUDA graph for each, where their bytes agree with the eager largest."""
        trial = trial_inputs(self._generator.config, sizes[-1])
        captured: dict[int, CapturedRenderer] = {}
        try:
            expected = self._eagerly(sizes[-1], *trial)
        except torch.OutOfMemoryError:
            return (sizes[-1],), {}  # the first call finds the batch that fits
        for size in sizes:
            try:
                graph = CapturedRenderer(self._render, [(size, *rows.shape[1:]) for rows in trial], self.device)
            except RuntimeError as error:
                reason = str(error).partition("\n")[0]
                log.warning("no CUDA graph of %d faces, so each kernel is launched by itself: %s", size, reason)
                return (sizes[-1],), {}
            drawn = [graph(*(rows[at : at + size] for rows in trial)).copy() for at in range(0, sizes[-1], size)]
            if np.array_equal(np.concatenate(drawn), expected):
                captured[size] = graph
            else:
                log.info("a batch of %d faces would differ by a bit, so none is drawn", size)
        usable = tuple(size for size in captured if size < sizes[-1])
        return (*usable, sizes[-1]), captured

    @property
    def gpu_bytes(self) -> int:
        """Bytes of the GPU's memory that this process has taken; 0 on a CPU."""
        return int(torch.cuda.memory_reserved(self.device)) if self.device != "cpu" else 0


def usable_device(device: str) -> str:
    """Return ``device`` once it is known to work; ``auto`` is the GPU where there is one, else the CPU.

    Raises:
        ValueError: there is no such device, or it has no memory left; one sentence.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if torch.device(device).type not in ("cpu", "cuda"):
            raise RuntimeError("not one of cpu, cuda, cuda:N")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ValueError(
            f"device {device!r} is not available ({reason}); use 'cpu', or 'auto' to take what there is."
        ) from error
    return device
