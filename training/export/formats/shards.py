"""WebDataset: tar archives that training reads from front to end, with a picture, a class and facts for each face."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.data.atomic import atomic_file
from training.export.draw import Face
from training.export.folder import line
from training.export.formats.layout import Add, Layout
from training.export.plan import Part, Slot


class Shards(Layout):
    """A tar a part: ``train-000000.tar`` with ``00000003.png``, ``.cls`` (the class's number) and ``.json``."""

    suffix = "tar"

    def path(self, part: Part) -> Path:
        """Return where the shard is."""
        return self.out / f"{part}.tar"

    @contextmanager
    def open(self, part: Part) -> Iterator[Add]:
        """Begin a shard."""
        # USTAR, the plainest: no owner, no time, the same bytes on every system.
        with (
            atomic_file(self.path(part)) as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive,
        ):

            def add(slot: Slot, row: Mapping[str, Any], face: Face) -> dict[str, Any]:
                key = f"{slot.number:08d}"  # WebDataset cuts a name at its first dot
                kind = self.plan.classes.index(self.plan.cells[slot.cell].label)
                files = ((self.picture.suffix, face.content), ("cls", str(kind).encode()), ("json", line(row)))
                for suffix, content in files:
                    entry = tarfile.TarInfo(f"{key}.{suffix}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
                return {"file": self.path(part).name, "entry": f"{key}.{self.picture.suffix}"}

            yield add
