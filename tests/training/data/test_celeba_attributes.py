"""CelebA's faces with all their attributes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.training.data.test_celeba import ATTRIBUTES, FACES, REAL, rows, write_pictures, write_txt
from training.data.celeba_attributes import read_attributes
from training.data.errors import DataError


@pytest.fixture
def celeba(tmp_path):
    write_pictures(tmp_path / "celeba" / "img_align_celeba")
    write_txt(tmp_path / "celeba" / "list_attr_celeba.txt", rows())
    return tmp_path / "celeba"


@pytest.mark.parametrize("channels", [1, 3])
def test_every_face_has_all_its_attributes(celeba, channels):
    faces = read_attributes(celeba, 24, channels)
    assert faces.names == tuple(ATTRIBUTES)
    assert faces.images.shape == (len(FACES), channels, 24, 24)
    assert faces.images.dtype == np.uint8
    smiling, male = faces.values[:, ATTRIBUTES.index("Smiling")], faces.values[:, ATTRIBUTES.index("Male")]
    assert [(int(s), int(m)) for s, m in zip(smiling, male, strict=True)] == [(max(s, 0), max(m, 0)) for s, m in FACES]


def test_a_list_without_its_pictures_is_refused(celeba):
    for picture in sorted((celeba / "img_align_celeba").iterdir())[1:]:
        picture.unlink()
    with pytest.raises(DataError, match="5 of 6 faces"):
        read_attributes(celeba, 24, 1)


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.exists(), reason="needs ../shared/data")
def test_real_eyes_are_where_fer2013_has_them(tmp_path):
    with zipfile.ZipFile(REAL) as archive:  # a few hundred of them
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[:300]
        archive.extractall(tmp_path, names)
        lines = archive.read("celeba/list_attr_celeba.txt").decode().splitlines()
    kept = [line for line in lines[2:] if Path(line.split()[0]).name in {Path(name).name for name in names}]
    (tmp_path / "celeba" / "list_attr_celeba.txt").write_text("\n".join([str(len(kept)), lines[1], *kept]) + "\n")
    faces = read_attributes(tmp_path / "celeba", 48, 1)
    assert faces.values.shape == (300, 40)
    mean = faces.images[:, 0].astype(np.float32).mean(0)
    # Eyes are the darkest places of the upper half of the mean face: 18 pixels apart, at two fifths of the height.
    upper = mean[10:26]
    left, right = upper[:, 4:24], upper[:, 24:44]
    (ly, lx), (ry, rx) = (np.unravel_index(side.argmin(), side.shape) for side in (left, right))
    assert abs((rx + 24) - (lx + 4) - 18) <= 3
    assert abs(ly + 10 - 19) <= 3
    assert abs(ry + 10 - 19) <= 3
