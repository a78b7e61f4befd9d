"""The packed data set: one zip of equally large square PNGs and a ``dataset.json`` with a label vector for
each.

The layout is the one of StyleGAN2-ADA's ``dataset_tool.py`` (Karras et al. 2020), which StyleGAN3, R3GAN and
EDM2 read too, so that every peer trains on the same file::

    00000/img00000000.png     grey (L) or colour (RGB), stored without further compression
    00000/img00000002.png     the number is the image's row in its source, so numbers may be missing
    dataset.json              {"labels": [["00000/img00000000.png", [0.6, 0.0, ...]], ...],
                               "emotions": ["angry", ...], "given": [0, ...],
                               "votes": [[4, 0, ...], ...], "vote_names": ["neutral", ...], "source": {...}}

``given`` is there where the labels are not the source's own: its own class of each image, in the order of ``labels``
(FER-2013's emotion, where the labels are the votes of FER+). ``votes`` holds the raw counts behind such labels, in the
order of ``labels``, with a name for each column in ``vote_names``; ``labels`` are for evaluation, and how votes become
labels for training is decided later (``training/vote_labels.py``).

Those loaders sort the image names, look each one up in ``labels`` and ignore the other keys; ours writes the
names sorted already. The same input gives the same bytes (with the same build of Pillow and zlib): time
stamps, permissions and the order of entries are fixed.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.data.atomic import atomic_file
from training.data.errors import DataError
from training.data.labels import LABELS_FILE, SUM_TOLERANCE, parse_labels

#: The earliest time a zip can hold; any fixed one makes the file reproducible.
_TIME: Final = (1980, 1, 1, 0, 0, 0)

_CHANNELS: Final = {"L": 1, "RGB": 3}
_SUFFIXES: Final = (".png", ".jpg", ".jpeg")


def image_name(row: int) -> str:
    """Return the name in the zip of the image from row ``row`` (from 0) of its source, in folders of 1000."""
    return f"{row // 1000:05d}/img{row:08d}.png"


class DatasetWriter:
    """Write a packed data set; a context manager. The file appears whole at the end of the block, or not at
    all.

    Args:
        out: the zip to write; must end in ``.zip`` (the peers' loaders insist). An older one is replaced.
        emotions: what the entries of a label vector stand for, ``[E]``.
        resolution: width and height of every image, in pixels.
        channels: 1 (grey) or 3 (RGB).
        vote_names: the names of the V kinds of votes that each image comes with; empty for images without votes.
        meta: where the images come from, for ``dataset.json``'s ``source``; JSON values only. Keep times and
            paths out of it if the file is to be reproducible. It may still be changed inside the block.

    Raises:
        DataError: the name does not end in ``.zip``, the folder cannot be written, the disk is full, or no
            image was added.
    """

    def __init__(
        self,
        out: Path,
        *,
        emotions: Sequence[str],
        resolution: int,
        channels: int,
        vote_names: Sequence[str] = (),
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        self.out = Path(out)
        if self.out.suffix.lower() != ".zip":
            raise DataError(f"cannot write {self.out}: the name of a packed data set must end in .zip.")
        if channels not in _CHANNELS.values() or resolution < 1 or not emotions:
            raise ValueError("a data set needs emotions, a resolution of at least 1 and 1 or 3 channels")
        self.emotions = tuple(emotions)
        self.vote_names = tuple(vote_names)
        self.shape = (resolution, resolution) if channels == 1 else (resolution, resolution, channels)
        self.meta: dict[str, Any] = dict(meta or {})
        self._labels: list[tuple[str, list[float]]] = []
        self._origins: list[tuple[str, str]] = []
        self._given: list[int] = []
        self._votes: list[list[int]] = []
        self._last = -1
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stream = self._stack.enter_context(atomic_file(self.out))
        self._zip = zipfile.ZipFile(self._stream, "w", zipfile.ZIP_STORED)
        return self

    def add(
        self,
        row: int,
        pixels: NDArray[np.uint8],
        label: Sequence[float],
        origin: str | None = None,
        given: int | None = None,
        votes: Sequence[int] = (),
    ) -> str:
        """Add one image and return its name in the zip.

        Args:
            row: the image's row in its source, from 0; must grow from call to call.
            pixels: uint8 ``[H, W]`` for grey, ``[H, W, 3]`` for colour, 0..255.
            label: ``[E]`` floats of at least 0 that sum to 1.
            origin: the source file of the image, for sources that have no rows.
            given: the source's own class, an index into the emotions, where ``label`` says something else. Either
                every image has one or none has.
            votes: ``[V]`` counts of at least 0, one for each of ``vote_names``.
        """
        if pixels.shape != self.shape or pixels.dtype != np.uint8:
            raise ValueError(f"expected uint8 {self.shape}, got {pixels.dtype} {pixels.shape}")
        if row <= self._last:
            raise ValueError(f"row {row} after row {self._last}: rows must grow")
        fits = len(label) == len(self.emotions) and min(label) >= 0
        if not (fits and abs(math.fsum(label) - 1) <= SUM_TOLERANCE):  # so put, NaN does not pass either
            raise ValueError(f"row {row}: expected {len(self.emotions)} numbers that sum to 1, got {label}")
        if given is not None and not 0 <= given < len(self.emotions):
            raise ValueError(f"row {row}: the class {given} is not one of {len(self.emotions)}")
        if (given is None) != (not self._given) and self._labels:
            raise ValueError(f"row {row}: either every image has a class of its own or none has")
        if len(votes) != len(self.vote_names) or min(votes, default=0) < 0:
            raise ValueError(f"row {row}: expected {len(self.vote_names)} counts of votes, got {votes}")
        name = image_name(row)
        png = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(png, "PNG")
        self._write(name, png.getvalue())
        self._labels.append((name, [float(value) for value in label]))
        if given is not None:
            self._given.append(given)
        if votes:
            self._votes.append([int(count) for count in votes])
        if origin is not None:
            self._origins.append((name, origin))
        self._last = row
        return name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        except BaseException as late:
            self._abandon(late)
            raise
        if error is None:
            self._stack.__exit__(None, None, None)
        else:
            self._abandon(error)

    def _finish(self) -> None:
        if not self._labels:
            raise DataError(f"cannot write {self.out}: there is no image to put into it.")
        table: dict[str, Any] = {"labels": self._labels, "emotions": self.emotions, "source": self.meta}
        if self._given:
            table["given"] = self._given
        if self._votes:
            table["votes"] = self._votes
            table["vote_names"] = self.vote_names
        if self._origins:
            table["origins"] = self._origins
        self._write(LABELS_FILE, json.dumps(table, separators=(",", ":")).encode())
        self._zip.close()

    def _abandon(self, error: BaseException) -> None:
        # Closed here, because a zip that the garbage collector closes later complains on the terminal.
        with suppress(OSError, ValueError):
            self._zip.close()
        self._stack.__exit__(type(error), error, error.__traceback__)

    def _write(self, name: str, content: bytes) -> None:
        entry = zipfile.ZipInfo(name, _TIME)
        entry.create_system = 3  # Unix, on every system, for the same bytes
        entry.external_attr = 0o100644 << 16
        self._zip.writestr(entry, content)


@dataclass(frozen=True, eq=False, slots=True)
class PackedDataset:
    """A packed data set in memory, in the order of its sorted image names.

    ``images`` uint8 ``[N, C, H, W]`` 0..255; ``labels`` float32 ``[N, E]``, rows sum to 1; ``emotions`` the
    ``E`` names; ``names`` the ``N`` names in the zip; ``meta`` what ``dataset.json`` says under ``source``
    (empty for foreign files); ``sha256`` of the whole zip, hexadecimal; ``given`` int64 ``[N]``, the source's own
    class of each image as an index into ``emotions``, or None where the labels are its own; ``votes`` int64 ``[N, V]``,
    the raw counts of votes behind the labels, or None; ``vote_names`` the ``V`` names of the votes' columns (for FER+
    its ten, eight emotions and "unknown" and "NF"; empty without votes).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.float32]
    emotions: tuple[str, ...]
    names: list[str]
    meta: dict[str, Any]
    sha256: str
    given: NDArray[np.int64] | None = None
    votes: NDArray[np.int64] | None = None
    vote_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def resolution(self) -> int:
        """Width and height of every image, in pixels."""
        return int(self.images.shape[-1])

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return int(self.images.shape[1])


