"""Class folders of any pictures."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.data.picture_sources import picture, save, zip_of
from training.data.errors import DataError
from training.data.folder import NO_CLASS, TOO_DEEP, prepare_folder
from training.data.packed import load_packed
from training.data.pictures import NOT_A_PICTURE


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "archive" / "faces"
    save(root / "Zebra" / "1.png", picture(1, 80, 60))
    save(root / "Joy" / "1.png", picture(2))
    save(root / "HAPPY" / "2.webp", picture(3))
    save(root / "anger" / "a.jpg", picture(4))
    save(root / "cat" / "1.gif", picture(5))
    return root


def test_classes_are_emotions_first_then_the_rest(tmp_path: Path, tree: Path) -> None:
    report = prepare_folder(tree, tmp_path / "x.zip", size=30)
    data = load_packed(tmp_path / "x.zip")
    assert data.emotions == ("angry", "happy", "cat", "zebra")
    assert report.counts == {"angry": 1, "happy": 2, "cat": 1, "zebra": 1}
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        origins = dict(json.loads(archive.read("dataset.json"))["origins"])
    by_origin = {origins[name]: index for index, name in enumerate(data.names)}
    assert sorted(by_origin) == ["HAPPY/2.webp", "Joy/1.png", "Zebra/1.png", "anger/a.jpg", "cat/1.gif"]
    assert data.labels[by_origin["Joy/1.png"]].tolist() == [0, 1, 0, 0]
    zebra = picture(1, 80, 60).crop((10, 0, 70, 60)).resize((30, 30), Image.Resampling.LANCZOS)
    packed = data.images[by_origin["Zebra/1.png"]].transpose(1, 2, 0)
    np.testing.assert_allclose(packed, np.asarray(zebra), atol=1)  # the filter looks a little beyond the crop


def test_wrapped_packed_and_grey_sources(tmp_path: Path, tree: Path) -> None:
    prepare_folder(tree.parent, tmp_path / "x.zip", grey=True)
    prepare_folder(tree.parent, tmp_path / "again.zip", grey=True)
    prepare_folder(zip_of(tree, tmp_path / "faces.zip"), tmp_path / "y.zip", grey=True)
    data = load_packed(tmp_path / "x.zip")
    assert (data.channels, data.resolution, len(data)) == (1, 48, 5)
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "x.zip").read_bytes()
    assert (tmp_path / "y.zip").read_bytes() == (tmp_path / "x.zip").read_bytes()


def test_one_class_alone_is_a_class(tmp_path: Path) -> None:
    save(tmp_path / "src" / "only" / "1.png", picture(1))
    prepare_folder(tmp_path / "src", tmp_path / "x.zip")
    assert load_packed(tmp_path / "x.zip").emotions == ("only",)


def test_what_is_left_out_or_damaged_is_counted(tmp_path: Path, tree: Path) -> None:
    save(tree / "loose.png", picture(1))
    save(tree / "cat" / "deep" / "1.png", picture(1))
    (tree / "cat" / "notes.txt").write_text("hello")
    for number in range(100):
        save(tree / "cat" / f"many{number}.png", picture(number, 8, 8))
    (tree / "cat" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    report = prepare_folder(tree, tmp_path / "x.zip")
    assert {reason: len(rows) for reason, rows in report.skipped.items()} == {
        NO_CLASS: 1,
        TOO_DEEP: 1,
        NOT_A_PICTURE: 1,
    }
    assert [str(row) for row in report.bad] == ["cat/torn.jpg: not a readable image"]
    assert report.written == len(load_packed(tmp_path / "x.zip")) == 105
    (tree / "cat" / "torn2.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"2 of 110 rows .* more than 1%.*first is cat/torn\.jpg"):
        prepare_folder(tree, tmp_path / "y.zip")
    assert not (tmp_path / "y.zip").exists()


def test_what_is_no_folder_of_classes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "x.zip"
    root = tmp_path / "src"
    root.mkdir()
    with pytest.raises(DataError, match="holds no folders of pictures, one for each class"):
        prepare_folder(root, out)
    save(root / "1.png", picture(1))
    with pytest.raises(DataError, match="holds no folders of pictures"):
        prepare_folder(root, out)
    (root / "1.png").unlink()
    save(root / "train" / "happy" / "1.png", picture(1))
    save(root / "test" / "happy" / "1.png", picture(1))
    with pytest.raises(DataError, match=r"such as test/happy/1\.png: name the folder right above the class folders"):
        prepare_folder(root, out)
    monkeypatch.setattr("training.data.folder.MOST_CLASSES", 1)
    save(root / "train" / "sad" / "1.png", picture(1))
    with pytest.raises(DataError, match="2 class folders, more than 1"):
        prepare_folder(root / "train", out)
    assert not out.exists()
