"""``emoface prepare ...``: options reach the readers, and what comes of it is printed."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from tests.cli.running import in_process, one_sentence
from training.data.packed import load_packed


def prepare(*arguments: object) -> Result:
    return in_process("prepare", *arguments)


def save(path: Path, width: int, height: int, level: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (level, 60, 30)).save(path)


def test_help_names_every_source() -> None:
    shown = prepare("--help").stdout
    for verb in ("fer2013", "affectnet", "celeba", "mnist", "folder"):
        assert verb in shown


def test_affectnet(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for number in range(8):
            save(tmp_path / "a" / split / str(number) / "1.png", 50, 50)
    out = tmp_path / "x.zip"
    done = prepare("affectnet", tmp_path / "a", out, "--split", "validation", "--size", 24, "--colour")
    assert done.exit_code == 0, done.stderr
    assert f"{out}: 8 faces of 8 rows, 0 bad (angry 1, disgust 1," in done.stdout
    data = load_packed(out)
    assert (data.images.shape, data.meta["split"]) == ((8, 3, 24, 24), "validation")
    prepare("affectnet", tmp_path / "a", out)
    assert load_packed(out).images.shape == (8, 1, 48, 48)


def test_celeba(tmp_path: Path) -> None:
    for number in (1, 2):
        save(tmp_path / "c" / "img_align_celeba" / f"{number:06}.jpg", 178, 218)
    (tmp_path / "c" / "list_attr_celeba.txt").write_text("2\nMale Smiling\n000001.jpg 1 -1\n000002.jpg -1 1\n")
    out = tmp_path / "x.zip"
    done = prepare("celeba", tmp_path / "c", out)
    assert "2 faces of 2 rows, 0 bad (neutral 1, happy 1)" in done.stdout
    assert load_packed(out).channels == 3
    prepare("celeba", tmp_path / "c", out, "--attribute", "Male", "--attribute", "Smiling", "--grey", "--size", 32)
    data = load_packed(out)
    assert data.emotions[1:3] == ("not male+happy", "male+neutral")
    assert data.images.shape == (2, 1, 32, 32)


def test_mnist(tmp_path: Path) -> None:
    for name, shape in (("images-idx3", (3, 28, 28)), ("labels-idx1", (3,))):
        content = bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)
        (tmp_path / f"t10k-{name}-ubyte").write_bytes(content + np.zeros(shape, np.uint8).tobytes())
    out = tmp_path / "x.zip"
    assert "3 digits of 3 rows, 0 bad (0 3, 1 0," in prepare("mnist", tmp_path, out, "--split", "test").stdout
    assert load_packed(out).images.shape == (3, 1, 32, 32)


def test_folder_tells_of_damage(tmp_path: Path) -> None:
    for number in range(200):
        save(tmp_path / "f" / "joy" / f"{number}.png", 8, 8)
    (tmp_path / "f" / "joy" / "torn.jpg").write_bytes(b"torn")
    (tmp_path / "f" / "joy" / "notes.txt").write_text("hello")
    out = tmp_path / "x.zip"
    done = prepare("folder", tmp_path / "f", out, "--size", 16, "--grey")
    assert "200 pictures of 202 rows, 1 bad (happy 200)" in done.stdout
    assert "bad joy/torn.jpg: not a readable image" in done.stderr
    assert "left out 1: not a picture file" in done.stderr
    assert load_packed(out).images.shape == (200, 1, 16, 16)
    done = prepare("folder", tmp_path / "f", out, "--size", 16, "--grey", "--json")
    told = json.loads(done.stdout)
    assert (told["file"], told["written"], told["counts"]) == (str(out), 200, {"happy": 200})
    assert told["bad"] == ["joy/torn.jpg: not a readable image"]
    assert list(told["skipped"]) == ["not a picture file"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["affectnet", "none", "x.zip"], "none does not exist"),
        (["affectnet", ".", "x.zip"], "no AffectNet in a layout known here: Manually_Annotated"),
        (["celeba", ".", "x.zip"], "holds no list_attr_celeba.txt or .csv"),
        (["mnist", ".", "x.zip"], "holds no train-images-idx3-ubyte"),
        (["folder", ".", "x.zip"], "holds no folders of pictures"),
        (["folder", "f", "x.tar"], "must end in .zip"),
    ],
)
def test_a_mistake_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if "f" in arguments:
        save(tmp_path / "f" / "sad" / "1.png", 8, 8)
    done = prepare(*arguments)
    one_sentence(done, says)
    assert not list(tmp_path.glob("x*"))
