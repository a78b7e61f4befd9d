"""TensorBoard's view of a run: every line of statistics and every sample grid, as event files in its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


class Board:
    """Writes event files, or nothing where TensorBoard is not installed: no run fails for want of a picture of it."""

    def __init__(self, folder: Path, cur_nimg: int, warn: Callable[[str], None]) -> None:
        """Go on at ``cur_nimg`` images: what a killed run wrote beyond them is marked as void.

        ``warn`` is called with a sentence if there will be no files, and if they cannot be written any more.
        """
        self._warn = warn
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            warn("no TensorBoard files, for 'pip install tensorboard' is missing; stats.jsonl holds the same figures.")
            return
        with self._careful():
            self._writer = SummaryWriter(folder, purge_step=cur_nimg + 1)

    @contextmanager
    def _careful(self) -> Iterator[None]:
        """Where writing fails, say so and write no more; what the run must not lose is in other files."""
        try:
            yield
        except OSError as error:
            self._writer = None
            self._warn(f"no more TensorBoard files in this sitting: {error.strerror or error}.")

    def line(self, line: Mapping[str, float]) -> None:
        """Add each figure of a line of statistics, over the images seen."""
        if self._writer is not None:
            with self._careful():
                for key, value in line.items():
                    if key != "cur_nimg":
                        self._writer.add_scalar(key, value, line["cur_nimg"])
                self._writer.flush()

    def grid(self, grid: Image.Image, cur_nimg: int) -> None:
        """Add a sample grid."""
        if self._writer is not None:
            pixels = np.asarray(grid)
            with self._careful():
                self._writer.add_image("samples", pixels, cur_nimg, dataformats="HW" if pixels.ndim == 2 else "HWC")
                self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            with self._careful():
                self._writer.close()
