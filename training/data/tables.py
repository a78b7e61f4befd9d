"""CSV files as people download them: plain, compressed or in an archive; read line by line."""

from __future__ import annotations

import csv
import gzip
import hashlib
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Final, Self, cast

from training.data.errors import DataError

#: Longer than any line of a table we read (48x48 pixels take 9 KiB); keeps a file without line ends out of
#: memory.
MAX_LINE: Final = 1 << 20

#: Everything that a damaged, cut or locked archive can raise while it is read.
_DAMAGED: Final = (
    EOFError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    NotImplementedError,
)


class Table:
    """A CSV with a header, read once from top to bottom; a context manager that iterates over its rows.

    The file may be plain, xz, gzip, a zip or a gzipped tar; its content decides, not its name. An archive
    must hold one ``.csv`` (in any folder), or one of ``preferred`` names; a tar's first ``.csv`` is taken.

    Iterating yields ``(line, fields)``: the line number as an editor shows it (the header is line 1), and the
    fields (or None for a line that is no CSV row with as many fields as the header). Blank lines are left
    out. Every line is parsed by itself, so that a stray quote spoils one row and not the rest of the file.

    ``stream``, a seekable stream and its size in bytes (:meth:`training.data.trees.Tree.open`), is read and
    closed in place of the file ``path``, which then only names it in messages.

    Raises:
        DataError: the file is missing, damaged, or holds no single CSV, or a column in ``columns`` is
            missing.
    """

    def __init__(
        self,
        path: Path,
        columns: Sequence[str],
        preferred: Sequence[str] = (),
        stream: tuple[IO[bytes], int] | None = None,
    ) -> None:
        self.path = Path(path)
        self._given = stream
        self.columns = tuple(columns)
        self.preferred = tuple(preferred)
        self.size = 0  # bytes of the file on the disk
        self._raw: IO[bytes]
        self._digest = hashlib.sha256()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            try:
                if self._given is None:
                    self._raw = stack.enter_context(open(self.path, "rb"))
                    self.size = self.path.stat().st_size
                else:
                    self._raw, self.size = stack.enter_context(self._given[0]), self._given[1]
                self._stream = self._open(stack)
                header = self._split(self._readline())
            except FileNotFoundError:
                raise DataError(f"{self.path} does not exist.") from None
            except _DAMAGED as error:
                raise self._damaged(error) from error
            except OSError as error:
                raise DataError(f"cannot read {self.path}: {error.strerror or error}.") from error
            # Kaggle's second layout has blanks in its names; some editors put a byte order mark in front.
            names = [name.strip().lower() for name in header or []]
            missing = [name for name in self.columns if name.lower() not in names]
            if missing:
                raise DataError(
                    f"{self.path} has no column {missing[0]!r} in its first line; it must name "
                    f"{', '.join(self.columns)}."
                )
            self._width = len(names)
            self._order = [names.index(name.lower()) for name in self.columns]
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[tuple[int, list[str] | None]]:
        line = 1
        try:
            while raw := self._readline():
                line += 1
                if not raw.strip():
                    continue
                fields = self._split(raw)
                if fields is None or len(fields) != self._width:
                    yield line, None
                else:
                    yield line, [fields[index] for index in self._order]
        except _DAMAGED as error:
            raise self._damaged(error) from error
        except OSError as error:
            raise DataError(f"cannot read {self.path}: {error.strerror or error}.") from error

    @property
    def position(self) -> int:
        """How many bytes of the file on the disk have been read; compare with ``size``."""
        return min(self._raw.tell(), self.size)

    @property
    def sha256(self) -> str:
        """Hash of the CSV's text as read so far, hexadecimal; the same however the file was compressed."""
        return self._digest.hexdigest()

    def _damaged(self, error: Exception) -> DataError:
        return DataError(f"{self.path} is damaged or cut off ({error}); download it again.")

    def _readline(self) -> bytes:
        line = self._stream.readline(MAX_LINE)
        self._digest.update(line)
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            # The rest of an endless line is passed over, so that it counts as one line.
            while (more := self._stream.readline(MAX_LINE)) and not more.endswith(b"\n"):
                self._digest.update(more)
            self._digest.update(more)
        return line

    @staticmethod
    def _split(line: bytes) -> list[str] | None:
        try:
            return next(csv.reader([line.decode("utf-8-sig")], strict=True), None)
        except (UnicodeDecodeError, csv.Error):
            return None

    def _open(self, stack: ExitStack) -> IO[bytes]:
        """Return the CSV's bytes as a buffered stream; what is opened on the way goes onto ``stack``."""
        start = self._raw.read(6)
        self._raw.seek(0)
        if start == b"\xfd7zXZ\x00":
            return cast(IO[bytes], stack.enter_context(lzma.open(self._raw, "rb")))
        if start[:2] == b"\x1f\x8b":
            unzipped = stack.enter_context(gzip.GzipFile(fileobj=self._raw))
            if unzipped.peek(512)[257:262] != b"ustar":
                return cast(IO[bytes], unzipped)
            self._raw.seek(0)
            return self._from_tar(stack)
        if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            return self._from_zip(stack)
        return self._raw

    def _from_zip(self, stack: ExitStack) -> IO[bytes]:
        archive = stack.enter_context(zipfile.ZipFile(self._raw))
        found = [name for name in archive.namelist() if _is_csv(name)]
        best = [name for name in found if PurePosixPath(name).name.lower() in self.preferred] or found
        if len(best) != 1:
            what = f"{len(best)} CSV files ({', '.join(best[:3])})" if best else "no CSV file"
            raise DataError(f"{self.path} holds {what} where one is expected: unpack it and name the file or folder.")
        try:
            return stack.enter_context(archive.open(best[0]))
        except RuntimeError as error:  # how zipfile tells that a password is needed
            raise DataError(f"cannot read {best[0]} in {self.path}: {error}.") from error

    def _from_tar(self, stack: ExitStack) -> IO[bytes]:
        # As a stream, because going back in a gzip means to unpack everything once more.
        archive = stack.enter_context(tarfile.TarFile.open(fileobj=self._raw, mode="r|gz"))
        for member in archive:
            if member.isfile() and _is_csv(member.name):
                stream = archive.extractfile(member)
                assert stream is not None, "a regular file has content"
                return stack.enter_context(stream)
        raise DataError(f"{self.path} holds no CSV file.")


def _is_csv(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return name.lower().endswith(".csv") and "__MACOSX" not in parts and not parts[-1].startswith(".")
