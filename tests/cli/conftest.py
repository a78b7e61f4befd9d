"""Small weights, and ways to run the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.generator import Generator, GeneratorConfig
from model.weights import save_weights


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(path, Generator(GeneratorConfig(resolution=24, widths=(16, 16), latent_dim=8)), {})
    return path
