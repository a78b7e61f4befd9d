"""The command line as a user types it: real processes, small weights."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from emoface.cli import app
from model import EmotionMix, FaceRequest, FaceSampler
from model.sampler import DEFAULT_TRUNCATION
from tests.cli.running import emoface, in_process, one_sentence


def test_help_lists_the_verbs_and_loads_no_torch():
    probe = "import sys; sys.argv = ['emoface', '--help']\ntry:\n import emoface.__main__\nexcept SystemExit: pass\n"
    probe += "print('loaded', sorted({'torch', 'fastapi', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    verbs = "serve key generate models verify doctor export prepare train evaluate judge"
    for verb in verbs.split():
        assert verb in done.stdout
    assert done.stdout.rstrip().endswith("loaded []")


def test_generate_writes_the_samplers_pixels_and_says_who_it_is(weights, tmp_path):
    done = emoface("generate", "happy", "--seed", 7, "-o", tmp_path / "happy.png", "--weights", weights)
    assert done.returncode == 0, done.stderr
    assert b"happy, seed 7" in done.stderr
    sampler = FaceSampler.load(weights, "cpu")
    expected = sampler.sample([FaceRequest(EmotionMix.parse("happy", sampler.emotions), 7)])[0, :, :, 0]
    with Image.open(tmp_path / "happy.png") as image:
        np.testing.assert_array_equal(np.asarray(image), expected)
        assert image.info["emoface:seed"] == "7"
        assert image.info["emoface:sha256"] == sampler.sha256


def test_generate_reads_mixes_and_text_seeds_and_writes_to_stdout(weights):
    arguments = ["joy=0.7,surprise=0.3", "--seed", "Ada", "-o", "-", "--size", 96, "--weights", weights]
    done = emoface("generate", *arguments)
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert image.size == (96, 96)
        assert image.info["emoface:emotion"] == "happy=0.7,surprise=0.3"
        assert image.info["emoface:seed"] == "Ada"
    assert in_process("generate", *arguments).stdout_bytes == done.stdout


def test_without_a_seed_one_is_drawn_and_told(weights, tmp_path):
    told = []
    for name in ("a.png", "b.png"):
        done = in_process("generate", "sad", "-o", tmp_path / name, "--weights", weights)
        told.append(int(done.stderr.rsplit("seed ", 1)[1]))
    assert told[0] != told[1]
    in_process("generate", "sad", "--seed", told[0], "-o", tmp_path / "again.png", "--weights", weights)
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "a.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["hapy"], "unknown emotion 'hapy'; did you mean 'happy'? Known: angry"),
        (["happy=x"], "'happy=x' is no emotion=weight"),
        (["happy=0"], "sums to nothing"),
        (["happy", "--seed", ""], "1 to 256 characters"),
        (["happy", "--seed", "-1"], "from 0 to 9223372036854775807"),
        (["happy", "--seed", str(2**63)], "from 0 to 9223372036854775807"),
        (["happy", "--intensity", "3"], "intensity must be from 0 to 1.5"),
        (["happy", "-o", "face.tiff"], "end it in one of .png"),
        (["happy", "-o", "no/such/folder/face.png"], "cannot write no/such/folder/face.png: No such file"),
        (["happy", "--device", "tpu"], "device 'tpu' is not available"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_1(weights, tmp_path, arguments, says, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = in_process("generate", *arguments, "--weights", weights)
    one_sentence(done, says)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_picture_and_no_half_one(weights, tmp_path):
    out = tmp_path / "x.png"
    assert in_process("generate", "happy", "-o", out, "--weights", weights).exit_code == 0
    before = out.read_bytes()
    limit = f"ulimit -f 1; exec {sys.executable} -m emoface generate sad -o {out} --size 512 --weights {weights}"
    done = subprocess.run(["sh", "-c", limit], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "cannot write" in done.stderr
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


def test_weights_that_are_not_there_are_named(tmp_path):
    done = in_process("generate", "happy", "--weights", tmp_path / "none.safetensors", "-o", tmp_path / "x.png")
    assert done.exit_code == 1
    assert "none.safetensors' cannot be used: there is no such file." in done.stderr


def test_prepare_then_train_then_generate(tmp_path):
    rng = np.random.default_rng(0)
    rows = [f"{row % 7},{' '.join(map(str, rng.integers(0, 256, 48 * 48)))},Training" for row in range(150)]
    rows[3] = "9" + rows[3][1:]
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n" + "\n".join(rows) + "\n")
    done = emoface("prepare", "fer2013", tmp_path / "fer2013.csv", tmp_path / "x.zip")
    assert done.returncode == 0, done.stderr
    assert b"149 faces of 150 rows, 1 bad" in done.stdout
    assert b"line 5:" in done.stderr
    (tmp_path / "quick.toml").write_text(
        "[generator.network]\nwidths = [16, 16]\n[discriminator.network]\nwidths = [8, 16]\n"
        "[schedule]\nbatch = 8\ntotal_kimg = 0.04\ntick_kimg = 0.02\n"
    )
    run = ["--data", tmp_path / "x.zip", "--out", tmp_path / "run", "--device", "cpu"]
    done = emoface("train", tmp_path / "quick.toml", *run)
    assert done.returncode == 0, done.stderr
    assert b"finished: 40 images" in done.stdout
    assert b"img/s" in done.stderr
    trained = tmp_path / "run" / "quick-000000.safetensors"
    again = json.loads(in_process("train", tmp_path / "quick.toml", *run, "--json").stdout)  # nothing is left to do
    assert (again["cur_nimg"], again["reason"], again["weights"]) == (40, "done", str(trained))
    assert in_process("generate", "fear", "-o", tmp_path / "f.png", "--weights", trained).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "nope", "--data", "x.zip", "--out", "run"], "there is no recipe 'nope'"),
        (["train", "hinge"], "training needs --data"),
        (["train", "hinge", "--data", "x.zip", "--out", "run", "--device", "tpu"], "device 'tpu' is not available"),
        (["train", "hinge", "--data", "none.zip", "--out", "run"], "none.zip"),
        (["prepare", "fer2013", "none.csv", "x.zip"], "none.csv"),
    ],
)
def test_other_verbs_fail_in_one_sentence_too(tmp_path, arguments, says, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = in_process(*arguments)
    assert done.exit_code == 1
    assert done.stderr.startswith("emoface: ")
    assert says in done.stderr


def test_describe_prints_parameters_and_multiply_adds():
    done = in_process("train", "hinge", "--describe")
    assert "3,310,340" in done.stdout
    assert "1,781,769" in done.stdout
    told = json.loads(in_process("train", "hinge", "--describe", "--json").stdout)
    assert {part["network"]: part["parameters"] for part in told["networks"]} == {
        "generator": 3_310_340,
        "discriminator": 1_781_769,
    }
    assert told["recipe"]["name"] == "hinge"


@pytest.mark.parametrize("verb", ["generate", "evaluate"])
def test_help_tells_the_truncation_that_holds(verb):
    shown = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"}).stdout
    assert f"[default: {DEFAULT_TRUNCATION}]" in shown


def test_every_verbs_help_has_an_example_and_says_what_it_takes():
    group: Any = typer.main.get_command(app)
    assert len(group.commands) > 10
    for name, verb in group.commands.items():
        for command in getattr(verb, "commands", {name: verb}).values():
            assert f"emoface {name}" in command.help, f"{name} has no example"
            assert [one.name for one in command.params if not one.help] == [], name


def test_the_shell_completes_verbs_and_emotions():
    def completed(words: str) -> list[str]:
        environment = {**os.environ, "_EMOFACE_COMPLETE": "complete_bash", "COMP_WORDS": words}
        environment["COMP_CWORD"] = str(len(words.split()) - 1)
        command = [Path(sys.executable).parent / "emoface"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.split()

    assert completed("emoface gen") == ["generate"]
    assert completed("emoface generate su") == ["surprise"]
    assert completed("emoface export o") == ["onnx"]
