"""What every layout of a data set has to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from model.encode import ENCODER, SUFFIXES, encode_face
from model.files import file_sha256
from model.provenance import Named, describe
from model.sampler import FaceRequest
from training.data.errors import DataError
from training.export.draw import Face
from training.export.folder import WORK
from training.export.plan import Part, Plan, Slot

#: Takes a face with what the manifest says of it so far, and returns where it stands.
Add = Callable[[Slot, Mapping[str, Any], Face], dict[str, Any]]

MAX_SIZE: Final = 4096  # as `emoface generate`


@dataclass(frozen=True, slots=True)
class Picture:
    """How faces become files.

    Raises:
        DataError: there is no such format or size; one sentence.
    """

    suffix: str = "png"  # a key of model.encode.SUFFIXES
    size: int | None = None  # pixels a side; None is the model's own

    def __post_init__(self) -> None:
        if self.suffix not in SUFFIXES:
            raise DataError(f"unknown picture format {self.suffix[:40]!r}; known: {', '.join(SUFFIXES)}.")
        if self.size is not None and not 1 <= self.size <= MAX_SIZE:
            raise DataError(f"the size must be from 1 to {MAX_SIZE} pixels.")


class Layout(ABC):
    """Writes the parts of a plan below a folder, and puts them together at the end.

    A part's file is there as a whole or not at all, and depends on the part alone.
    """

    suffix: ClassVar[str]  # of a part's file
    splits: ClassVar[tuple[float, ...]] = (1.0,)  # shares of training, validation and test, unless asked otherwise

    def __init__(self, out: Path, plan: Plan, picture: Picture, model: Named) -> None:
        self.out, self.plan, self.picture, self.model = out, plan, picture, model
        for label in plan.classes:
            if label.startswith(".") or not set(label).isdisjoint('/\\:*?"<>|'):
                raise DataError(f"the emotion {label!r} of these weights cannot be the name of a folder.")

    @classmethod
    def emotions(cls, vocabulary: Sequence[str]) -> tuple[str, ...]:
        """Return those emotions of a vocabulary that can stand in such a data set."""
        return tuple(vocabulary)

    def made_with(self) -> list[str]:
        """Return the names and versions of what decides about bytes, besides the faces."""
        return [ENCODER]

    def encode(self, pixels: NDArray[np.uint8], request: FaceRequest) -> bytes:
        """Return a face's picture file; threads may call this at once."""
        text = describe(self.model, request)
        return encode_face(pixels, self.picture.size, SUFFIXES[self.picture.suffix], text)

    def prepare(self, part: Part) -> None:
        """Make the folder that the part's file is in."""
        self.path(part).parent.mkdir(parents=True, exist_ok=True)

    def path(self, part: Part) -> Path:
        """Return where the part's file is; for layouts that put them together, until then."""
        return self.out / WORK / f"{part}.{self.suffix}"

    @abstractmethod
    def open(self, part: Part) -> AbstractContextManager[Add]:
        """Begin a part; at the end of the block it is whole, unless there was an exception."""

    def files(self, part: Part, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Return the SHA-256 of the files of a part that is whole, by their paths below the folder."""
        path = self.path(part)
        return {path.relative_to(self.out).as_posix(): file_sha256(path)}

    def finish(self, parts: Sequence[Part]) -> list[str]:
        """Put the parts together, once the manifest is there; return the paths of what the data set is."""
        return [self.path(part).relative_to(self.out).as_posix() for part in parts]

    def name(self, part: Part, slot: Slot) -> str:
        """Return a path for a face's picture: split, class, and in a crossed set person, emotion and intensity."""
        cell = self.plan.cells[slot.cell]
        stem = f"{slot.rank:05d}-{cell.label}-{cell.intensity!r}" if self.plan.crossed else f"{slot.number:08d}"
        return f"{part.split}/{cell.label}/{stem}.{self.picture.suffix}"
