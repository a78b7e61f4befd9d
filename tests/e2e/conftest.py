"""One service process, with small random weights, for all tests that do not stop theirs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, sync_playwright

from model.generator import Generator, GeneratorConfig
from model.weights import save_weights
from tests.e2e.browsing import BROWSERS, FLAGS
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


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert path, f"the browser tests need one of {', '.join(BROWSERS)} on the PATH (Debian: apt-get install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()
