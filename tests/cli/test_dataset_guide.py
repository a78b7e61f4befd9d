"""Every command and every snippet of docs/datasets.md does what it is there for."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.documents import blocks
from tests.cli.running import in_process

COMMANDS = [
    line for language, text in blocks("datasets.md") if language == "sh" for line in text.splitlines() if line.strip()
]
SNIPPETS = [text for language, text in blocks("datasets.md") if language == "python"]

#: Counts as small as a test wants them; everything else is run as it stands.
FEWER = {"--per-emotion": "4", "--faces": "10", "--identities": "2"}


def run(command: str) -> str:
    program, *arguments = shlex.split(command, comments=True)
    assert program == ".venv/bin/emoface"
    arguments = [FEWER.get(before, word) for before, word in zip(["", *arguments], arguments, strict=False)]
    done = in_process(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guide")


# HF_HOME and HF_HUB_OFFLINE are read when Hugging Face's libraries are imported: no network, no home folder.
@pytest.fixture(autouse=True)
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(folder / "hf"))


def test_the_guide_has_commands_and_snippets():
    assert len(COMMANDS) >= 9
    assert len(SNIPPETS) == 4


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_writes_its_data_set(folder, command):
    assert run(command)
    name = shlex.split(command)[2]
    assert (folder / name / "manifest.jsonl").is_file()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves files open
@pytest.mark.parametrize("snippet", SNIPPETS)
def test_a_snippet_reads_what_a_command_wrote(folder, snippet, capsys):
    name = re.search(r'"(faces[a-z-]*)', snippet)
    assert name is not None
    run(next(command for command in COMMANDS if shlex.split(command)[2] == name[1]))
    exec(compile(snippet, "docs/datasets.md", "exec"), {})
    assert capsys.readouterr().out.strip()
