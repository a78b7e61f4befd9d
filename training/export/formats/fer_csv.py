"""Kaggle's FER-2013 CSV, ``emotion,pixels,Usage``: scripts written for it read generated faces unchanged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.emotions import FER2013
from model.encode import as_image
from model.provenance import Named
from model.sampler import FaceRequest
from training.data.atomic import atomic_file
from training.data.errors import DataError
from training.export.draw import Face
from training.export.formats.layout import Add, Layout, Picture
from training.export.plan import Part, Plan, Slot

TABLE: Final = "fer2013.csv"
_SIDE: Final = 48
_USAGE: Final = {"train": "Training", "validation": "PublicTest", "test": "PrivateTest"}


class FerCsv(Layout):
    """Rows of 48x48 grey values with FER-2013's label numbers; training first, then public, then private test.

    Raises:
        DataError: FER-2013 has no such emotion or picture; one sentence.
    """

    suffix = "csv"
    splits = (0.8, 0.1, 0.1)  # as in FER-2013 itself

    def __init__(self, out: Path, plan: Plan, picture: Picture, model: Named) -> None:
        super().__init__(out, plan, picture, model)
        foreign = [label for label in plan.classes if label not in FER2013]
        if foreign:
            raise DataError(
                f"FER-2013 has no label for {', '.join(foreign)}; choose of {', '.join(FER2013)} with --emotions."
            )
        if picture.size not in (None, _SIDE) or picture.suffix != "png":
            raise DataError(f"FER-2013's table holds {_SIDE}x{_SIDE} grey values; leave out --size and --picture.")

    @classmethod
    def emotions(cls, vocabulary: Sequence[str]) -> tuple[str, ...]:
        """Return FER-2013's."""
        return tuple(emotion for emotion in vocabulary if emotion in FER2013)

    def encode(self, pixels: NDArray[np.uint8], request: FaceRequest) -> bytes:
        """Return the field ``pixels``: 2,304 grey levels, row by row."""
        image = as_image(pixels).convert("L")
        if image.size != (_SIDE, _SIDE):
            image = image.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        return " ".join(map(str, image.tobytes())).encode()

    @contextmanager
    def open(self, part: Part) -> Iterator[Add]:
        """Begin a part's rows."""
        with atomic_file(self.path(part)) as file:

            def add(slot: Slot, row: Mapping[str, Any], face: Face) -> dict[str, Any]:
                number = FER2013.index(self.plan.cells[slot.cell].label)
                file.write(b"%d,%b,%b\n" % (number, face.content, _USAGE[part.split].encode()))
                return {"file": TABLE, "row": slot.number}

            yield add

    def finish(self, parts: Sequence[Part]) -> list[str]:
        """Write one table of all parts."""
        with atomic_file(self.out / TABLE) as file:
            file.write(b"emotion,pixels,Usage\n")
            for part in parts:
                with open(self.path(part), "rb") as own:
                    shutil.copyfileobj(own, file)
        return [TABLE]
