"""``emoface dataset`` as a user calls it."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import Result

from tests.cli.running import in_process, one_sentence
from tests.training.export.conftest import small_judge, small_weights, tree


def run(*arguments: object) -> Result:
    return in_process("dataset", *arguments)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_weights(tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("judge") / "judge.safetensors"
    small_judge().save(path)
    return path


def rows_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_faces_are_written_and_counted(weights, tmp_path):
    done = run(tmp_path / "x", "--per-emotion", 3, "--emotions", "joy,sad", "--seed", 10, "--weights", weights)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path / 'x'}: 6 faces as folders (happy 3, sad 3)\n"
    assert done.stderr == ""  # no bar where nobody watches
    assert [row["seed"] for row in rows_of(tmp_path / "x")] == list(range(10, 16))
    before = tree(tmp_path / "x")
    again = run(tmp_path / "x", "--per-emotion", 3, "--emotions", "joy,sad", "--seed", 10, "--weights", weights)
    assert again.stdout == done.stdout
    assert tree(tmp_path / "x") == before


def test_every_option_reaches_the_data_set(weights, tmp_path):
    wanted = ["--mix", "happy=3,fear=1", "--faces", 40, "--intensities", "0.5,1.25", "--truncation", 0.7]
    wanted += ["--splits", "3,1", "--size", 32, "--picture", "webp", "--shard", 7, "--format", "webdataset", "--json"]
    done = run(tmp_path / "x", *wanted, "--weights", weights, "--device", "cpu")
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert summary["faces"] == 40
    assert summary["splits"] == {"train": {"fear": 8, "happy": 23}, "validation": {"fear": 2, "happy": 7}}
    rows = rows_of(tmp_path / "x")
    assert {row["intensity"] for row in rows} == {0.5, 1.25}
    assert {row["truncation"] for row in rows} == {0.7}
    assert len({row["file"] for row in rows}) == 5 + 2
    command = json.loads((tmp_path / "x" / "dataset.json").read_text())["command"]
    assert (command["picture"], command["size"]) == ("webp", 32)


def test_the_csv_has_fer_2013s_emotions_and_parts_unless_asked_otherwise(weights, tmp_path):
    done = run(tmp_path / "x", "--per-emotion", 10, "--format", "csv", "--weights", weights)
    assert done.exit_code == 0, done.output
    with open(tmp_path / "x" / "fer2013.csv", newline="") as file:
        usages = [line["Usage"] for line in csv.DictReader(file)]
    assert usages == ["Training"] * 56 + ["PublicTest"] * 7 + ["PrivateTest"] * 7
    done = run(tmp_path / "y", "--per-emotion", 1, "--emotions", "contempt", "--format", "csv", "--weights", weights)
    assert done.exit_code == 1
    assert "FER-2013 has no label for contempt" in done.stderr


def test_a_crossed_set_has_a_contact_sheet(weights, tmp_path):
    done = run(tmp_path / "x", "--identities", 2, "--intensities", "0.25,0.5,0.75,1", "--weights", weights)
    assert done.exit_code == 0, done.output
    assert len(rows_of(tmp_path / "x")) == 2 * (7 * 4 + 1)
    assert [path.name for path in (tmp_path / "x").glob("*.png")] == ["contact-sheet-train-000000-000.png"]


def test_judges_are_asked_and_the_rate_is_told(weights, judge, tmp_path):
    asked = ["--per-emotion", 5, "--emotions", "happy", "--judge", judge, "--weights", weights]
    done = run(tmp_path / "all", *asked, "--min-agreement", 0)
    assert done.exit_code == 0, done.output
    said = sorted(float(str(row["agreement"])) for row in rows_of(tmp_path / "all"))
    done = run(tmp_path / "some", *asked, "--min-agreement", said[2])
    assert done.exit_code == 0, done.output
    assert "kept of those tried: happy " in done.stdout
    assert all(float(str(row["agreement"])) >= said[2] for row in rows_of(tmp_path / "some"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "say how many faces: --per-emotion N, or --mix"),
        (["--per-emotion", 1, "--emotions", "hapy"], "unknown emotion 'hapy'; did you mean 'happy'?"),
        (["--mix", "hapy=1", "--faces", 3], "unknown emotion 'hapy'"),
        (["--mix", "happy=x", "--faces", 3], "is no emotion=weight"),
        (["--per-emotion", 1, "--intensities", "a"], "--intensities takes numbers with commas"),
        (["--per-emotion", 1, "--splits", "0.8;0.2"], "--splits takes numbers with commas"),
        (["--per-emotion", 1, "--format", "tfrecord"], "unknown format 'tfrecord'; known: folders, zip"),
        (["--per-emotion", 1, "--picture", "gif"], "unknown picture format 'gif'; known: png"),
        (["--per-emotion", 1, "--size", 9999], "the size must be from 1 to 4096"),
        (["--per-emotion", 1, "--truncation", 2], "truncation must be from 0 to 1"),
        (["--per-emotion", 1, "--device", "tpu"], "device 'tpu' is not available"),
        (["--per-emotion", 1, "--judge", "none.safetensors"], "where --min-agreement says how much to keep"),
        (["--per-emotion", 1, "--judge", "none.safetensors", "--min-agreement", 0], "there is no judge none"),
        (["--per-emotion", 1, "--min-agreement", 0.5], "'judge-a' looks at 48x48"),
        (["--per-emotion", 1, "--weights", "none.safetensors"], "there is no such file"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(weights, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    own = [] if "--weights" in arguments else ["--weights", weights]
    done = run("x", *arguments, *own)
    one_sentence(done, says)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_somebody_elses_is_left_alone(weights, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    done = run(tmp_path, "--per-emotion", 1, "--weights", weights)
    assert done.exit_code == 1
    assert "is not empty and holds no data set of emoface's" in done.stderr
    assert tree(tmp_path) == {"thesis.txt": b"mine"}


# Runs the verb, and sends the process a signal when so many faces are done.
STOPPING = """
import os, signal, sys
from training.export import export as module
number, faces, *arguments = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)
whole = module.export
def stopped(*given, progress, **options):
    def tell(done, total):
        if done == int(faces):
            os.kill(os.getpid(), int(number))
        progress(done, total)
    return whole(*given, progress=tell, **options)
