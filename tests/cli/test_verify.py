"""``emoface verify`` and ``emoface models``: what pictures and weights are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from model.weights import read_weights
from tests.cli.running import in_process


@pytest.fixture(scope="module")
def folder(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces of these weights in every format, and files that are none."""
    folder = tmp_path_factory.mktemp("faces")
    for name, size in (("face.png", 24), ("face.webp", 1500), ("face.jpg", 100), ("face.avif", 100)):
        done = in_process(
            "generate", "happy", "--seed", "Ada", "--size", size, "-o", folder / name, "--weights", weights
        )
        assert done.exit_code == 0, done.stderr
    with Image.open(folder / "face.png") as image:
        image.rotate(180).save(folder / "bare.png")
    (folder / "note.txt").write_text("hello")
    return folder


def test_faces_of_these_weights_are_verified(weights: Path, folder: Path) -> None:
    faces = [folder / f"face.{ending}" for ending in ("png", "webp", "jpg", "avif")]
    done = in_process("verify", *faces, "--weights", weights)
    assert done.exit_code == 0, done.stdout
    for face, line in zip(faces, done.stdout.splitlines(), strict=True):
        assert line.startswith(f"{face}: verified (happy, seed Ada, small@")


def test_the_exit_code_tells(weights: Path, folder: Path, tmp_path: Path) -> None:
    face, bare = folder / "face.png", folder / "bare.png"
    codes = {
        (face, bare): 3,
        (bare,): 3,
        (folder / "note.txt", face): 1,
        (tmp_path / "none.png", bare): 1,
        (tmp_path, face): 1,
    }
    for files, code in codes.items():
        assert in_process("verify", *files, "--weights", weights).exit_code == code
    assert in_process("verify", face).exit_code == 3, "the weights that ship did not draw it"


def test_json_says_all_of_it(weights: Path, folder: Path, tmp_path: Path) -> None:
    files = [folder / "face.png", folder / "bare.png", folder / "note.txt", tmp_path / "none.png"]
    found = json.loads(in_process("verify", *files, "--json", "--weights", weights).stdout)
    assert [one["verified"] for one in found] == [True, False, None, None]
    assert (found[0]["difference"], found[0]["seed"], found[0]["size"]) == (0, "Ada", [24, 24])
    assert "does not say" in found[1]["reason"]
    assert "no whole picture" in found[2]["reason"]
    assert "No such file" in found[3]["reason"]


def test_a_picture_on_standard_input(weights: Path, folder: Path) -> None:
    done = in_process("verify", "-", "--weights", weights, stdin=(folder / "face.webp").read_bytes())
    assert (done.exit_code, "-: verified" in done.stdout) == (0, True)


def test_weights_that_cannot_be_used_are_one_sentence(tmp_path: Path) -> None:
    for verb in (["verify", "x.png", "--weights", tmp_path / "none"], ["models", tmp_path / "none"]):
        done = in_process(*verb)
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
        assert "there is no such file" in done.stderr


def test_models_tells_of_the_weights_that_are_taken(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shipped,) = json.loads(in_process("models", "--json").stdout)
    file = read_weights(shipped["file"])
    assert (shipped["sha256"], shipped["card"]) == (file.sha256, file.card)
    assert shipped["tag"] == f"fer48@{file.sha256[:12]}"
    assert Path(shipped["card_file"]).name == "fer48.md"
    assert shipped["aliases"]["happy"] == ["happiness", "joy", "joyful"]
    told = in_process("models").stdout
    assert "contempt: contemptuous" in told
    size = f"style, {file.parameters:,} parameters"
    for fact in (file.sha256, size, "48x48 grey", "contempt", "recipe fer48", shipped["card_file"]):
        assert fact in told
    monkeypatch.setenv("EMOFACE_WEIGHTS", str(weights))
    (taken,) = json.loads(in_process("models", "--json").stdout)
    assert (taken["file"], taken["card_file"]) == (str(weights), None)
    assert "small@" in in_process("models").stdout
