"""AffectNet as its authors hand it out: lists with face boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.emotions import FERPLUS
from tests.training.data.picture_sources import picture, save, zip_of
from training.data.affectnet import prepare_affectnet
from training.data.affectnet_tables import NO_FACE_BOX
from training.data.errors import DataError
from training.data.packed import load_packed

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
LANDMARKS = ";".join(str(number / 2) for number in range(136))


@dataclass
class Row:
    picture: str
    expression: object
    box: tuple[object, ...] = (10, 20, 60, 60)

    def __str__(self) -> str:
        return f"{self.picture},{','.join(map(str, self.box))},{LANDMARKS},{self.expression},0.1,-0.2"


def write_list(root: Path, rows: Sequence[Row], split: str = "training") -> Path:
    path = root / "Manually_Annotated_file_lists" / f"{split}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADER, *map(str, rows)]) + "\n")
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """All eleven expressions, a face without a box, and a list for validation."""
    root = tmp_path / "AffectNet"
    images = root / "Manually_Annotated_compressed" / "Manually_Annotated_Images"
    for number in range(12):
        save(images / str(number % 3) / f"{number:x}.png", picture(number, 100, 90))
    rows = [Row(f"{number % 3}/{number:x}.png", number) for number in range(11)]
    rows.append(Row("2/b.png", 1, (-1, -1, -1, -1)))
    write_list(root, rows)
    write_list(root, rows[6:7], "validation")
    return root


def test_emotions_boxes_and_what_is_left_out(tmp_path: Path, source: Path) -> None:
    report = prepare_affectnet(source, tmp_path / "x.zip", size=20, colour=True)
    data = load_packed(tmp_path / "x.zip")
    assert data.emotions == FERPLUS
    names = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt"]
    assert [data.emotions[index] for index in data.labels.argmax(1)] == names
    for number, image in enumerate(data.images):
        face = picture(number, 100, 90).crop((10, 20, 70, 80)).resize((20, 20), Image.Resampling.LANCZOS)
        np.testing.assert_allclose(image.transpose(1, 2, 0), np.asarray(face), atol=2)
    assert report.skipped == {
        "AffectNet: none": [10],
        "AffectNet: uncertain": [11],
        "AffectNet: non-face": [12],
        NO_FACE_BOX: [13],
    }
    assert (report.rows, report.written, report.bad) == (12, 8, [])
    assert data.meta["layout"] == "lists"
    validation = prepare_affectnet(source, tmp_path / "v.zip", split="val")
    assert (validation.split, validation.written, validation.counts["angry"]) == ("validation", 1, 1)
    assert load_packed(tmp_path / "v.zip").images.shape == (1, 1, 48, 48)


def test_zip_gives_the_same_faces(tmp_path: Path, source: Path) -> None:
    prepare_affectnet(source, tmp_path / "x.zip")
    prepare_affectnet(zip_of(source, tmp_path / "source.zip"), tmp_path / "y.zip")
    one, other = load_packed(tmp_path / "x.zip"), load_packed(tmp_path / "y.zip")
    np.testing.assert_array_equal(one.images, other.images)
    assert one.meta == other.meta
    prepare_affectnet(source, tmp_path / "z.zip")
    assert (tmp_path / "z.zip").read_bytes() == (tmp_path / "x.zip").read_bytes()


def test_box_that_sticks_out_or_is_no_square_never_stretches_the_face(tmp_path: Path, source: Path) -> None:
    rows = [Row("0/0.png", 0, (70, 60, 60, 40)), Row("0/0.png", 0, ("30", "35.0", 20, 40))]
    write_list(source, rows)
    prepare_affectnet(source, tmp_path / "x.zip", size=40, colour=True)
    data = load_packed(tmp_path / "x.zip")
    whole = np.asarray(picture(0, 100, 90)).astype(int)
    inside = Image.fromarray(whole[30:90, 40:100].astype(np.uint8)).resize((40, 40), Image.Resampling.LANCZOS)
    np.testing.assert_allclose(data.images[0].transpose(1, 2, 0), np.asarray(inside), atol=2)
    np.testing.assert_array_equal(data.images[1].transpose(1, 2, 0), whole[35:75, 20:60])


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (Row("0/none.png", 0), "there is no picture Manually_Annotated_compressed/.*/0/none.png"),
        (Row("../../secret.png", 0), "there is no picture"),
        (Row("0/0.png", 11), "expression 11 is not one of 0 to 10"),
        (Row("0/0.png", "x"), "'x' is not an expression"),
        (Row("0/0.png", -2), "'-2' is not an expression"),
        (Row("0/0.png", 0, (1, 2, "x", 4)), "the face box '1,2,x,4' is not four numbers"),
        (Row("0/0.png", 0, (1, 2, "nan", 4)), "is not four numbers"),
        (Row("0/0.png", 0, (1, 2, 0, 0)), "the face box has no area"),
        (Row("0/0.png", 0, (100, 2, 9, 9)), "outside the picture of 100x90"),
        (Row("0/0.png,7", 0), "not a row with the columns of the first line"),
    ],
)
def test_damaged_rows_are_named(tmp_path: Path, source: Path, row: Row, says: str) -> None:
    save(tmp_path / "secret.png", picture(0))
    write_list(source, [row])
    with pytest.raises(DataError, match=f"1 of 1 rows .* the first is line 2: .*{says}"):
        prepare_affectnet(source, tmp_path / "x.zip")
    write_list(source, [*[Row("0/0.png", 3)] * 149, row])
    report = prepare_affectnet(source, tmp_path / "x.zip", size=8)
    assert (report.written, [bad.row for bad in report.bad]) == (149, [151])


def test_sources_without_their_parts_are_refused(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "x.zip"
    with pytest.raises(DataError, match="holds no test set, only: training, validation"):
        prepare_affectnet(source, out, split="test")
    with pytest.raises(DataError, match="unknown split 'all'"):
        prepare_affectnet(source, out, split="all")
    (source / "more").mkdir()
    (source / "more" / "training.csv").write_text(HEADER)
    with pytest.raises(DataError, match="holds two lists"):
        prepare_affectnet(source, out)
    (source / "more" / "training.csv").unlink()
    path = write_list(source, [])
    path.write_text("subDirectory_filePath,face_x\n")
    with pytest.raises(DataError, match="has no column 'face_y' in its first line"):
        prepare_affectnet(source, out)
    (source / "Manually_Annotated_compressed").rename(source / "Images")
    (source / "Images" / "Manually_Annotated_Images").rename(source / "Images" / "x")
    with pytest.raises(DataError, match="holds no folder Manually_Annotated_Images"):
        prepare_affectnet(source, out)
    assert not out.exists()
