"""The packed data set: read as it was written, the same bytes each time, and damage is noticed."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from model.emotions import FER2013, FERPLUS
from training.data.errors import DataError
from training.data.labels import parse_labels
from training.data.packed import DatasetWriter, image_name, load_packed


def examples(count: int) -> settings:
    """Always the same examples; each overwrites the files of the one before."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


@st.composite
def pictures(draw: st.DrawFn) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Images [N, H, W] or [N, H, W, 3], growing row numbers, labels [N, 8]."""
    count, size = draw(st.integers(1, 5)), draw(st.sampled_from([1, 2, 7, 48]))
    colour = draw(st.sampled_from([(), (3,)]))
    images = draw(arrays(np.uint8, (count, size, size, *colour)))
    rows = sorted(draw(st.sets(st.integers(0, 99_999_999), min_size=count, max_size=count)))
    votes = draw(arrays(np.int64, (count, 8), elements=st.integers(0, 10)))
    votes[votes.sum(1) == 0, 6] = 1
    return images, rows, votes / votes.sum(1, keepdims=True)


def write(out: Path, images: np.ndarray, rows: Sequence[int], labels: np.ndarray) -> None:
    channels = 3 if images.ndim == 4 else 1
    with DatasetWriter(
        out, emotions=FERPLUS, resolution=images.shape[1], channels=channels, meta={"name": "test"}
    ) as writer:
        for image, row, label in zip(images, rows, labels, strict=True):
            writer.add(row, image, label.tolist())


@examples(40)
@given(pictures())
def test_round_trip_and_same_bytes(tmp_path: Path, given_pictures: tuple[np.ndarray, list[int], np.ndarray]) -> None:
    images, rows, labels = given_pictures
    out = tmp_path / "a.zip"
    write(out, images, rows, labels)
    data = load_packed(out)
    expected = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(data.images, expected)
    np.testing.assert_allclose(data.labels, labels, atol=1e-7)
    assert data.images.dtype == np.uint8
    assert data.labels.dtype == np.float32
    assert data.emotions == FERPLUS
    assert data.names == [image_name(row) for row in rows]
    assert data.meta == {"name": "test"}
    assert (len(data), data.resolution, data.channels) == (len(rows), images.shape[1], expected.shape[1])
    again = tmp_path / "b.zip"
    write(again, images, rows, labels)
    assert again.read_bytes() == out.read_bytes()
    assert load_packed(again).sha256 == data.sha256


def test_layout_is_the_one_the_field_reads(small: Path) -> None:
    """What StyleGAN2-ADA, StyleGAN3, R3GAN and EDM2 do with the file, step by step."""
    assert small.suffix == ".zip"
    with zipfile.ZipFile(small) as archive:
        entries = archive.infolist()
        Image.init()
        images = sorted(e.filename for e in entries if Path(e.filename).suffix.lower() in Image.EXTENSION)
        labels = dict(json.loads(archive.read("dataset.json"))["labels"])
        table = np.array([labels[name] for name in images])
        shapes = {np.asarray(Image.open(io.BytesIO(archive.read(name)))).shape for name in images}
    assert images == ["00000/img00000003.png", "00000/img00000999.png", "00001/img00001000.png"]
    assert table.ndim == 2
    assert table.dtype == np.float64
    assert shapes == {(8, 8)}
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Three grey images of 8x8 with FER-2013's labels."""
    out = tmp_path / "small.zip"
    with DatasetWriter(out, emotions=FER2013, resolution=8, channels=1) as writer:
        for row in (3, 999, 1000):
            pixels = np.random.default_rng(row).integers(0, 256, (8, 8), np.uint8)
            writer.add(row, pixels, [0.25, 0, 0, 0.75, 0, 0, 0])
    return out


@examples(300)
@given(data=st.data())
def test_damage_is_a_sentence_or_harmless(tmp_path: Path, small: Path, data: st.DataObject) -> None:
    content = bytearray(small.read_bytes())
    if data.draw(st.booleans(), "cut off"):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(content)
    sentence = ""
    try:
        found = load_packed(damaged)
    except DataError as error:
        sentence = str(error)
    if sentence:
        assert sentence.count(str(damaged)) == 1
        assert "\n" not in sentence
        return
    whole = load_packed(small)
    np.testing.assert_array_equal(found.images, whole.images)
    np.testing.assert_array_equal(found.labels, whole.labels)


