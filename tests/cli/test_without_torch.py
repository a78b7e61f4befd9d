"""What a host without PyTorch can do, drawing with OpenVINO, and what it says about the rest."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from model.emotions import FER2013
from model.networks.checkpoint import save_generator
from tests.cli.running import emoface, in_process
from tests.e2e.processes import environment, service
from tests.model.tiny import batch_norm_generator
from tests.training.data.fer_sources import drawn_rows, write_table
from tests.training.export.conftest import tree

# Python runs a module of this name before everything else. Nobody finds torch then: not `import`, not find_spec, and
# not importlib.metadata.
SITECUSTOMIZE = """
import sys
from importlib.machinery import PathFinder

class WithoutTorch(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == "torch" else super().find_spec(name, path, target)

    @classmethod
    def find_distributions(cls, context):
        return () if context.name == "torch" else super().find_distributions(context)

sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutTorch
"""


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of processes in which torch is not installed."""
    folder = tmp_path_factory.mktemp("without-torch")
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return environment({"PYTHONPATH": os.pathsep.join(paths), "EMOFACE_PORT": "0"})


@pytest.fixture(scope="module")
def residual_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "residual.safetensors"
    save_generator(path, batch_norm_generator(), {})
    return path


def run(without_torch: Mapping[str, str], *arguments: object) -> str:
    """Run a verb that must succeed; return what it prints."""
    done = emoface(*arguments, env=without_torch)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_torch_is_out_of_reach_in_these_processes(without_torch: Mapping[str, str]) -> None:
    probe = "from importlib.util import find_spec\nprint(find_spec('torch'))\nimport torch"
    done = subprocess.run([sys.executable, "-c", probe], env=without_torch, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "None\n")
    assert "ModuleNotFoundError: No module named 'torch'" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["all", "happy=0.7,fear=0.3", "--seeds", "0,1,Ada", "--intensity", 1.2, "--truncation", 0.9, "-o", "faces"],
        ["happy", "sad", "--seeds", "0-2", "--grid", "--labels", "--size", 96, "-o", "grid.png"],
        ["neutral", "happy", "--seed", 4, "--morph", "--frames", 3, "-o", "smile.webp"],
    ],
    ids=["faces", "grid", "morph"],
)
def test_generate_gives_the_bytes_that_it_gives_with_torch(
    weights: Path,
    without_torch: Mapping[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[object],
) -> None:
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    run(without_torch, "generate", *arguments[:-1], tmp_path / "without" / str(arguments[-1]), "--weights", weights)
    monkeypatch.chdir(tmp_path / "with")
    done = in_process("generate", *arguments, "--weights", weights, "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    assert tree(tmp_path / "without") == tree(tmp_path / "with")


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--per-emotion", 3, "--format", format] for format in ("folders", "zip", "webdataset", "parquet", "csv")),
        ["--identities", 2, "--intensities", "0.5,1"],  # with a contact sheet
    ],
    ids=lambda arguments: str(arguments[-1]),
)
def test_dataset_gives_the_bytes_that_it_gives_with_torch(
    weights: Path, without_torch: Mapping[str, str], tmp_path: Path, arguments: list[object]
) -> None:
    run(without_torch, "dataset", tmp_path / "without", *arguments, "--weights", weights)
    done = in_process("dataset", tmp_path / "with", *arguments, "--weights", weights, "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    found, expected = tree(tmp_path / "without"), tree(tmp_path / "with")
    # It names the software that was installed.
    assert "torch" not in found.pop("dataset.json").decode()
    expected.pop("dataset.json")
    assert found == expected


def test_prepare_works(without_torch: Mapping[str, str], tmp_path: Path) -> None:
    write_table(tmp_path / "fer2013.csv", drawn_rows(14))
    told = run(without_torch, "prepare", "fer2013", tmp_path / "fer2013.csv", tmp_path / "train.zip")
    assert "14 faces of 14 rows" in told


def test_verify_and_models_work(weights: Path, without_torch: Mapping[str, str], tmp_path: Path) -> None:
    picture = tmp_path / "happy.png"
    assert in_process("generate", "happy", "--seed", 4, "-o", picture, "--weights", weights).exit_code == 0
    assert f"{picture}: verified (happy, seed 4" in run(without_torch, "verify", picture, "--weights", weights)
    assert json.loads(run(without_torch, "models", weights, "--json")) == json.loads(
        in_process("models", weights, "--json").stdout
    )


def test_doctor_finds_the_machine_healthy(weights: Path, without_torch: Mapping[str, str]) -> None:
    told = json.loads(run(without_torch, "doctor", "--seconds", 0.1, "--json", "--weights", weights))
    assert told["healthy"]
    checks = {check["name"]: check for check in told["checks"]}
    assert "torch" not in checks["software"]["data"]
    assert checks["device"]["data"]["device"] == "cpu"
    assert checks["speed"]["data"]["faces_per_second"] > 0


def test_serve_answers_and_stops(weights: Path, without_torch: Mapping[str, str], tmp_path: Path) -> None:
    wanted = in_process("generate", "happy", "--seed", 4, "-o", tmp_path / "x.png", "--weights", weights)
    assert wanted.exit_code == 0, wanted.stderr
    with service(weights, {"PYTHONPATH": without_torch["PYTHONPATH"]}) as started:
        with httpx.Client(base_url=started.url, timeout=30, trust_env=False) as client:
            face = client.post("/generate", json={"emotion": "happy", "seed": 4})
            assert face.status_code == 200, face.text
            assert face.content == (tmp_path / "x.png").read_bytes()
            emotions = client.get("/emotions").json()["emotions"]
            assert [emotion["name"] for emotion in emotions if emotion["known"]] == list(FER2013)
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(30) == 0


def needs_torch(done: subprocess.CompletedProcess[bytes]) -> None:
    """Hold that a verb failed with one sentence, which says that PyTorch is missing and how to install it."""
    told = done.stderr.decode()
    assert (done.returncode, done.stdout) == (1, b""), told
    assert told.startswith("emoface: ")
    assert told.count("\n") == 1
    assert re.search("PyTorch, which is not installed.*'pip install torch'", told)


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "onnx", "x.onnx"],
        ["export", "torchscript", "x.pt"],
        ["train", "fer48", "--data", "x.zip", "--out", "run"],
        ["train", "fer48", "--describe"],
        ["evaluate", "x.safetensors", "--data", "test.zip", "--train", "train.zip"],
        ["judge", "--train", "train.zip", "--out", "judge.safetensors"],
        ["dataset", "x", "--per-emotion", "1", "--min-agreement", "0.5"],
        ["dataset", "x", "--per-emotion", "1", "--device", "cuda"],
        ["generate", "happy", "--device", "cuda"],
        ["verify", "x.png", "--device", "cuda"],
        ["serve", "--device", "cuda"],
    ],
    ids=" ".join,
)
def test_what_needs_torch_says_so(
    weights: Path, without_torch: Mapping[str, str], tmp_path: Path, arguments: list[str]
) -> None:
    needs_torch(emoface(*arguments, env={**without_torch, "EMOFACE_WEIGHTS": str(weights)}, cwd=tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [["generate", "happy"], ["dataset", "x", "--per-emotion", "1"], ["verify", "x.png"], ["serve"]],
    ids=" ".join,
)
def test_residual_weights_need_torch(
    residual_weights: Path, without_torch: Mapping[str, str], tmp_path: Path, arguments: list[str]
) -> None:
    needs_torch(emoface(*arguments, "--weights", residual_weights, env=without_torch, cwd=tmp_path))
    assert not list(tmp_path.iterdir())


def test_doctor_says_what_residual_weights_need(residual_weights: Path, without_torch: Mapping[str, str]) -> None:
    done = emoface("doctor", "--json", "--weights", residual_weights, env=without_torch)
    assert done.returncode == 1, done.stderr
    wrong = [check for check in json.loads(done.stdout)["checks"] if check["status"] == "wrong"]
    assert len(wrong) == 1
    assert "PyTorch, which is not installed" in wrong[0]["found"]
    assert "pip install torch" in wrong[0]["found"] + wrong[0]["mend"]
