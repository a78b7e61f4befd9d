"""Every benchmark that is one script runs, at its smallest, and prints its table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["dataset.py", "--faces", "70", "--rounds", "1", "--device", "cpu"], ["webdataset", "parquet", "bare"]),
        (["encoders.py", "--seconds", "0.01"], ["Pillow", "torchvision"]),
        (
            ["inference.py", "--rounds", "1", "--seconds", "0.01"],
            ["ours, float32", "OpenVINO, batched, bfloat16", "torch, float32", "ONNX Runtime"],
        ),
        (["training_speed.py", "dcgan", "--device", "cpu", "--seconds", "0.1"], ["images/s", "of the best"]),
    ],
)
def test_it_runs(arguments: list[str], says: list[str]) -> None:
    command = [sys.executable, f"benchmarks/{arguments[0]}", *arguments[1:]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env={"PYTHONPATH": "."})
    assert done.returncode == 0, done.stderr[-2000:]
    for words in says:
        assert words in done.stdout
