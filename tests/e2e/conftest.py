"""One service process, with small random weights, for all tests that do not stop theirs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from model.networks.checkpoint import save_generator
from model.networks.configs import StyleGeneratorConfig
from tests.e2e.browsing import BROWSERS, FLAGS
from tests.e2e.processes import Service, service
from tests.model.tiny import style_generator


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    config = StyleGeneratorConfig(widths=(16, 16, 8), latent_dim=16, w_dim=16, emotion_dim=8)
    save_generator(path, style_generator(config, seed=1), {})
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
