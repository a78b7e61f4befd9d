"""Small weights, and ways to run the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from model.networks.checkpoint import save_generator
from model.networks.configs import StyleGeneratorConfig
from tests.model.tiny import style_generator

SMALL = StyleGeneratorConfig(resolution=24, widths=(16, 16), latent_dim=8, w_dim=16, emotion_dim=4)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_generator(path, style_generator(SMALL), {})
    return path


@pytest.fixture
def environment(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Small weights, a folder and a home of its own, and emoface in the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMOFACE_WEIGHTS", str(weights))
    monkeypatch.setenv("EMOFACE_DEVICE", "cpu")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return dict(os.environ)
