"""CelebA in the authors' and in Kaggle's layout, full size and small."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.data.fer_sources import SHARED
from tests.training.data.picture_sources import picture, save, zip_of
from training.data.celeba import class_names, face_square, prepare_celeba
from training.data.errors import DataError
from training.data.packed import load_packed

REAL = SHARED / "celeba10k.zip"

ATTRIBUTES = ["5_o_Clock_Shadow", "Male", "Smiling", "Young"]
#: Smiling and Male of each picture; the other attributes are always there.
FACES = [(1, -1), (-1, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)]
SPLITS = [0, 0, 0, 1, 2, 2]


def rows() -> list[list[object]]:
    return [[f"{n:06}.jpg", 1, male, smiling, 1] for n, (smiling, male) in enumerate(FACES, 1)]


def write_txt(path: Path, lines: list[list[object]], count: int | None = None) -> None:
    body = [" ".join(f"{value:>2}" if isinstance(value, int) else str(value) for value in line) for line in lines]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([str(count or len(lines)), " ".join(ATTRIBUTES) + " ", *body]) + "\n")


def write_csv(path: Path, header: list[str], lines: list[list[object]]) -> None:
    with open(path, "w", newline="") as stream:
        csv.writer(stream).writerows([header, *lines])


def write_pictures(folder: Path, width: int = 178, height: int = 218, suffix: str = ".png") -> None:
    for number in range(1, len(FACES) + 1):
        save(folder / f"{number:06}{suffix}", picture(number, width, height))


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Folders as the authors share them; the pictures packed, and those before alignment beside them."""
    root = tmp_path / "CelebA"
    write_pictures(tmp_path / "img_align_celeba")
    (root / "Img").mkdir(parents=True)
    zip_of(tmp_path / "img_align_celeba", root / "Img" / "img_align_celeba.zip")
    write_pictures(root / "Img" / "img_celeba", 90, 50)
    write_txt(root / "Anno" / "list_attr_celeba.txt", rows())
    (root / "Eval").mkdir()
    lines = [f"{n:06}.jpg {split}" for n, split in enumerate(SPLITS, 1)]
    (root / "Eval" / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    write_pictures(root / "img_align_celeba" / "img_align_celeba")
    write_csv(root / "list_attr_celeba.csv", ["image_id", *ATTRIBUTES], rows())
    parts = [[f"{n:06}.jpg", split] for n, split in enumerate(SPLITS, 1)]
    write_csv(root / "list_eval_partition.csv", ["image_id", "partition"], parts)
    return root


def test_smiling_alone_is_neutral_and_happy(tmp_path: Path, official: Path) -> None:
    report = prepare_celeba(official, tmp_path / "x.zip", size=64)
    data = load_packed(tmp_path / "x.zip")
    assert data.emotions == ("neutral", "happy")
    assert data.labels.argmax(1).tolist() == [1, 0, 1, 0, 1, 0]
    assert data.images.shape == (6, 3, 64, 64)
    assert (report.rows, report.written, report.counts) == (6, 6, {"neutral": 3, "happy": 3})
    for number, image in enumerate(data.images, 1):
        face = picture(number, 178, 218).crop((25, 57, 153, 185)).resize((64, 64), Image.Resampling.LANCZOS)
        np.testing.assert_allclose(image.transpose(1, 2, 0), np.asarray(face), atol=2)
    prepare_celeba(official, tmp_path / "y.zip", size=64)
    assert (tmp_path / "y.zip").read_bytes() == (tmp_path / "x.zip").read_bytes()


def test_kaggles_layout_and_zips_hold_the_same(tmp_path: Path, official: Path, kaggle: Path) -> None:
    prepare_celeba(official, tmp_path / "x.zip", split="test", grey=True)
    one = load_packed(tmp_path / "x.zip")
    sources = {"folder": kaggle, "packed": zip_of(kaggle, tmp_path / "archive.zip")}
    (official / "Img" / "list_attr_celeba.txt").write_bytes((official / "Anno" / "list_attr_celeba.txt").read_bytes())
    (official / "Img" / "list_eval_partition.txt").write_bytes(
        (official / "Eval" / "list_eval_partition.txt").read_bytes()
    )
    sources["pictures"] = official / "Img" / "img_align_celeba.zip"
    for name, source in sources.items():
        prepare_celeba(source, tmp_path / "y.zip", split="test", grey=True)
        other = load_packed(tmp_path / "y.zip")
        assert other.names == one.names == ["00000/img00000004.png", "00000/img00000005.png"], name
        np.testing.assert_array_equal(other.images, one.images)
        np.testing.assert_array_equal(other.labels, one.labels)


@pytest.mark.parametrize(("split", "numbers"), [("train", [0, 1, 2]), ("validation", [3]), ("test", [4, 5])])
def test_splits(tmp_path: Path, kaggle: Path, split: str, numbers: list[int]) -> None:
    prepare_celeba(kaggle, tmp_path / "x.zip", split=split)
    assert [int(name[9:17]) for name in load_packed(tmp_path / "x.zip").names] == numbers


def test_attributes_multiply(tmp_path: Path, kaggle: Path) -> None:
    report = prepare_celeba(kaggle, tmp_path / "x.zip", attributes=["smiling", "MALE"])
    data = load_packed(tmp_path / "x.zip")
    assert data.emotions == ("neutral+not male", "neutral+male", "happy+not male", "happy+male")
    assert data.labels.argmax(1).tolist() == [2, 0, 3, 1, 2, 0]
    assert report.counts["happy+male"] == 1
    assert data.meta["attributes"] == ["Smiling", "Male"]
    assert class_names(["5_o_Clock_Shadow"]) == ("not 5 o clock shadow", "5 o clock shadow")
    prepare_celeba(kaggle, tmp_path / "y.zip", attributes=["5 o clock shadow", "Young"])
    assert load_packed(tmp_path / "y.zip").labels.argmax(1).tolist() == [3] * 6


def test_crop_scales_with_the_copy() -> None:
    assert face_square(178, 218) == (25, 57, 153, 185)
    assert face_square(89, 109) == (12.5, 28.5, 76.5, 92.5)
    for width in range(20, 400):
        height = round(width * 218 / 178)
        left, top, right, bottom = face_square(width, height)
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert right - left == pytest.approx(bottom - top)
    with pytest.raises(ValueError, match="218x178 pixels are not of the shape"):
        face_square(218, 178)


def test_damage_is_named(tmp_path: Path, kaggle: Path) -> None:
    lines = rows()
    lines[2][3] = 7
    write_csv(kaggle / "list_attr_celeba.csv", ["image_id", *ATTRIBUTES], lines)
    with pytest.raises(DataError, match=r"1 of 6 rows .*line 4: the value '7' of Smiling is not one of -1 and 1"):
        prepare_celeba(kaggle, tmp_path / "x.zip")
    lines[2] = lines[2][:3]
    write_csv(kaggle / "list_attr_celeba.csv", ["image_id", *ATTRIBUTES], lines)
    with pytest.raises(DataError, match="first is line 4: not a row with a value for every attribute"):
        prepare_celeba(kaggle, tmp_path / "x.zip")
    lines[2] = rows()[2]
    write_csv(kaggle / "list_attr_celeba.csv", ["image_id", *ATTRIBUTES], lines[:3])
    with pytest.raises(DataError, match=r"3 of 6 pictures in .* are not in list_attr_celeba\.csv: it is cut off"):
        prepare_celeba(kaggle, tmp_path / "x.zip")
    write_csv(kaggle / "list_attr_celeba.csv", ["image_id", *ATTRIBUTES], lines)
    write_csv(kaggle / "list_eval_partition.csv", ["image_id", "partition"], [["000001.jpg", 0]])
    with pytest.raises(DataError, match=r"5 of 6 rows .* line 3: no split is given for 000002\.jpg"):
        prepare_celeba(kaggle, tmp_path / "x.zip", split="training")
    images = kaggle / "img_align_celeba" / "img_align_celeba"
    (images / "000004.png").unlink()
    with pytest.raises(DataError, match=r"line 5: there is no picture 000004\.jpg"):
        prepare_celeba(kaggle, tmp_path / "x.zip")
    save(images / "000004.png", picture(1, 218, 178))
    with pytest.raises(DataError, match="line 5: 218x178 pixels are not of the shape"):
        prepare_celeba(kaggle, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_what_is_missing_or_wrong_is_refused(tmp_path: Path, official: Path, kaggle: Path) -> None:
    out = tmp_path / "x.zip"
    with pytest.raises(DataError, match=r"unknown attribute 'Smilin'; did you mean 'Smiling'\? Known: 5_o_Clock"):
        prepare_celeba(kaggle, out, attributes=["Smilin"])
    for attributes in ([], ["Male", "male"]):
        with pytest.raises(DataError, match="choose one to 5 different attributes"):
            prepare_celeba(kaggle, out, attributes=attributes)
    save(kaggle / "img_align_celeba" / "000001.jpg", picture(1, 178, 218))
    with pytest.raises(DataError, match="holds the picture 000001 twice"):
        prepare_celeba(kaggle, out)
    (kaggle / "img_align_celeba" / "img_align_celeba").rename(kaggle / "pictures")
    (kaggle / "img_align_celeba" / "000001.jpg").unlink()
    with pytest.raises(DataError, match=r"holds no folder img_align_celeba \(or img_align_celeba\.zip\)"):
        prepare_celeba(kaggle, out)
    (kaggle / "list_eval_partition.csv").unlink()
    with pytest.raises(DataError, match="holds no list_eval_partition"):
        prepare_celeba(kaggle, out, split="test")
    write_txt(kaggle / "list_attr_celeba.txt", rows())
    with pytest.raises(DataError, match="holds two lists"):
        prepare_celeba(kaggle, out)
    with pytest.raises(DataError, match=r"img_align_celeba\.zip holds no list_attr_celeba"):
        prepare_celeba(official / "Img" / "img_align_celeba.zip", out)
    write_txt(official / "Anno" / "list_attr_celeba.txt", rows(), count=7)
    with pytest.raises(DataError, match="says that it has 7 rows, but it has 6: it is cut off"):
        prepare_celeba(official, out)
    (official / "Anno" / "list_attr_celeba.txt").write_text("\n".join(map(str, rows())))
    with pytest.raises(DataError, match="does not begin with the number of its rows"):
        prepare_celeba(official, out)
    (official / "Anno" / "list_attr_celeba.txt").write_text("")
    with pytest.raises(DataError, match="is empty or cut off"):
        prepare_celeba(official, out)
    assert not out.exists()


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.exists(), reason="needs the real CelebA in ../shared/data")
def test_the_first_real_faces(tmp_path: Path) -> None:
    """Eyes are darker than the cheeks below them: the crop has the face where it says."""
    source = tmp_path / "celeba.zip"
    with zipfile.ZipFile(REAL) as real, zipfile.ZipFile(source, "w") as first:
        lines = real.read("celeba/list_attr_celeba.txt").splitlines(keepends=True)
        first.writestr("celeba/list_attr_celeba.txt", b"200\n" + b"".join(lines[1:202]))
        for number in range(1, 201):
            name = f"celeba/img_align_celeba/{number:06}.jpg"
            first.writestr(name, real.read(name))
    report = prepare_celeba(source, tmp_path / "x.zip", grey=True, attributes=["Smiling"])
    data = load_packed(tmp_path / "x.zip")
    assert (report.written, report.bad, data.images.shape) == (200, [], (200, 1, 48, 48))
    assert data.labels[:4].argmax(1).tolist() == [1, 1, 0, 0]
    mean = data.images[:, 0].mean(0)
    eyes, cheeks = mean[18:22, 13:20], mean[26:30, 13:20]
    assert eyes.mean() + 20 < cheeks.mean()
    np.testing.assert_allclose(mean[12:36], mean[12:36, ::-1], atol=25, err_msg="faces are in the middle")