def foreign(out: Path, table: Any, images: dict[str, Image.Image] | None = None) -> Path:
    """A zip as ``dataset_tool.py`` writes it, with ``table`` as its dataset.json (None: without one)."""
    images = images or {f"00000/img0000000{n}.png": Image.new("L", (4, 4), n) for n in range(3)}
    with zipfile.ZipFile(out, "w") as archive:
        for name, image in images.items():
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            archive.writestr(name, buffer.getvalue())
        if table is not None:
            archive.writestr("dataset.json", json.dumps(table))
    return out


def labelled(*labels: Any, **more: Any) -> dict[str, Any]:
    return {"labels": [[f"00000/img0000000{n}.png", label] for n, label in enumerate(labels)], **more}


def vector(*positions: int, length: int = 7) -> list[float]:
    return [float(index in positions) for index in range(length)]


@pytest.mark.parametrize(("largest", "emotions"), [(6, FER2013), (7, FERPLUS)])
def test_class_numbers_of_plain_files_become_one_hot(tmp_path: Path, largest: int, emotions: tuple[str, ...]) -> None:
    data = load_packed(foreign(tmp_path / "x.zip", labelled(largest, 0, 3)))
    assert data.emotions == emotions
    assert data.labels.argmax(1).tolist() == [largest, 0, 3]
    assert data.labels.sum(1).tolist() == [1, 1, 1]
    assert data.images[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_names_settle_the_number_of_classes(tmp_path: Path) -> None:
    data = load_packed(foreign(tmp_path / "x.zip", labelled(1, 0, 1, emotions=["sad", "happy", "fear"])))
    assert data.emotions == ("sad", "happy", "fear")
    assert data.labels.tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0]]


def test_images_are_sorted_by_name(tmp_path: Path) -> None:
    images = {f"00000/img0000000{n}.png": Image.new("L", (4, 4), n) for n in (2, 0, 1)}
    data = load_packed(foreign(tmp_path / "x.zip", labelled(6, 0, 3), images))
    assert data.names == sorted(images)
    assert data.images[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert data.labels.argmax(1).tolist() == [6, 0, 3]


def test_colour_is_read_channels_first(tmp_path: Path) -> None:
    images = {"00000/img00000000.png": Image.new("RGB", (4, 4), (10, 20, 30))}
    data = load_packed(foreign(tmp_path / "x.zip", labelled(6), images))
    assert data.images.shape == (1, 3, 4, 4)
    assert data.images[0, :, 0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "no dataset.json"),
        ({"labels": None}, "no labels"),
        ([1, 2], "not a table of labels"),
        ({"other": 1}, "not a table of labels"),
        ({"labels": 5}, "not a table of labels"),
        (labelled(6, 0), "no label for the image 00000/img00000002.png"),
        (labelled(6, 0, 1, 2), "4 labels, but the zip holds 3 images"),
        (labelled(3, 0, 1), "4 classes without names"),
        (labelled(6, 0, -1), "negative"),
        (labelled(6, 0, 1.5), "no whole number"),
        (labelled(6, 0, 10**6), "no whole number below"),
        (labelled(6, 0, "1"), "number"),
        (labelled(6, 0, vector(1)), "different lengths"),
        (
            labelled(vector(1), vector(1), vector(1, 2)),
            "image 00000/img00000002.png a label that does not sum",
        ),
        (labelled(vector(1), vector(1), vector()), "does not sum to 1"),
        (labelled(vector(1), vector(1), [float("nan")] * 7), "not finite"),
        (labelled(vector(1), vector(1), vector(1), emotions=["happy"]), "7 classes but 1 names"),
        (labelled(2, 0, 1, emotions=["happy", "sad"]), "3 classes but 2 names"),
        (labelled(0, 0, 1, emotions=["happy", "happy"]), "twice"),
        (labelled(0, 0, 1, emotions="happy"), "list of names"),
        (labelled(0, 0, 1, emotions=7), "list of names"),
    ],
)
def test_labels_that_do_not_serve_are_refused(tmp_path: Path, table: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_packed(foreign(tmp_path / "x.zip", table))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("L", (4, 5)), "4x5 L, but must be square"),
        (Image.new("RGBA", (4, 4)), "4x4 RGBA, but must be square and grey or RGB"),
        (Image.new("L", (5, 5)), "5x5 L, unlike the first"),
        (Image.new("RGB", (4, 4)), "4x4 RGB, unlike the first"),
    ],
)
def test_images_that_do_not_fit_are_named(tmp_path: Path, image: Image.Image, message: str) -> None:
    images = {"00000/img00000000.png": Image.new("L", (4, 4)), "00000/img00000001.png": image}
    with pytest.raises(DataError, match=rf"image 00000/img00000001\.png is {message}"):
        load_packed(foreign(tmp_path / "x.zip", labelled(6, 0), images))


