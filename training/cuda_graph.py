"""A training step as one CUDA graph: a GPU is idle half of the time if each kernel is launched by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from training.batches import Batch

#: Calls before the capture: libraries choose their algorithms and allocate workspaces in them.
_EAGER_CALLS: Final = 3


class GraphedStep:
    """Runs ``step`` eagerly for three calls, then captures it, and from then on replays the capture.

    The eager calls are steps of the training like any other, so a run with graphs sees the batches that one without
    would see. (PyTorch notes, "CUDA Graphs", whole-network capture.)

    Args:
        step: reads the batch, trains, and returns scalars. It must do the same each time, with nothing but tensors
            on the device, and wait for nothing.
    """

    def __init__(self, step: Callable[[Batch], dict[str, Tensor]]) -> None:
        self._step = step
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batch: Batch | None = None
        self._figures: dict[str, Tensor] = {}
        self._stream: torch.cuda.Stream | None = None

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Train on a batch; return the step's figures, copies that the next call leaves alone."""
        self._calls += 1
        if self._stream is None:
            self._stream = torch.cuda.Stream()
        if self._calls <= _EAGER_CALLS:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                figures = self._step(batch)
            torch.cuda.current_stream().wait_stream(self._stream)
            return figures
        if self._graph is None:
            self._batch = Batch(*(tensor.clone() for tensor in batch.tensors()), batch.seed)  # type: ignore[arg-type, call-arg]
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._figures = self._step(self._batch)
        assert self._batch is not None
        for there, here in zip(self._batch.tensors(), batch.tensors(), strict=True):
            there.copy_(here)
        self._graph.replay()
        return {name: value.clone() for name, value in self._figures.items()}
