"""FER-2013 from a folder tree."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.emotions import FER2013
from tests.training.data.fer_sources import draw_face, drawn_rows, write_table
from training.data.errors import DataError
from training.data.fer2013 import prepare_fer2013
from training.data.fer2013_tree import NOT_AN_IMAGE
from training.data.packed import load_packed


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Kaggle's spelling and other people's, mixed."""
    root = tmp_path / "archive"
    save(root / "train" / "angry" / "Training_1.png", draw_face(1))
    save(root / "train" / "Happiness" / "b.PNG", draw_face(2))
    save(root / "train" / "Happiness" / "a.png", draw_face(3))
    save(root / "train" / "SURPRISE" / "x.jpeg", draw_face(4))
    save(root / "Test" / "neutral" / "t.png", draw_face(5))
    (root / "train" / "angry" / ".DS_Store").write_bytes(b"junk")
    (root / "README.txt").write_text("hello")
    return root


def test_splits_and_spellings(tmp_path: Path, tree: Path) -> None:
    report = prepare_fer2013(tree, tmp_path / "x.zip")
    data = load_packed(tmp_path / "x.zip")
    assert (report.rows, report.written, report.skipped, report.bad) == (4, 4, {}, [])
    assert data.emotions == FER2013
    assert [data.emotions[index] for index in data.labels.argmax(1)] == [
        "happy",
        "happy",
        "surprise",
        "angry",
    ]
    np.testing.assert_array_equal(data.images[0, 0], draw_face(3))
    np.testing.assert_array_equal(data.images[1, 0], draw_face(2))
    assert np.abs(data.images[2, 0].astype(int) - draw_face(4)).mean() < 8, "a JPEG, so nearly"
    np.testing.assert_array_equal(data.images[3, 0], draw_face(1))
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        origins = dict(json.loads(archive.read("dataset.json"))["origins"])
    assert [origins[name] for name in data.names] == [
        "train/Happiness/a.png",
        "train/Happiness/b.PNG",
        "train/SURPRISE/x.jpeg",
        "train/angry/Training_1.png",
    ]
    assert prepare_fer2013(tree, tmp_path / "t.zip", split="test").counts["neutral"] == 1


def test_tree_inside_a_folder_is_found(tmp_path: Path, tree: Path) -> None:
    assert prepare_fer2013(tree.parent, tmp_path / "x.zip").written == 4


def test_colour_becomes_grey(tmp_path: Path, tree: Path) -> None:
    colour = np.zeros((48, 48, 3), np.uint8)
    colour[..., 0], colour[..., 1], colour[..., 2] = 200, 100, 50
    save(tree / "train" / "sad" / "c.png", colour)
    prepare_fer2013(tree, tmp_path / "x.zip")
    data = load_packed(tmp_path / "x.zip")
    grey = data.images[data.labels.argmax(1) == FER2013.index("sad")]
    assert set(grey.ravel()) == {round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)}


def test_files_that_do_not_fit_are_named(tmp_path: Path, tree: Path) -> None:
    for number in range(300):
        save(tree / "train" / "fear" / f"{number:03}.png", draw_face(number))
    save(tree / "train" / "fear" / "large.png", np.zeros((50, 48), np.uint8))
    (tree / "train" / "fear" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    save(tree / "train" / "fear" / "deep.png", np.zeros((48, 48), np.uint16))
    (tree / "train" / "fear" / "notes.txt").write_text("hello")
    report = prepare_fer2013(tree, tmp_path / "x.zip")
    assert [str(row) for row in report.bad] == [
        "train/fear/deep.png: more than 8 bits a channel",
        "train/fear/large.png: 48x50 pixels instead of 48x48",
        "train/fear/torn.jpg: not a readable image",
    ]
    assert {reason: len(rows) for reason, rows in report.skipped.items()} == {NOT_AN_IMAGE: 1}
    assert report.written == 304
    (tree / "train" / "fear" / "torn2.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"4 of 309 rows .* more than 1%.*first is train/fear/deep\.png"):
        prepare_fer2013(tree, tmp_path / "y.zip")
    assert not (tmp_path / "y.zip").exists()


def test_what_a_tree_cannot_do_is_said(tmp_path: Path, tree: Path) -> None:
    out = tmp_path / "x.zip"
    votes = write_table(tmp_path / "fer2013new.csv", drawn_rows(1))
    with pytest.raises(DataError, match="folder tree has none: give the CSV"):
        prepare_fer2013(tree, out, ferplus=votes)
    with pytest.raises(DataError, match="folder tree has no split 'publictest'; choose one of training, test"):
        prepare_fer2013(tree, out, split="PublicTest")
    with pytest.raises(DataError, match="no folder 'train' with a folder for each emotion"):
        prepare_fer2013(tree / "train" / "angry", out)
    save(tree / "train" / "hapy" / "1.png", draw_face(1))
    with pytest.raises(DataError, match=r"hapy is not named after an emotion.*did you mean 'happy'"):
        prepare_fer2013(tree, out)
    assert not out.exists()
