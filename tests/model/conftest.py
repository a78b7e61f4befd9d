"""A small generator with random weights: real arithmetic, no training."""

from __future__ import annotations

import pytest
import torch

from model.generator import Generator, GeneratorConfig


@pytest.fixture(scope="session")
def generator() -> Generator:
    torch.manual_seed(0)
    made = Generator(GeneratorConfig(resolution=24, latent_dim=16, emotion_dim=8, widths=(32, 32)))
    # Untrained, its outputs hardly differ; louder styles make any mix-up between faces visible.
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(1.5)
        made.train()
        made(torch.randn(256, 16), torch.eye(7)[torch.arange(256) % 7])
    return made.eval()
