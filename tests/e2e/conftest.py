"""One service process, with small random weights, for all tests that do not stop theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model.generator import Generator, GeneratorConfig
from model.weights import save_weights
from tests.e2e.processes import Service, service


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, Generator(GeneratorConfig(widths=(16, 16, 8), latent_dim=16, emotion_dim=8)), {})
    return path


@pytest.fixture(scope="session")
def running(weights: Path) -> Iterator[Service]:
    with service(weights) as started:
        yield started