def load_packed(path: Path) -> PackedDataset:
    """Read and decode a packed data set: ours, or a plain one of StyleGAN's ``dataset_tool.py``.

    Plain ones have integer classes (made one-hot here) and no names: 7 classes are taken for FER-2013's
    order, 8 for those and contempt.

    Raises:
        DataError: the file is missing, damaged or not such a data set; its text says what is wrong.
    """
    path = Path(path)
    try:
        with open(path, "rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            with zipfile.ZipFile(stream) as archive:
                names = sorted(name for name in archive.namelist() if name.lower().endswith(_SUFFIXES))
                if not names:
                    raise DataError(f"{path} holds no images; make a data set with 'emoface prepare'.")
                if LABELS_FILE not in archive.namelist():
                    raise DataError(f"{path} holds no {LABELS_FILE}, so its images have no labels.")
                labels = parse_labels(path, archive.read(LABELS_FILE), names)
                images = _read_images(path, archive, names)
    except FileNotFoundError:
        raise DataError(f"the data set {path} does not exist; make it with 'emoface prepare'.") from None
    except MemoryError as error:
        raise DataError(f"{path} does not fit into the memory of this machine.") from error
    # RuntimeError: an encrypted entry or an unknown compression. ValueError: nonsense in the zip's tables.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, struct.error) as error:
        raise DataError(f"{path} is damaged or not a zip ({error}); make it again with 'emoface prepare'.") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}.") from error
    return PackedDataset(
        images=images,
        labels=labels.vectors,
        emotions=labels.emotions,
        names=names,
        meta=labels.source,
        sha256=sha256,
        given=labels.given,
        votes=labels.votes,
        vote_names=labels.vote_names,
    )


def _read_images(path: Path, archive: zipfile.ZipFile, names: Sequence[str]) -> NDArray[np.uint8]:
    """Decode all images to uint8 ``[N, C, H, W]``; all must be like the first one."""
    images: NDArray[np.uint8] | None = None
    for index, name in enumerate(names):
        content = archive.read(name)  # checks the entry's CRC
        try:
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
                mode, size = image.mode, image.size
                pixels = np.asarray(image)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{path}: the image {name} is damaged ({error}).") from error
        if mode not in _CHANNELS or size[0] != size[1]:
            raise DataError(
                f"{path}: the image {name} is {size[0]}x{size[1]} {mode}, but must be square and grey or RGB."
            )
        if images is None:
            images = np.empty((len(names), _CHANNELS[mode], size[1], size[0]), np.uint8)
        if images.shape[1:] != (_CHANNELS[mode], size[1], size[0]):
            raise DataError(f"{path}: the image {name} is {size[0]}x{size[1]} {mode}, unlike the first one.")
        images[index] = pixels if mode == "L" else pixels.transpose(2, 0, 1)
    assert images is not None, "names is not empty"
    return images
