"""What is written, read by the libraries it is written for."""

from __future__ import annotations

import csv
import gc
import io
import json
import sys
import tarfile
import zipfile
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model import EmotionMix, FaceRequest, FaceSampler
from model.emotions import FER2013, FERPLUS
from model.networks.build import build_generator
from model.networks.configs import StyleGeneratorConfig
from training.data.errors import DataError
from training.data.fer2013 import prepare_fer2013
from training.data.folder import prepare_folder
from training.data.packed import load_packed
from training.export.export import export
from training.export.formats import layout_of
from training.export.plan import Plan, make_plan


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(FERPLUS, per_emotion=10, splits=(0.6, 0.2, 0.2), part=20)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hugging Face's libraries neither ask the hub nor write into the home folder."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def rows_of(folder: Path, split: str | None = None) -> list[dict[str, Any]]:
    rows = [json.loads(text) for text in (folder / "manifest.jsonl").read_text().splitlines()]
    return [row for row in rows if split in (None, row["split"])]


def drawn(sampler: FaceSampler, rows: list[dict[str, Any]]) -> NDArray[np.uint8]:
    """Draw the faces that rows of a manifest tell of: uint8 ``[N, H, W]``."""
    mixes = [EmotionMix.parse(row["emotion"], FERPLUS) for row in rows]
    requests = [
        FaceRequest(mix, row["seed"], row["intensity"], row["truncation"]) for mix, row in zip(mixes, rows, strict=True)
    ]
    return sampler.sample(requests)[:, :, :, 0]


def test_torchvisions_image_folder_reads_class_folders(sampler, plan, tmp_path):
    datasets = import_module("torchvision.datasets")
    export(sampler, plan, tmp_path / "x")
    for split, count in (("train", 48), ("validation", 16), ("test", 16)):
        found = datasets.ImageFolder(str(tmp_path / "x" / split))
        assert found.classes == sorted(FERPLUS)
        assert Counter(found.targets) == dict.fromkeys(range(8), count // 8)
        rows = {row["file"]: row for row in rows_of(tmp_path / "x", split)}
        assert len(rows) == len(found)
        for (path, _), (image, target) in zip(found.imgs, found, strict=True):
            row = rows[Path(path).relative_to(tmp_path / "x").as_posix()]
            assert found.classes[target] == row["label"]
            np.testing.assert_array_equal(np.asarray(image)[:, :, 0], drawn(sampler, [row])[0])


def test_a_class_without_faces_in_a_split_keeps_its_number_there(sampler, tmp_path):
    datasets = import_module("torchvision.datasets")
    mix = EmotionMix.parse({"happy": 0.9, "angry": 0.1}, FERPLUS)
    export(sampler, make_plan(FERPLUS, mix=mix, faces=10, splits=(0.8, 0.2)), tmp_path / "x")
    for split in ("train", "validation"):
        found = datasets.ImageFolder(str(tmp_path / "x" / split), allow_empty=True)
        assert found.class_to_idx == {"angry": 0, "happy": 1}


def test_hugging_faces_datasets_reads_class_folders(sampler, plan, tmp_path):
    datasets = import_module("datasets")
    export(sampler, make_plan(FERPLUS, identities=10, splits=(0.6, 0.2, 0.2)), tmp_path / "x")
    assert (tmp_path / "x" / "contact-sheet-train-000000-000.png").is_file()  # must not be taken for a face
    found = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "x"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in found.items()} == {"train": 48, "validation": 16, "test": 16}
    assert found["train"].features["label"].names == sorted(FERPLUS)


