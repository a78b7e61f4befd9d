"""MNIST (LeCun et al. 1998): 70,000 grey digits of 28x28 pixels, in the idx files they are handed out as.

``{train,t10k}-images-idx3-ubyte`` and ``{train,t10k}-labels-idx1-ubyte``, each plain or ``.gz``, in any folder of
a folder or a zip. An idx file is a magic number (two zero bytes, 8 for bytes, the number of dimensions), the
dimensions as big-endian 32-bit integers, and the bytes.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.data.errors import DataError
from training.data.packed import DatasetWriter
from training.data.report import PrepareReport
from training.data.splits import parse_split
from training.data.trees import MAX_FILE, Tree, refuse_overwriting

DIGITS: Final = tuple("0123456789")
SIDE: Final = 28

#: How MNIST's file names begin, by split.
PREFIXES: Final = {"training": "train", "test": "t10k"}

_REPORT_EVERY: Final = 1000

Progress = Callable[[int, int], None]


def prepare_mnist(
    source: Path, out: Path, *, split: str = "training", size: int = 32, progress: Progress | None = None
) -> PrepareReport:
    """Turn MNIST as downloaded into a packed data set of one split.

    Digits are never blurred: they are padded with black to ``size``, and from 56 on enlarged before by the
    largest whole number that fits.

    Args:
        source: folder or zip with the idx files.
        out: the zip to write; replaced only when everything went well.
        split: ``training`` (or ``train``) or ``test``.
        size: pixels a side of the images to write, at least 28.
        progress: called with (done, total) digits now and then.

    Raises:
        DataError: anything the user must put right; a damaged idx file is named. No output is left then.
    """
    source, out = Path(source), Path(out)
    split = parse_split(split, tuple(PREFIXES))
    if size < SIDE:
        raise DataError(f"MNIST's digits have {SIDE} pixels a side, so the size must be at least {SIDE}, not {size}.")
    refuse_overwriting(out, source)
    with Tree(source) as tree:
        files = [_find(tree, split, what) for what in ("images-idx3", "labels-idx1")]
        images = _read_idx(tree, files[0], dimensions=3)
        labels = _read_idx(tree, files[1], dimensions=1)
    if images.shape[1:] != (SIDE, SIDE):
        raise DataError(f"{source / files[0]} holds images of {images.shape[2]}x{images.shape[1]} pixels, not 28x28.")
    if len(images) != len(labels):
        raise DataError(
            f"{source / files[0]} holds {len(images):,} images, but {files[1]} {len(labels):,} labels: "
            "the two files do not belong together."
        )
    report = PrepareReport(DIGITS, size, 1, split)
    with DatasetWriter(out, emotions=DIGITS, resolution=size, channels=1, meta={"name": "mnist"}) as writer:
        for row, (image, digit) in enumerate(zip(images, labels.tolist(), strict=True)):
            if progress and row % _REPORT_EVERY == 0:
                progress(row, len(images))
            if digit >= len(DIGITS):
                report.add_bad(row + 1, f"the label {digit} is no digit", f"image {row + 1:,}")
                continue
            label = [float(index == digit) for index in range(len(DIGITS))]
            writer.add(row, pad(image, size), label)
            report.add_written(label)
        if progress:
            progress(len(images), len(images))
        report.check(source)
        writer.meta.update(report.summary())
    return report


def pad(digit: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Put a digit ``[28, 28]`` into the middle of black ``[size, size]``, enlarged by a whole number."""
    times = size // SIDE
    enlarged = digit.repeat(times, axis=0).repeat(times, axis=1)
    before = (size - SIDE * times) // 2
    after = size - SIDE * times - before
    return np.pad(enlarged, (before, after))


def _find(tree: Tree, split: str, what: str) -> str:
    """Return the split's file; the plain one where it is there packed as well."""
    name = f"{PREFIXES[split]}-{what}-ubyte"
    # Some copies have a dot for the last dash but one: train-images.idx3-ubyte.
    pattern = re.compile(name.replace("-idx", "[-.]idx") + r"(\.gz)?", re.IGNORECASE)
    found = [file for file in tree.files if pattern.fullmatch(PurePosixPath(file).name)]
    if not found:
        other = next(name for name in PREFIXES if name != split)
        there = any(PurePosixPath(file).name.lower().startswith(PREFIXES[other]) for file in tree.files)
        hint = f"; it holds the split {other!r}" if there else ""
        raise DataError(f"{tree.source} holds no {name} or {name}.gz{hint}.")
    return min(found, key=lambda file: (file.lower().endswith(".gz"), file))


def _read_idx(tree: Tree, name: str, dimensions: int) -> NDArray[np.uint8]:
    """Return the bytes of an idx file in its shape."""
    where = tree.source / name
    try:
        content = tree.read(name)
        if content[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
                content = stream.read(MAX_FILE)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{where} is damaged or cut off ({error}); download it again.") from error
    start = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) < start:
        raise DataError(f"{where} is no idx file of bytes in {dimensions} dimensions: it begins {content[:4].hex()!r}.")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if math.prod(shape) != len(content) - start:
        said = "x".join(map(str, shape))
        raise DataError(
            f"{where} says that it holds {said} bytes, but it holds {len(content) - start:,}: it is damaged."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
