"""What the README shows can be done: its blocks are run against a service, and what sets things up is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from markdown_it import MarkdownIt
from PIL import Image

from emoface.cli import app
from model import FaceSampler
from service.app import create_app
from service.settings import Settings
from tests.cli.documents import ROOT, blocks, run_python, run_shell
from tests.service.serving import serving

#: Set up a machine or take hours: what they call is looked for, and has tests of its own.
_MAKE = re.compile(r"make (\w+)")
_COMPOSE = re.compile(r"docker compose( --profile (\w+))? up")
_PYTHON = re.compile(r"\.venv/bin/python (-m )?(\S+)")
#: All that people read.
DOCUMENTS = pytest.mark.parametrize(
    "document", ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
)


def exists(line: str) -> bool:
    """Tell whether a line is of a kind that is not run here, and stop the test where it names what is not there."""
    command = " ".join(shlex.split(line, comments=True))
    if make := _MAKE.fullmatch(command):
        assert re.search(rf"^{make[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
    elif compose := _COMPOSE.fullmatch(command):
        assert compose[2] is None or f"[{compose[2]}]" in (ROOT / "docker-compose.yml").read_text(), line
    elif python := _PYTHON.match(command):
        path = python[2].replace(".", "/") if python[1] else python[2]
        assert (ROOT / path).exists(), line
    else:
        return False
    return True


def test_the_readme(environment: dict[str, str], weights: Path) -> None:
    names: dict[str, Any] = {}
    settings = Settings(host="127.0.0.1", port=0, device="cpu")
    pages = []
    with serving(create_app(settings, FaceSampler.load(weights, "cpu"))) as (_, url):
        for language, text in blocks("../README.md"):
            here = text.replace("http://127.0.0.1:8000", url)
            if language == "python":
                run_python(here, names)
            elif language == "sh":
                lines = [line.replace(".venv/bin/emoface", "emoface") for line in here.splitlines() if not exists(line)]
                run_shell("\n".join(lines).replace("--per-emotion 1000", "--per-emotion 3"), environment)
            elif language == "html":
                pages.append(here)
        (address,) = re.findall(r'src="([^"]+)"', "".join(pages))
        run_shell(f"curl -sf {shlex.quote(address)} -o page.webp", environment)
    for name, side in (("happy.png", 24), ("ada.png", 192), ("page.webp", 96)):
        with Image.open(name) as image:
            assert image.size == (side, side), name
    assert names["face"].shape == (24, 24, 1)
    assert len(list(Path("faces").rglob("*.png"))) == 3 * 7


@DOCUMENTS
def test_what_documents_point_to_is_there(document: str) -> None:
    folder = (ROOT / document).parent
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / document).read_text(encoding="utf-8"))
    assert targets or document != "README.md"
    for target in targets:
        assert target.startswith("https://") or (folder / target).exists(), target


@DOCUMENTS
def test_commands_that_take_long_know_their_options(document: str) -> None:
    text = "".join(text for language, text in blocks(f"../{document}") if language == "sh").replace("\\\n", " ")
    for line in text.splitlines():
        if python := _PYTHON.match(line):
            program = ["-m", python[2]] if python[1] else [python[2]]
            command = [sys.executable, *program, "--help"]
            told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout
            options = [word for word in shlex.split(line, comments=True) if word.startswith("--")]
            assert [option for option in options if option not in told] == [], line


def in_sentences(text: str) -> Iterator[list[str]]:
    """Give the words after ``emoface`` of every command that stands in a sentence and not in a block."""
    for token in MarkdownIt().enable("table").parse(text):
        for part in token.children or ():
            if part.type == "code_inline" and (found := re.search(r"\bemoface ([a-z].*)", part.content, re.DOTALL)):
                yield shlex.split(found[1])


@DOCUMENTS
def test_commands_in_sentences_are_ones_that_there_are(document: str) -> None:
    for words in in_sentences((ROOT / document).read_text(encoding="utf-8")):
        command: Any = typer.main.get_command(app)
        for word in words:
            if word in getattr(command, "commands", ()):
                command = command.commands[word]
        assert not hasattr(command, "commands"), words
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("-")} <= known, words


def test_there_are_commands_in_sentences() -> None:
    assert len(list(in_sentences((ROOT / "docs" / "training.md").read_text(encoding="utf-8")))) >= 5
