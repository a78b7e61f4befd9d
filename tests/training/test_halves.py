"""Networks are stored in half precision by one rule, and files are those of before."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import nn

from model.networks.checkpoint import half_precision
from training.judge import Judge, JudgeConfig, shipped_judges


def test_parameters_are_halved_and_statistics_are_not():
    network = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Conv2d(2, 3, 3)), nn.BatchNorm2d(3))
    network.to(memory_format=torch.channels_last)
    network(torch.randn(4, 2, 5, 5) * 1e4)
    stored, own = half_precision(network), network.state_dict()
    assert stored.keys() == own.keys()
    kinds = {name: tensor.dtype for name, tensor in stored.items()}
    assert kinds["1.weight"] == kinds["1.bias"] == kinds["0.parametrizations.weight.original"] == torch.float16
    assert kinds["1.running_var"] == kinds["0.parametrizations.weight.0._u"] == torch.float32
    assert kinds["1.num_batches_tracked"] == torch.int64
    assert torch.equal(stored["1.running_var"], own["1.running_var"])
    assert own["1.running_var"].max() > 65504  # beyond float16
    assert half_precision(network, torch.bfloat16)["1.weight"].dtype == torch.bfloat16
    assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in stored.values())


@pytest.mark.parametrize("path", shipped_judges(), ids=lambda path: path.stem)
def test_what_ships_is_saved_as_it_was_but_for_settings_that_are_newer(path, tmp_path):
    judge = Judge.load(path)
    judge.save(tmp_path / "judge.safetensors")
    with safe_open(path, framework="pt") as file:
        (entry,) = file.metadata()
        header = json.loads(file.metadata()[entry])
    header["config"] = {**json.loads(json.dumps(asdict(JudgeConfig(judge.config.emotions)))), **header["config"]}
    expected = save(load_file(path), {entry: json.dumps(header, sort_keys=True)})
    assert (tmp_path / "judge.safetensors").read_bytes() == expected
