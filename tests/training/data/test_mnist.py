"""MNIST's idx files: read, padded, and every kind of damage named."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.data.fer_sources import SHARED
from tests.training.data.picture_sources import zip_of
from training.data.errors import DataError
from training.data.mnist import pad, prepare_mnist
from training.data.packed import load_packed

REAL = SHARED / "mnist"


def idx(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.fixture
def digits() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)


@pytest.fixture
def source(tmp_path: Path, digits: np.ndarray) -> Path:
    """The training set plain, in the spelling of some copies; the test set packed."""
    root = tmp_path / "mnist"
    (root / "raw").mkdir(parents=True)
    labels = np.arange(12, dtype=np.uint8) % 10
    (root / "raw" / "train-images.idx3-ubyte").write_bytes(idx(digits))
    (root / "raw" / "train-labels.idx1-ubyte").write_bytes(idx(labels))
    (root / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(digits[:3])))
    (root / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels[5:8])))
    return root


def test_digits_are_padded_not_blurred(tmp_path: Path, source: Path, digits: np.ndarray) -> None:
    report = prepare_mnist(source, tmp_path / "x.zip", split="train")
    data = load_packed(tmp_path / "x.zip")
    assert data.emotions == tuple("0123456789")
    assert data.images.shape == (12, 1, 32, 32)
    np.testing.assert_array_equal(data.images[:, 0, 2:30, 2:30], digits)
    assert data.images.sum() == digits.sum(), "the margin is black"
    assert data.labels.argmax(1).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert (report.rows, report.written, report.bad, report.split) == (12, 12, [], "training")
    prepare_mnist(source, tmp_path / "t.zip", split="test", size=28)
    test = load_packed(tmp_path / "t.zip")
    np.testing.assert_array_equal(test.images[:, 0], digits[:3])
    assert test.labels.argmax(1).tolist() == [5, 6, 7]
    prepare_mnist(zip_of(source, tmp_path / "mnist-source.zip"), tmp_path / "y.zip")
    assert (tmp_path / "y.zip").read_bytes() == (tmp_path / "x.zip").read_bytes()


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.integers(28, 300), st.integers(0, 2**32 - 1))
def test_padding_keeps_the_digit_whole_and_centred(size: int, seed: int) -> None:
    digit = np.random.default_rng(seed).integers(1, 256, (28, 28), dtype=np.uint8)
    padded = pad(digit, size)
    assert padded.shape == (size, size)
    rows, columns = np.asarray(padded.any(1)), np.asarray(padded.any(0))
    times = size // 28
    inside = padded[rows][:, columns]
    np.testing.assert_array_equal(inside[::times, ::times], digit)
    np.testing.assert_array_equal(inside, np.kron(digit, np.ones((times, times), np.uint8)))
    assert abs(int(rows.argmax()) - int(rows[::-1].argmax())) <= 1
    assert abs(int(columns.argmax()) - int(columns[::-1].argmax())) <= 1


def damaged_by(what: str, content: bytes) -> bytes:
    if what == "magic":
        return b"\0\0\x0d\x03" + content[4:]
    if what == "short":
        return content[:-1]
    if what == "long":
        return content + b"\0"
    if what == "count":
        return content[:4] + struct.pack(">I", 11) + content[8:]
    if what == "gzip":
        packed = gzip.compress(content)
        return packed[: len(packed) // 2]
    if what == "header":
        return content[:7]
    return content


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("magic", r"train-images\.idx3-ubyte is no idx file of bytes in 3 dimensions: it begins '00000d03'"),
        ("short", r"says that it holds 12x28x28 bytes, but it holds 9,407: it is damaged"),
        ("long", r"but it holds 9,409"),
        ("count", r"says that it holds 11x28x28 bytes, but it holds 9,408"),
        ("gzip", r"train-images\.idx3-ubyte is damaged or cut off"),
        ("header", r"is no idx file"),
    ],
)
def test_damage_is_named(tmp_path: Path, source: Path, what: str, says: str) -> None:
    path = source / "raw" / "train-images.idx3-ubyte"
    path.write_bytes(damaged_by(what, path.read_bytes()))
    with pytest.raises(DataError, match=says):
        prepare_mnist(source, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_what_does_not_fit_is_refused(tmp_path: Path, source: Path, digits: np.ndarray) -> None:
    out = tmp_path / "x.zip"
    labels = source / "raw" / "train-labels.idx1-ubyte"
    labels.write_bytes(idx(np.zeros(13, np.uint8)))
    with pytest.raises(DataError, match=r"12 images, but raw/train-labels.idx1-ubyte 13 labels"):
        prepare_mnist(source, out)
    labels.write_bytes(idx(np.full(12, 10, np.uint8)))
    with pytest.raises(DataError, match=r"12 of 12 rows .* first is image 1: the label 10 is no digit"):
        prepare_mnist(source, out)
    (source / "raw" / "train-images.idx3-ubyte").write_bytes(idx(digits[:, :20]))
    with pytest.raises(DataError, match="images of 28x20 pixels, not 28x28"):
        prepare_mnist(source, out)
    (source / "raw" / "train-images.idx3-ubyte").unlink()
    with pytest.raises(DataError, match=r"holds no train-images-idx3-ubyte or .*gz; it holds the split 'test'"):
        prepare_mnist(source, out)
    with pytest.raises(DataError, match="must be at least 28, not 16"):
        prepare_mnist(source, out, size=16)
    with pytest.raises(DataError, match="unknown split 'validation'; choose one of training, test"):
        prepare_mnist(source, out, split="validation")
    assert not out.exists()


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.exists(), reason="needs the real MNIST in ../shared/data")
def test_the_first_real_digits(tmp_path: Path) -> None:
    source = tmp_path / "first"
    source.mkdir()
    for name, start, side in (("t10k-images-idx3-ubyte", 16, 28 * 28), ("t10k-labels-idx1-ubyte", 8, 1)):
        with gzip.open(REAL / f"{name}.gz") as stream:
            header, content = stream.read(start), stream.read(300 * side)
        assert header[4:8] == struct.pack(">I", 10_000)
        (source / name).write_bytes(header[:4] + struct.pack(">I", 300) + header[8:] + content)
    assert prepare_mnist(source, tmp_path / "x.zip", split="test").written == 300
    data = load_packed(tmp_path / "x.zip")
    assert data.labels[:5].argmax(1).tolist() == [7, 2, 1, 0, 4]
    means = [data.images[data.labels.argmax(1) == digit].mean() for digit in range(10)]
    assert int(np.argmin(means)) == 1, "a one has the least ink"
