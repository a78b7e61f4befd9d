"""AffectNet as folders of faces: AffectNet-8Labels, numbered and named classes, Kaggle's labels.csv."""

from __future__ import annotations

import io
import json
import pickle
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model.emotions import FERPLUS
from tests.training.data.picture_sources import picture, save, zip_of
from training.data.affectnet import prepare_affectnet
from training.data.affectnet_folders import read_scalar
from training.data.errors import DataError
from training.data.packed import load_packed
from training.data.pictures import NOT_A_PICTURE

ORDER = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt"]


def npy(value: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(value))
    return stream.getvalue()


def emotions_by_origin(path: Path) -> dict[str, str]:
    data = load_packed(path)
    assert data.emotions == FERPLUS
    with zipfile.ZipFile(path) as archive:
        origins = dict(json.loads(archive.read("dataset.json"))["origins"])
    assert set(data.labels.ravel()) == {0, 1}
    return {origins[name]: FERPLUS[row.argmax()] for name, row in zip(data.names, data.labels, strict=True)}


#: An expression in every form that people have met in these files.
FORMS = ["0", 1, np.int64(2), np.array(["3"]), b"4", np.float32(5), np.array([[6]]), "7"]


@pytest.fixture
def annotated(tmp_path: Path) -> Path:
    """AffectNet-8Labels, its training folder doubled."""
    root = tmp_path / "AffectNet"
    for folder, numbers in (("train_set/train_set", range(8)), ("val_set", range(8, 10))):
        for number in numbers:
            save(root / folder / "images" / f"{number}.jpg", picture(number))
            notes = root / folder / "annotations"
            notes.mkdir(parents=True, exist_ok=True)
            (notes / f"{number}_exp.npy").write_bytes(npy(FORMS[number % 8]))
            (notes / f"{number}_val.npy").write_bytes(npy("-2"))
    return root


def test_annotations_of_every_form(tmp_path: Path, annotated: Path) -> None:
    report = prepare_affectnet(annotated, tmp_path / "x.zip", colour=True)
    found = emotions_by_origin(tmp_path / "x.zip")
    assert found == {f"train_set/train_set/images/{n}.jpg": name for n, name in enumerate(ORDER)}
    assert (report.rows, report.written) == (8, 8)
    data = load_packed(tmp_path / "x.zip")
    assert data.meta["layout"] == "annotations"
    face = picture(0).resize((48, 48), Image.Resampling.LANCZOS)
    np.testing.assert_allclose(data.images[0].transpose(1, 2, 0).astype(int), np.asarray(face), atol=12)
    prepare_affectnet(annotated, tmp_path / "v.zip", split="validation")
    assert list(emotions_by_origin(tmp_path / "v.zip").values()) == ["neutral", "happy"]
    packed = zip_of(annotated, tmp_path / "source.zip")
    assert prepare_affectnet(packed, tmp_path / "y.zip").counts == report.counts


def test_pickles_are_never_opened(tmp_path: Path, annotated: Path) -> None:
    trap = tmp_path / "sprung"

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (trap,)

    stream = io.BytesIO()
    np.save(stream, np.array([Trap()], object), allow_pickle=True)
    for content in (stream.getvalue(), pickle.dumps(Trap())):
        with pytest.raises(ValueError, match=r"its annotation is no \.npy file with one number"):
            read_scalar(content)
        (annotated / "train_set" / "train_set" / "annotations" / "3_exp.npy").write_bytes(content)
        with pytest.raises(DataError, match=r"first is train_set/train_set/images/3\.jpg: its annotation is no"):
            prepare_affectnet(annotated, tmp_path / "x.zip")
    assert not trap.exists()


def with_shape(shape: tuple[int, ...], dtype: str = "<i8") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        npy([1, 2]),
        npy([]),
        npy(1j),
        npy("1")[:-3],
        npy("3").replace(b"NUMPY\x01", b"NUMPY\x09"),
        with_shape((10**15,)),
        with_shape((), f"<U{2**28}"),
    ],
)
def test_annotations_that_are_none_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"no \.npy file with one number"):
        read_scalar(content)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=6), st.sampled_from(FORMS))