def test_files_that_are_no_data_set_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist; make it with 'emoface prepare'"):
        load_packed(tmp_path / "none.zip")
    with pytest.raises(DataError, match="cannot read"):
        load_packed(tmp_path)
    (tmp_path / "x.zip").write_bytes(b"hello")
    with pytest.raises(DataError, match="damaged or not a zip"):
        load_packed(tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as archive:
        archive.writestr("dataset.json", "{}")
    with pytest.raises(DataError, match="holds no images"):
        load_packed(tmp_path / "y.zip")


def test_writer_refuses_what_the_peers_could_not_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must end in \.zip"):
        DatasetWriter(tmp_path / "x.tar", emotions=FER2013, resolution=4, channels=1)
    pixels, label = np.zeros((4, 4), np.uint8), vector(0)
    with DatasetWriter(tmp_path / "x.zip", emotions=FER2013, resolution=4, channels=1) as writer:
        writer.add(5, pixels, label)
        unfit: list[tuple[int, np.ndarray, list[float]]] = [
            (5, pixels, label),
            (6, pixels[:3], label),
            (6, pixels.astype(np.float32), label),
            (6, pixels, vector(0, 1)),
            (6, pixels, label[:6]),
            (6, pixels, [float("nan")] * 7),
        ]
        for row, image, vote in unfit:
            with pytest.raises(ValueError, match=r"row|expected"):
                writer.add(row, image, vote)
    assert load_packed(tmp_path / "x.zip").names == ["00000/img00000005.png"]


def test_writer_without_images_leaves_nothing(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path / "x.zip", emotions=FER2013, resolution=4, channels=1)
    with pytest.raises(DataError, match="no image"), writer:
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_writer_that_is_stopped_leaves_the_old_file(tmp_path: Path, stop: type[BaseException]) -> None:
    out = tmp_path / "x.zip"
    out.write_bytes(b"old")

    def write_some() -> None:
        with DatasetWriter(out, emotions=FER2013, resolution=4, channels=1) as writer:
            writer.add(0, np.zeros((4, 4), np.uint8), vector(0))
            raise stop

    with pytest.raises(stop):
        write_some()
    assert out.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
@pytest.mark.parametrize("part", ["first image", "half way", "last byte"])
def test_no_room_on_the_disk_is_a_sentence(tmp_path: Path, part: str) -> None:
    """A file that may not grow fails as on a full disk: a write comes back with an error number."""
    import resource

    images = np.random.default_rng(0).integers(0, 256, (40, 48, 48), np.uint8)
    labels = np.eye(8)[np.arange(40) % 8]
    out = tmp_path / "x.zip"
    write(out, images, range(40), labels)
    size = out.stat().st_size
    out.unlink()
    limit = {"first image": 100, "half way": size // 2, "last byte": size - 1}[part]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(DataError, match=r"no room on the disk for .*x\.zip") as caught:
            write(out, images, range(40), labels)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_source_s_own_classes_travel_with_other_labels(tmp_path: Path) -> None:
    path = tmp_path / "given.zip"
    with DatasetWriter(path, emotions=("a", "b"), resolution=4, channels=1) as writer:
        for row, own in ((3, 1), (1002, 0), (1003, 1)):
            writer.add(row, np.zeros((4, 4), np.uint8), [0.5, 0.5], given=own)
        with pytest.raises(ValueError, match="class 2 is not one of 2"):
            writer.add(1004, np.zeros((4, 4), np.uint8), [0.5, 0.5], given=2)
        with pytest.raises(ValueError, match="every image has a class of its own or none"):
            writer.add(1004, np.zeros((4, 4), np.uint8), [0.5, 0.5])
    classes = load_packed(path).given
    assert classes is not None
    assert classes.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("classes", "message"), [([1], "one class for each label"), ([1, 7], "whole numbers from 0 to 1")]
)
def test_classes_of_the_source_that_do_not_fit_are_refused(tmp_path: Path, classes: list[int], message: str) -> None:
    labels = [["b.png", [1, 0]], ["a.png", [0, 1]]]
    content = json.dumps({"labels": labels, "emotions": ["x", "y"], "given": classes}).encode()
    with pytest.raises(DataError, match=message):
        parse_labels(tmp_path / "x.zip", content, ["a.png", "b.png"])
    swapped = json.dumps({"labels": labels, "emotions": ["x", "y"], "given": [0, 1]}).encode()
    own = parse_labels(tmp_path / "x.zip", swapped, ["a.png", "b.png"]).given
    assert own is not None
    assert own.tolist() == [1, 0]  # in the order of the names, not of the file
