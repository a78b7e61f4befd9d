"""Class folders, ``train/happy/00000003.png``: what torchvision's ImageFolder reads, and nearly everything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from training.export.draw import Face
from training.export.formats.layout import Add, Layout
from training.export.plan import Part, Slot


class Folders(Layout):
    """A file a face."""

    suffix = ""

    def prepare(self, part: Part) -> None:
        """Make a folder for each class, in each split alike: a loader must not number them differently."""
        for label in self.plan.classes:
            (self.out / part.split / label).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def open(self, part: Part) -> Iterator[Add]:
        """Write pictures straight to their places: no record tells of them before all of the part are whole."""

        def add(slot: Slot, row: Mapping[str, Any], face: Face) -> dict[str, Any]:
            name = self.name(part, slot)
            (self.out / name).write_bytes(face.content)
            return {"file": name}

        yield add

    def files(self, part: Part, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Return the SHA-256 of the pictures, which the rows tell."""
        return {row["file"]: row["sha256"] for row in rows}

    def finish(self, parts: Sequence[Part]) -> list[str]:
        """Return nothing: the manifest has every picture's SHA-256 already."""
        return []
