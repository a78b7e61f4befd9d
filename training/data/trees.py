"""The files of a source that is a folder or a zip of one, by their paths in it. Nothing is ever unpacked."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from training.data.errors import DataError

#: More than any picture, annotation or list we read whole; keeps a zip bomb out of memory.
MAX_FILE: Final = 1 << 28

#: What a damaged, locked or strangely packed zip can raise when one of its files is read.
_DAMAGED: Final = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


class Tree:
    """A folder or a zip, read as one; a context manager.

    ``files`` are the paths of its regular files, sorted, parts joined by ``/``; hidden ones and macOS's
    ``__MACOSX`` are left out. Links to folders are followed, each folder once.

    Raises:
        DataError: ``source`` is missing, cannot be read, or is neither a folder nor a zip.
    """

    def __init__(self, source: Path) -> None:
        self.source = Path(source)
        self.files: list[str] = []
        self._zip: zipfile.ZipFile | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            if os.path.isdir(self.source):
                self.files = sorted(_walk(self.source))
            else:
                self._zip = self._stack.enter_context(zipfile.ZipFile(self.source))
                entries = (entry.filename for entry in self._zip.infolist() if not entry.is_dir())
                self.files = sorted({name for name in entries if all(map(_is_visible, name.split("/")))})
        except FileNotFoundError:
            raise DataError(f"{self.source} does not exist.") from None
        except (zipfile.BadZipFile, ValueError) as error:
            raise DataError(f"{self.source} is neither a folder nor an undamaged zip ({error}).") from error
        except OSError as error:
            raise DataError(f"cannot read {error.filename or self.source}: {error.strerror or error}.") from error
        self._known = frozenset(self.files)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def read(self, name: str) -> bytes:
        """Return the content of one of ``files``. ValueError says in a few words why it cannot be read."""
        try:
            with self._open(name) as stream:
                content = stream.read(MAX_FILE + 1)
        except _DAMAGED as error:
            raise ValueError(f"damaged in the zip ({error})") from error
        except OSError as error:
            raise ValueError(f"cannot be read ({error.strerror or error})") from error
        if len(content) > MAX_FILE:
            raise ValueError(f"larger than {MAX_FILE >> 20} MiB")
        return content

    def read_text(self, name: str) -> str:
        """Return one of ``files`` as text; DataError says why not, because nothing goes on without it."""
        try:
            return self.read(name).decode("utf-8-sig")
        except ValueError as error:  # UnicodeDecodeError is one too
            raise DataError(f"{name} in {self.source} is no readable text: {error}.") from error

    def open(self, name: str) -> tuple[IO[bytes], int]:
        """Return one of ``files`` as a seekable stream, which the caller closes, and its size in bytes."""
        try:
            stream = self._open(name)
            size = self._zip.getinfo(name).file_size if self._zip else os.path.getsize(self.source / name)
        except _DAMAGED as error:
            raise DataError(f"cannot read {name} in {self.source}: {error}.") from error
        except OSError as error:
            raise DataError(f"cannot read {self.source / name}: {error.strerror or error}.") from error
        return stream, size

    def _open(self, name: str) -> IO[bytes]:
        return self._zip.open(name) if self._zip else open(self.source / name, "rb")


def refuse_overwriting(out: Path, *sources: Path) -> None:
    """Raise DataError when ``out`` is one of the files that are to be read."""
    for source in sources:
        with suppress(OSError):  # where one of them does not exist, they are not the same
            if os.path.samefile(source, out):
                raise DataError(f"{out} is the source itself; name another file to write.")


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _walk(root: Path) -> Iterator[str]:
    seen: set[tuple[int, int]] = set()
    folders = [""]
    while folders:
        folder = folders.pop()
        status = os.stat(root / folder)
        if (status.st_dev, status.st_ino) in seen:  # a link to a folder above would go round for ever
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(root / folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if not _is_visible(entry.name):
                    continue
                if entry.is_dir():
                    folders.append(f"{folder}{entry.name}/")
                elif entry.is_file():
                    yield folder + entry.name
