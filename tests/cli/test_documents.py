"""Every command and snippet of docs/command-line.md and docs/python.md does what it says."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from emoface.cli import app
from emoface.client import Face
from model import FaceSampler
from service.app import create_app
from service.settings import Settings
from tests.cli.documents import ROOT, blocks, run_python, run_shell
from tests.service.serving import serving

# That nothing is said which is not run.
LANGUAGES = {"sh", "python"}


def size(path: str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_the_command_line(environment: dict[str, str]) -> None:
    for language, text in blocks("command-line.md"):
        assert language in LANGUAGES
        run_shell(text, environment)
    assert (size("happy.png"), size("ada.webp"), size("smile.webp")) == ((24, 24), (512, 512), (192, 192))
    assert size("grid.png") == (96 * 8, 96 * 8 + 24)
    assert len(list(Path("faces").iterdir())) >= 7 * 10
    assert {"0-0.25.png", "3-1.0.png"} <= {path.name for path in Path("strip").iterdir()}
    assert len(json.loads(Path("faces.json").read_text())["files"]) == 8
    assert all(verdict["verified"] for verdict in json.loads(Path("verdicts.json").read_text()))
    assert json.loads(Path("models.json").read_text())[0]["name"] == "small"
    assert json.loads(Path("doctor.json").read_text())["healthy"]
    assert Path("fer48.onnx").stat().st_size > 10_000
    assert Path("fer48.pt").stat().st_size > 10_000
    assert "emoface" in Path(".bashrc").read_text()


def test_python(environment: dict[str, str], weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    settings = Settings(host="127.0.0.1", port=0, device="cpu")
    with serving(create_app(settings, FaceSampler.load(weights, "cpu"))) as (_, url):
        for language, text in blocks("python.md"):
            if language == "sh":
                run_shell(text, environment)
            else:
                assert language in LANGUAGES
                run_python(text.replace("http://127.0.0.1:8000", url), names)
    with Image.open(io.BytesIO(names["picture"])) as image:
        assert (image.size, image.format) == ((192, 192), "WEBP")
    assert (size("happy.png"), size("smile.webp")) == ((192, 192), (24, 24))
    assert [type(face) for face in names["faces"]] == [Face] * 7
    assert names["verdict"].verified
    assert [face.seed for face in names["people"]] == list(range(16))
    assert names["drawn"].shape == (3, 24, 24, 1)
    said = capsys.readouterr().out
    assert "4 small@" in said
    assert "did you mean 'happy'" in said


def test_every_verb_and_every_exit_code_is_named() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text()
    group: Any = typer.main.get_command(app)
    assert [verb for verb in group.commands if f"`{verb}`" not in text] == []
    assert [code for code in range(4) if f"\n| {code} | " not in text] == []
