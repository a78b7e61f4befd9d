"""Every command of docs/training.md does what it says, on a few faces and for a step or two."""

from __future__ import annotations

import gzip
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from model.weights import read_weights
from tests.cli.documents import ROOT, blocks
from tests.cli.running import in_process
from tests.training.data.fer_sources import drawn_rows, votes, write_table, write_votes
from tests.training.data.test_mnist import idx
from training.data.packed import load_packed

COMMANDS = [line for language, text in blocks("training.md") if language == "sh" for line in text.splitlines()]
#: Compares recipes for half an hour; see tests/benchmarks/test_recipes.py and test_readme.py.
LONG = ".venv/bin/python benchmarks/recipes.py "
#: What makes a command short; everything else is run as it stands.
SHORT = {"train": ["--minutes", "0.001"], "evaluate": ["--quick", "--faces", "20"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the guide takes for granted: the weights, FER-2013's two tables, and MNIST."""
    path = tmp_path_factory.mktemp("guide")
    (path / "weights").symlink_to(ROOT / "weights")
    rows = [*drawn_rows(140), *drawn_rows(70, "PrivateTest")]
    write_table(path / "fer2013.csv", rows)
    write_votes(path / "fer2013new.csv", [votes(row, number) for number, row in enumerate(rows)])
    (path / "mnist").mkdir()
    digits = np.random.default_rng(0).integers(0, 256, (70, 28, 28), dtype=np.uint8)
    (path / "mnist" / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(digits)))
    (path / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(70, dtype=np.uint8) % 10)))
    return path


def run(command: str, folder: Path) -> str:
    program, verb, *arguments = shlex.split(command, comments=True)
    assert program == ".venv/bin/emoface"
    if verb in SHORT and "--describe" not in arguments:
        arguments += SHORT[verb]  # of an option that is given twice, the last counts
    for name in [word for word in arguments if re.search(r"-\d{6}\.", word)]:  # a snapshot after so many images
        (made,) = (folder / name).parent.glob(re.sub(r"\d{6}", "*", Path(name).name))
        arguments[arguments.index(name)] = str(made)
    done = in_process(verb, *arguments)
    assert done.exit_code == 0, f"{command}: {done.output}"
    return done.stdout


def test_the_guide(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    told = {command: run(command, folder) for command in COMMANDS if not command.startswith(LONG)}
    assert any("parameters" in text for command, text in told.items() if "--describe" in command)
    packed = {name: load_packed(folder / name) for name in ("train.zip", "test.zip", "mnist32.zip")}
    assert [len(data.images) for data in packed.values()] == [140, 70, 70]
    for name in ("mine", "finer", "digits", "dcgan"):
        assert (folder / "runs" / name / "stats.jsonl").is_file(), name
        (weights,) = (path for path in (folder / "runs" / name).glob("*-*.safetensors"))
        assert read_weights(weights).card, name
    assert (folder / "fear.png").is_file()
    report = json.loads((folder / "report" / "report.json").read_text())
    assert report["protocol"]["faces_per_emotion"] == 20
    assert len(report["judges"]) == 2