module.export = stopped
from emoface.cli import app
app(["dataset", *arguments])
"""


@pytest.mark.parametrize(
    ("number", "code", "format"),
    [
        (signal.SIGKILL, -signal.SIGKILL, "folders"),
        (signal.SIGKILL, -signal.SIGKILL, "parquet"),
        (signal.SIGTERM, 128 + signal.SIGTERM, "csv"),
        (signal.SIGINT, 130, "zip"),
    ],
)
def test_a_killed_process_is_gone_on_with_by_the_same_command(weights, tmp_path, number, code, format):
    command = ["--per-emotion", "20", "--shard", "32", "--format", format, "--weights", str(weights), "--json"]
    stopping = [sys.executable, "-c", STOPPING, str(int(number)), "75", str(tmp_path / "x"), *command]
    stopped = subprocess.run(stopping, capture_output=True, text=True, timeout=120, check=False)
    assert stopped.returncode == code, stopped.stderr
    if number != signal.SIGKILL:
        assert stopped.stderr == f"emoface: stopped; the same command goes on with {tmp_path / 'x'}.\n"
    assert {path.name for path in (tmp_path / "x" / ".emoface").glob("*.jsonl")} == {
        "train-000000.jsonl",
        "train-000001.jsonl",
    }
    assert run(tmp_path / "x", *command).exit_code == 0
    assert run(tmp_path / "whole", *command).exit_code == 0
    assert tree(tmp_path / "x") == tree(tmp_path / "whole")