def test_damaged_annotations_raise_nothing_else(changes: list[tuple[int, int]], value: object) -> None:
    content = bytearray(npy(value))
    for place, byte in changes:
        content[place % len(content)] = byte
    with suppress(ValueError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of headers that a very old Python might have written
        assert isinstance(read_scalar(bytes(content)), str)


def test_lost_pictures_and_annotations_are_damage(tmp_path: Path, annotated: Path) -> None:
    root = annotated / "train_set" / "train_set"
    for number in range(100, 400):
        save(root / "images" / f"{number}.png", picture(number, 8, 8))
        (root / "annotations" / f"{number}_exp.npy").write_bytes(npy(3))
    (root / "images" / "200.png").unlink()
    (root / "annotations" / "300_exp.npy").unlink()
    (root / "annotations" / "301_exp.npy").write_bytes(npy(9))
    (root / "images" / "list.txt").write_text("hello")
    report = prepare_affectnet(annotated, tmp_path / "x.zip", size=8)
    assert [str(row) for row in report.bad] == [
        "train_set/train_set/annotations/200_exp.npy: its picture is missing",
        "train_set/train_set/images/300.png: there is no train_set/train_set/annotations/300_exp.npy",
    ]
    assert {reason: len(rows) for reason, rows in report.skipped.items()} == {
        "AffectNet: uncertain": 1,
        NOT_A_PICTURE: 1,
    }
    save(annotated / "train_set" / "images" / "1.jpg", picture(1))
    (annotated / "train_set" / "annotations").mkdir()
    (annotated / "train_set" / "annotations" / "1_exp.npy").write_bytes(npy(1))
    with pytest.raises(DataError, match="holds the training set twice"):
        prepare_affectnet(annotated, tmp_path / "y.zip")


def test_numbered_classes(tmp_path: Path) -> None:
    root = tmp_path / "affectnet"
    for split in ("train", "val", "test"):
        for number in range(8):
            save(root / split / str(number) / f"{split}{number}.png", picture(number))
    for split, folder in (("training", "train"), ("validation", "val"), ("test", "test")):
        prepare_affectnet(root, tmp_path / "x.zip", split=split)
        expected = {f"{folder}/{n}/{folder}{n}.png": name for n, name in enumerate(ORDER)}
        assert emotions_by_origin(tmp_path / "x.zip") == expected


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    """Class names in any case; a table that corrects two pictures and does not know one."""
    root = tmp_path / "archive"
    for name in ("Train/Anger/image1.jpg", "Train/happy/image2.png", "Train/CONTEMPT/image3.jpg",
                 "Train/fear/image4.jpg", "Test/anger/image9.jpg"):  # fmt: skip
        save(root / name, picture(len(name)))
    (root / "labels.csv").write_text(
        ",pth,label,relFCs\n0,anger/image1.jpg,surprise,0.87\n1,happy/image2.png,happy,0.9\n"
        "2,sad/image3.jpg,Disgust,0.8\n3,anger/image9.jpg,anger,0.8\n"
    )
    return root


def test_the_table_is_right_where_the_folder_disagrees(tmp_path: Path, kaggle: Path) -> None:
    prepare_affectnet(kaggle, tmp_path / "x.zip")
    assert emotions_by_origin(tmp_path / "x.zip") == {
        "Train/Anger/image1.jpg": "surprise",
        "Train/happy/image2.png": "happy",
        "Train/CONTEMPT/image3.jpg": "disgust",  # in another folder there, but it has no namesake
        "Train/fear/image4.jpg": "fear",  # not in the table
    }
    first = (tmp_path / "x.zip").read_bytes()
    text = (kaggle / "labels.csv").read_text().splitlines()
    (kaggle / "labels.csv").write_text("\n".join(line.split(",", 1)[1] for line in text))
    prepare_affectnet(kaggle, tmp_path / "y.zip")
    assert emotions_by_origin(tmp_path / "y.zip") == emotions_by_origin(tmp_path / "x.zip"), "with no index column"
    assert (tmp_path / "y.zip").read_bytes() != first, "the table's hash is kept"


def test_namesakes_are_told_apart(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    for name in ("train/anger/0.png", "train/fear/0.png", "test/anger/0.png", "test/sad/0.png"):
        save(root / name, picture(1))
    (root / "labels.csv").write_text(
        "pth,label\ntrain/anger/0.png,happy\ntest\\anger\\0.png,contempt\n./train/fear/0.png,1\n0.png,6\n"
    )
    prepare_affectnet(root, tmp_path / "x.zip")
    assert list(emotions_by_origin(tmp_path / "x.zip").values()) == ["happy", "happy"]
    prepare_affectnet(root, tmp_path / "y.zip", split="test")
    assert emotions_by_origin(tmp_path / "y.zip") == {"test/anger/0.png": "contempt", "test/sad/0.png": "sad"}
    (root / "labels.csv").write_text("pth,label\nanger/0.png,happy\nanger/0.png,sad\n")
    with pytest.raises(DataError, match=r"train/anger/0\.png: labels\.csv calls it both happy and sad"):
        prepare_affectnet(root, tmp_path / "x.zip")


def test_classes_without_split_are_training_and_each_split_may_have_its_table(tmp_path: Path, kaggle: Path) -> None:
    (kaggle / "Train" / "labels.csv").write_text("pth,label\nAnger/image1.jpg,sad\n")
    prepare_affectnet(kaggle, tmp_path / "x.zip")
    assert emotions_by_origin(tmp_path / "x.zip")["Train/Anger/image1.jpg"] == "sad"
    loose = kaggle / "Train"
    prepare_affectnet(loose, tmp_path / "y.zip")
    assert len(load_packed(tmp_path / "y.zip")) == 4
    with pytest.raises(DataError, match="holds no validation set, only: training"):
        prepare_affectnet(loose, tmp_path / "z.zip", split="validation")
    with pytest.raises(DataError, match="holds no validation set, only: test, training"):
        prepare_affectnet(kaggle, tmp_path / "z.zip", split="validation")


def test_tables_that_do_not_fit_are_refused(tmp_path: Path, kaggle: Path) -> None:
    out = tmp_path / "z.zip"
    (kaggle / "labels.csv").write_text("pth,label\nanger/other.jpg,anger\n")
    with pytest.raises(DataError, match=r"labels\.csv in .* names none of the pictures in Train/Anger"):
        prepare_affectnet(kaggle, out)
    (kaggle / "labels.csv").write_text("pth,label\nanger/image1.jpg,hungry\n")
    with pytest.raises(DataError, match=r"Train/Anger/image1\.jpg: 'hungry' is not an expression"):
        prepare_affectnet(kaggle, out)
    (kaggle / "labels.csv").write_text("pth,label\nanger/image1.jpg,anger,1,2\nanger/image1.jpg,anger\n")
    with pytest.raises(DataError, match=r"labels\.csv, line 2: not a row"):
        prepare_affectnet(kaggle, out)
    (kaggle / "labels.csv").write_text("path,label\n")
    with pytest.raises(DataError, match="no column 'pth'"):
        prepare_affectnet(kaggle, out)
    assert not out.exists()


def test_unknown_layouts_are_told_what_was_looked_for(tmp_path: Path) -> None:
    save(tmp_path / "src" / "a" / "1.png", picture(1))
    with pytest.raises(DataError, match=r"Manually_Annotated_file_lists.*train_set/annotations.*train/0/ or Train"):
        prepare_affectnet(tmp_path / "src", tmp_path / "x.zip")
    with pytest.raises(DataError, match="does not exist"):
        prepare_affectnet(tmp_path / "none", tmp_path / "x.zip")
