"""bfloat16 is used where the hardware has it, whatever this version of torch can tell of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training import judge_training
from training.data.packed import load_packed
from training.judge import JudgeConfig, JudgeNetwork
from training.judge_training import train_judge
from training.precision import fast_dtype


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),  # Ice Lake
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),  # Zen 4 and 5, Cooper Lake
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"neon": True, "bf16": True}, torch.bfloat16),  # Graviton 3
        ({"neon": True, "bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_a_cpu_must_report_that_it_has_bfloat16(monkeypatch, capabilities, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert fast_dtype("cpu") == dtype
    assert fast_dtype("cuda") == fast_dtype("cuda:1") == torch.bfloat16


@pytest.mark.parametrize(
    ("older", "dtype"),
    [
        ({"_is_avx512_bf16_supported": False, "_is_amx_tile_supported": False}, torch.float32),
        ({"_is_avx512_bf16_supported": True}, torch.bfloat16),
        ({"_is_amx_tile_supported": True}, torch.bfloat16),
        ({}, torch.float32),
    ],
)
def test_a_torch_that_tells_less_is_asked_what_it_knows(monkeypatch, older, dtype):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
        if name in older:
            monkeypatch.setattr(torch.cpu, name, lambda answer=older[name]: answer, raising=False)
    assert fast_dtype("cpu") == dtype


def test_it_says_of_this_machine_what_the_kernel_says():
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        pytest.skip("no Linux")
    words = set(cpuinfo.read_text().split())
    expected = torch.bfloat16 if words & {"avx512_bf16", "amx_bf16", "bf16", "svebf16"} else torch.float32
    assert fast_dtype("cpu") == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_judge_learns_in_that_arithmetic(faces, monkeypatch, dtype):
    monkeypatch.setattr(judge_training, "fast_dtype", lambda device: dtype)
    seen: set[torch.dtype] = set()

    class Watched(JudgeNetwork):
        def forward(self, images):
            features, votes, given = super().forward(images)
            seen.add(votes.dtype)  # a linear layer's answer is in autocast's arithmetic
            return features, votes, given

    monkeypatch.setattr(judge_training, "JudgeNetwork", Watched)
    data = load_packed(faces)
    train_judge(data.images, data.labels, None, JudgeConfig(data.emotions, 16, 1, widths=(8, 8), epochs=0.1, batch=14))
    assert seen == {dtype}
