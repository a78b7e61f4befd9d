"""Drawing on a GPU: everything that one batch launches as one CUDA graph, on a stream of its own.

A face of 48x48 is so little work for a GPU that launching its kernels one by one from Python takes longer than they do.
A graph is one launch (PyTorch's notes on CUDA semantics, "CUDA Graphs"), for batches of one shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.inference.base import Floats

_WARM_UPS = 3  # libraries choose their algorithms and take their workspaces at first, which a capture must not see


class CapturedRenderer:
    """Replays what ``render`` launches. One thread at a time calls it.

    Args:
        render: draws faces, uint8 ``[size, resolution, resolution, channels]``, of float32 inputs with ``size`` rows
            each, all of them on the device; it waits for nothing and always does the same.
        shapes: of its inputs, ``size`` first.
        device: ``cuda`` or ``cuda:N``.

    Raises:
        RuntimeError: there is no memory for it, or ``render`` does what no graph can hold.
    """

    @torch.inference_mode()
    def __init__(
        self,
        render: Callable[..., Tensor],
        shapes: Sequence[tuple[int, ...]],
        device: str,
    ) -> None:
        # Copies to and from pinned memory are the only ones that do not stop the host (CUDA's notes, as above).
        self._given = [torch.zeros(shape, pin_memory=True) for shape in shapes]
        self._inputs = [given.to(device) for given in self._given]
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_UPS):
                render(*self._inputs)
        self._stream.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=self._stream):
            self._faces = render(*self._inputs)
        self._taken = torch.empty(self._faces.shape, dtype=self._faces.dtype, pin_memory=True)

    @torch.inference_mode()
    def __call__(self, *inputs: Floats) -> NDArray[np.uint8]:
        """Return up to ``size`` faces, uint8 ``[n, resolution, resolution, channels]``, until the next call."""
        for given, values in zip(self._given, inputs, strict=True):
            given.numpy()[: len(values)] = values
        with torch.cuda.stream(self._stream):
            for there, given in zip(self._inputs, self._given, strict=True):
                there.copy_(given, non_blocking=True)
            self._graph.replay()
            self._taken.copy_(self._faces, non_blocking=True)
        self._stream.synchronize()
        faces: NDArray[np.uint8] = self._taken.numpy()[: len(inputs[0])]
        return faces