def test_hugging_faces_datasets_reads_parquet_with_pictures_and_class_names(sampler, plan, tmp_path):
    datasets = import_module("datasets")
    export(sampler, plan, tmp_path / "x", format="parquet")
    assert (tmp_path / "x" / "data" / "train-00002-of-00003.parquet").is_file()
    found = datasets.load_dataset(str(tmp_path / "x"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in found.items()} == {"train": 48, "validation": 16, "test": 16}
    for split, faces in found.items():
        assert faces.features["label"].names == list(FERPLUS)
        assert isinstance(faces.features["image"], datasets.Image)
        rows = rows_of(tmp_path / "x", split)
        expected = drawn(sampler, rows)
        for face, row, pixels in zip(faces, rows, expected, strict=True):
            np.testing.assert_array_equal(np.asarray(face["image"]), pixels)
            assert FERPLUS[face["label"]] == row["label"]
            same = ("emotion", "seed", "intensity", "truncation", "model", "sha256")
            assert {fact: face[fact] for fact in same} == {fact: row[fact] for fact in same}
            assert face["agreement"] is None


def test_parquet_tells_agreement_where_there_is_some(sampler, jury, tmp_path):
    parquet = import_module("pyarrow.parquet")
    export(sampler, make_plan(FERPLUS, per_emotion=2), tmp_path / "x", format="parquet", jury=jury)
    table = parquet.read_table(tmp_path / "x" / "data" / "train-00000-of-00001.parquet")
    assert table["agreement"].to_pylist() == [row["agreement"] for row in rows_of(tmp_path / "x")]


def test_without_pyarrow_parquet_says_what_to_install(sampler, plan, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"^Parquet needs pyarrow.*pip install 'emoface\[datasets\]'\.$"):
        export(sampler, plan, tmp_path / "x", format="parquet")
    assert not (tmp_path / "x").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves files for Python to close
def test_webdataset_reads_the_shards(sampler, plan, tmp_path):
    webdataset = import_module("webdataset")
    export(sampler, plan, tmp_path / "x", format="webdataset")
    assert [path.name for path in sorted((tmp_path / "x").glob("train-*.tar"))] == [
        f"train-{index:06d}.tar" for index in range(3)
    ]
    urls = str(tmp_path / "x" / "train-{000000..000002}.tar")
    found = webdataset.WebDataset(urls, shardshuffle=False).decode("l8").to_tuple("png", "cls", "json", "__key__")
    rows = rows_of(tmp_path / "x", "train")
    faces = list(found)
    gc.collect()
    assert len(faces) == len(rows) == 48
    for (pixels, kind, facts, key), row, expected in zip(faces, rows, drawn(sampler, rows), strict=True):
        np.testing.assert_array_equal(pixels, expected)
        assert FERPLUS[kind] == row["label"]
        assert {**facts, "file": row["file"], "entry": row["entry"]} == row
        assert row["entry"] == f"{key}.png"
    with tarfile.open(tmp_path / "x" / "train-000000.tar") as archive:
        assert all((member.mtime, member.uid, member.uname) == (0, 0, "") for member in archive)


def test_the_zip_holds_the_class_folders_and_the_manifest_and_can_be_packed_for_training(sampler, plan, tmp_path):
    export(sampler, plan, tmp_path / "x")
    export(sampler, plan, tmp_path / "z", format="zip")
    with zipfile.ZipFile(tmp_path / "z" / "faces.zip") as archive:
        assert archive.testzip() is None
        held = {name: archive.read(name) for name in archive.namelist()}
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert held.pop("manifest.jsonl") == (tmp_path / "z" / "manifest.jsonl").read_bytes()
    pictures = (tmp_path / "x").rglob("*.png")
    assert held == {path.relative_to(tmp_path / "x").as_posix(): path.read_bytes() for path in pictures}
    prepare_folder(tmp_path / "x" / "train", tmp_path / "packed.zip", size=24, grey=True)
    packed = load_packed(tmp_path / "packed.zip")
    assert len(packed) == 48
    assert set(packed.emotions) == set(FERPLUS)


def test_the_csv_is_fer_2013s_and_its_readers_take_it(tmp_path):
    generator = build_generator(StyleGeneratorConfig(48, emotions=FERPLUS, widths=(8, 8, 8), latent_dim=8))
    sampler = FaceSampler(generator, name="small", sha256="0" * 64)
    layout = layout_of("csv")
    wanted = layout.emotions(FERPLUS)
    plan = make_plan(FERPLUS, per_emotion=10, emotions=wanted, splits=layout.splits, part=20)
    export(sampler, plan, tmp_path / "x", format="csv")
    table = tmp_path / "x" / "fer2013.csv"
    with open(table, newline="") as file:
        lines = list(csv.DictReader(file))
    rows = rows_of(tmp_path / "x")
    assert list(lines[0]) == ["emotion", "pixels", "Usage"]
    usages = [line["Usage"] for line in lines]
    assert usages == ["Training"] * 56 + ["PublicTest"] * 7 + ["PrivateTest"] * 7
    for line, row, expected in zip(lines, rows, drawn(sampler, rows), strict=True):
        assert FER2013[int(line["emotion"])] == row["label"]
        # As scripts on Kaggle read it.
        pixels = np.array(line["pixels"].split(" "), "float32").reshape(48, 48)
        np.testing.assert_array_equal(pixels, expected)
        assert lines[row["row"]] is line
    for split, count in (("training", 56), ("publictest", 7), ("privatetest", 7)):
        report = prepare_fer2013(table, tmp_path / f"{split}.zip", split=split)
        assert (report.written, report.bad) == (count, [])
        packed = load_packed(tmp_path / f"{split}.zip")
        assert Counter(packed.labels.argmax(axis=1).tolist()) == dict.fromkeys(range(7), count // 7)


def test_the_csv_makes_other_sizes_fer_2013s(sampler, tmp_path):
    plan = make_plan(FERPLUS, per_emotion=1, emotions=["sad"])
    export(sampler, plan, tmp_path / "x", format="csv")
    line = (tmp_path / "x" / "fer2013.csv").read_text().splitlines()[1]
    own = Image.fromarray(drawn(sampler, rows_of(tmp_path / "x"))[0]).resize((48, 48), Image.Resampling.LANCZOS)
    number, pixels, usage = line.split(",")
    assert (number, usage) == ("4", "Training")
    np.testing.assert_array_equal(np.array(pixels.split(), np.uint8).reshape(48, 48), np.asarray(own))


def test_colour_becomes_grey_in_the_csv_and_stays_colour_in_pictures(tmp_path):
    generator = build_generator(StyleGeneratorConfig(16, channels=3, emotions=FERPLUS, widths=(8, 8), latent_dim=8))
    sampler = FaceSampler(generator, name="small", sha256="0" * 64)
    plan = make_plan(FERPLUS, per_emotion=1, emotions=["sad"])
    export(sampler, plan, tmp_path / "c", format="csv")
    assert len((tmp_path / "c" / "fer2013.csv").read_text().splitlines()[1].split(",")[1].split()) == 48 * 48
    export(sampler, make_plan(FERPLUS, identities=1), tmp_path / "x")
    with Image.open(io.BytesIO((tmp_path / "x" / "train" / "sad" / "00000-sad-1.0.png").read_bytes())) as image:
        assert image.mode == "RGB"


@pytest.mark.parametrize(
    ("emotions", "says"), [(["contempt", "sad"], "FER-2013 has no label for contempt; choose of angry, disgust")]
)
def test_what_fer_2013_does_not_know_is_named(sampler, tmp_path, emotions, says):
    with pytest.raises(DataError, match=says):
        export(sampler, make_plan(FERPLUS, per_emotion=1, emotions=emotions), tmp_path / "x", format="csv")


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "a:b"])
def test_emotions_of_foreign_weights_that_are_no_folder_names_are_refused(tmp_path, name):
    generator = build_generator(StyleGeneratorConfig(16, emotions=(name, "neutral"), widths=(8, 8), latent_dim=8))
    sampler = FaceSampler(generator, name="small", sha256="0" * 64)
    with pytest.raises(DataError, match="cannot be the name of a folder"):
        export(sampler, make_plan((name, "neutral"), per_emotion=1), tmp_path / "x")
