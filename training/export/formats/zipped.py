"""The class folders in one ZIP, with the manifest: a file to send."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from training.data.atomic import atomic_file
from training.export.draw import Face
from training.export.folder import MANIFEST
from training.export.formats.layout import Add, Layout
from training.export.plan import Part, Slot

ARCHIVE: Final = "faces.zip"
_ADDED: Final = (1980, 1, 1, 0, 0, 0)  # the earliest that a ZIP knows: the same faces are the same archive


class Zipped(Layout):
    """A ZIP a part, and one of all of them in the end. Pictures are stored as they are, for they are compressed."""

    suffix = "zip"

    @contextmanager
    def open(self, part: Part) -> Iterator[Add]:
        """Begin a part's ZIP."""
        with atomic_file(self.path(part)) as file, zipfile.ZipFile(file, "w") as archive:

            def add(slot: Slot, row: Mapping[str, Any], face: Face) -> dict[str, Any]:
                name = self.name(part, slot)
                archive.writestr(_entry(name), face.content)
                return {"file": ARCHIVE, "entry": name}

            yield add

    def finish(self, parts: Sequence[Part]) -> list[str]:
        """Write one ZIP of all parts and the manifest."""
        with atomic_file(self.out / ARCHIVE) as file, zipfile.ZipFile(file, "w") as archive:
            for part in parts:
                with zipfile.ZipFile(self.path(part)) as own:
                    for name in own.namelist():
                        archive.writestr(_entry(name), own.read(name))
            entry = _entry(MANIFEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.file_size = (self.out / MANIFEST).stat().st_size  # so that it may be beyond what a plain ZIP holds
            with open(self.out / MANIFEST, "rb") as manifest, archive.open(entry, "w") as packed:
                shutil.copyfileobj(manifest, packed)
        return [ARCHIVE]


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _ADDED)
    entry.create_system = 3  # Unix, on every system, for the same bytes
    entry.external_attr = 0o100644 << 16
    return entry
