"""The folder that a data set grows in: what it was begun with, which parts are whole, and the end."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from model.files import file_sha256
from training.data.atomic import atomic_file
from training.data.errors import DataError
from training.export.draw import Tally
from training.export.plan import Part

#: What a data set says of itself, and of each face, a line of JSON each.
DATASET, MANIFEST = "dataset.json", "manifest.jsonl"
#: Where parts are kept until there are all.
WORK: Final = ".emoface"

_LEFTOVERS: Final = ".*.part"  # what atomic_file leaves when it is killed


@dataclass(frozen=True, slots=True)
class Record:
    """A part that is whole."""

    rows: Sequence[Mapping[str, Any]]  # its lines of the manifest
    files: Mapping[str, str]  # SHA-256 of its files, by their paths below the folder
    tallies: Mapping[int, Tally] = field(default_factory=dict)  # by cell, of all parts up to this one


class Folder:
    """The folder of one data set.

    Everything in it follows from ``command``, so the same command goes on where it stopped.
    """

    def __init__(self, path: Path, command: Mapping[str, Any]) -> None:
        self.path, self.command = path, json.loads(json.dumps(command))
        self.work = path / WORK

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, or find it begun by the same command, and keep others out of it during the block.

        Raises:
            DataError: it holds something else, or another process writes it; one sentence.
        """
        if self.path.exists() and not self.path.is_dir():
            raise DataError(f"{self.path} is a file; give the name of a folder.")
        self._check()
        self.work.mkdir(parents=True, exist_ok=True)
        with open(self.work / "lock", "wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise DataError(
                    f"another process is writing {self.path}; wait for it or give another folder."
                ) from None
            if self.said() is None:
                self.write(DATASET, _text({"command": self.command}))
            for leftover in self.path.rglob(_LEFTOVERS):
                leftover.unlink(missing_ok=True)
            yield

    def _check(self) -> None:
        theirs = self.said()
        if theirs is None:
            if self.path.is_dir() and any(entry.name != WORK for entry in self.path.iterdir() if not _leftover(entry)):
                raise DataError(f"{self.path} is not empty and holds no data set of emoface's; give another folder.")
            return
        names = self.command.keys() | theirs["command"].keys()
        other = sorted(name for name in names if self.command.get(name) != theirs["command"].get(name))
        if other:
            raise DataError(
                f"{self.path} holds a data set of another command ({', '.join(other)} differ); give another folder."
            )

    def said(self) -> dict[str, Any] | None:
        """Return what the data set says of itself; None if there is none yet.

        Raises:
            DataError: the file is damaged or somebody else's.
        """
        try:
            said = json.loads((self.path / DATASET).read_bytes())
            if not isinstance(said, dict) or not isinstance(said.get("command"), dict):
                raise ValueError("it tells no command")
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise DataError(
                f"{self.path / DATASET} is not of emoface's making ({error}); give another folder."
            ) from error
        return said

    def write(self, name: str, content: bytes) -> None:
        """Write a file below the folder, whole or not at all."""
        with atomic_file(self.path / name) as file:
            file.write(content)

    # ---- parts ----

    def whole(self, parts: Sequence[Part]) -> tuple[int, Mapping[int, Tally]]:
        """Return how many parts are whole, up to the first that is not, and the last one's tallies.

        Every file is read and compared.
        """
        tallies: Mapping[int, Tally] = {}
        for count, part in enumerate(parts):
            record = self.record(part)
            if record is None or any(_sha256(self.path / name) != sha for name, sha in record.files.items()):
                return count, tallies
            tallies = record.tallies
        return len(parts), tallies

    def keep(self, part: Part, record: Record) -> None:
        """Note that a part is whole, after its files are."""
        head = {
            "files": record.files,
            "tallies": {cell: [tally.tried, tally.kept] for cell, tally in record.tallies.items()},
        }
        self.write(f"{WORK}/{part}.jsonl", b"".join(map(line, (head, *record.rows))))

    def record(self, part: Part) -> Record | None:
        """Return what was noted of a part; None if it is not whole, or the note is damaged."""
        try:
            head, *rows = (json.loads(text) for text in (self.work / f"{part}.jsonl").read_bytes().splitlines())
            tallies = {int(cell): Tally(*counts) for cell, counts in head["tallies"].items()}
            return Record(rows, head["files"], tallies) if len(rows) == part.size else None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # then it is drawn again

    def records(self, parts: Sequence[Part]) -> Iterator[Record]:
        """Give what was noted of parts that are whole.

        Raises:
            DataError: somebody has removed a note meanwhile.
        """
        for part in parts:
            record = self.record(part)
            if record is None:
                raise DataError(f"the note of {part} is gone from {self.work}; run it again, and it is drawn again.")
            yield record

    # ---- the end ----

    def finish(self, summary: Mapping[str, Any], files: Mapping[str, str]) -> None:
        """Say that the data set is whole."""
        self.write(DATASET, _text({"command": self.command, "summary": summary, "files": files}))

    def finished(self) -> dict[str, Any] | None:
        """Return the summary if the data set is whole; None if it is not yet.

        Raises:
            DataError: it was, and a file is missing or has changed since.
        """
        said = self.said()
        if said is None or "summary" not in said:
            return None
        self._compare(said["files"].items())
        if self.command["format"] == "folders":
            with open(self.path / MANIFEST, "rb") as manifest:
                self._compare((row["file"], row["sha256"]) for row in map(json.loads, manifest))
        summary: dict[str, Any] = said["summary"]
        return summary

    def _compare(self, files: Iterable[tuple[str, str]]) -> None:
        for name, sha in files:
            if _sha256(self.path / name) != sha:
                raise DataError(
                    f"{self.path} was finished, but {name} is missing or has changed since; remove the folder, or give "
                    "another."
                )

    def tidy(self) -> None:
        """Remove what is only needed for going on."""
        shutil.rmtree(self.work, ignore_errors=True)


def line(row: Mapping[str, Any]) -> bytes:
    """Return one line of JSON, as the manifest has them."""
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def _sha256(path: Path) -> str | None:
    try:
        return file_sha256(path)
    except OSError:
        return None


def _text(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said, indent=1, ensure_ascii=False).encode() + b"\n"


def _leftover(entry: Path) -> bool:
    return entry.match(_LEFTOVERS)
