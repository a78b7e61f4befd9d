"""``emoface export``: what is written is run by the runtime that it is for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime

from tests.cli.running import in_process


def test_an_exported_generator_runs(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    done = in_process("export", "onnx", out, "--weights", weights)
    assert done.exit_code == 0, done.stderr
    assert f"{out}: {out.stat().st_size:,} bytes; run on 26 faces" in done.stdout
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    inputs = {
        "latent": np.zeros((3, 8), np.float32),
        "emotion": np.full((3, 7), 1 / 7, np.float32),
        "truncation": np.ones(3, np.float32),
    }
    assert session.run(None, inputs)[0].shape == (3, 24, 24, 1)


def test_json_says_how_far_apart_they_are(weights: Path, tmp_path: Path) -> None:
    told = json.loads(in_process("export", "torchscript", tmp_path / "x.pt", "--json", "--weights", weights).stdout)
    assert told["difference"] <= told["tolerance"]
    assert told["bytes"] == (tmp_path / "x.pt").stat().st_size


def test_what_cannot_be_is_one_sentence(weights: Path, tmp_path: Path) -> None:
    done = in_process("export", "torchscript", tmp_path / "no" / "x.pt", "--weights", weights)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "cannot write" in done.stderr
    done = in_process("export", "torchscript", tmp_path / "x.pt", "--weights", tmp_path / "none")
    assert (done.exit_code, "no such file" in done.stderr) == (1, True)
    assert in_process("export", "coreml", tmp_path / "x.pt").exit_code == 2
