"""The tiny generators that most tests here use. Tests must not change their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model.networks.checkpoint import save_generator
from model.networks.style import StyleGenerator
from tests.model.tiny import batch_norm_generator, style_generator


@pytest.fixture(scope="session")
def generator() -> StyleGenerator:
    return style_generator()


@pytest.fixture(scope="session")
def residual() -> Any:
    return batch_norm_generator()


@pytest.fixture
def path(tmp_path: Path, generator: StyleGenerator) -> Path:
    """A weight file of :func:`generator`."""
    save_generator(tmp_path / "small.safetensors", generator, {"images_seen": 12})
    return tmp_path / "small.safetensors"
