"""Inception's features: what is said where they are missing, and the protocol where they are not."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.inception import NAMES, Inception, InceptionError, default_places, load_inception


class _Mean(torch.nn.Module):
    """Stands for InceptionV3: 2048 times the mean of an image's first pixels, of uint8 RGB."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        assert images.dtype == torch.uint8
        assert images.shape[1] == 3
        return (images[:, :, 0, 0].float().mean(1, keepdim=True).expand(-1, 2048),)


def test_grey_is_repeated_to_rgb_and_batches_are_put_together():
    images = np.random.default_rng(0).integers(0, 256, (7, 1, 8, 8)).astype(np.uint8)
    features = Inception(_Mean(), batch=3).features(images)
    assert features.shape == (7, 2048)
    np.testing.assert_array_equal(features[:, 5], images[:, 0, 0, 0])
    np.testing.assert_array_equal(Inception(_Mean()).features(np.repeat(images, 3, axis=1)), features)
    with pytest.raises(ValueError, match="uint8 images"):
        Inception(_Mean()).features(images[:, 0])


def test_without_torch_fidelity_the_message_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(InceptionError, match="pip install torch-fidelity"):
        load_inception()


def test_the_weights_are_looked_for_where_torch_keeps_them(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    assert default_places() == [tmp_path / "checkpoints" / name for name in NAMES]


@pytest.fixture(scope="module")
def library() -> Any:
    return pytest.importorskip("torch_fidelity")


@pytest.fixture(scope="module")
def weights(library: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of InceptionV3."""
    path = tmp_path_factory.mktemp("inception") / NAMES[1]
    torch.save({}, path)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        network = library.FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=str(path))
    torch.save(network.state_dict(), path)
    return path


def test_the_first_file_there_is_is_loaded_and_used_by_the_protocol(library, weights, tmp_path):
    inception = load_inception(places=[tmp_path / "absent.pth", weights], batch=1)
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 48, 48)).astype(np.uint8)
    features = inception.features(images)
    peer = library.FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=str(weights))
    expected = peer(torch.from_numpy(images).repeat(1, 3, 1, 1))[0]
    torch.testing.assert_close(torch.from_numpy(features), expected, rtol=1e-3, atol=1e-4)
    assert features.std(axis=0).max() > 0


def _write_nothing(path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(3)}, path)


class _Evil:
    """A pickle that, when it is loaded, writes a file."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.victim,)


def _write_evil(path: Path) -> None:
    path.write_bytes(pickle.dumps(_Evil(path.with_name("written")), protocol=2))


@pytest.mark.parametrize("write", [_write_nothing, _write_evil, lambda path: path.write_bytes(b"")])
def test_a_file_of_something_else_is_named_and_never_run(library, tmp_path, write):
    path = tmp_path / "other.pth"
    write(path)
    with pytest.raises(InceptionError, match=r"other\.pth does not hold InceptionV3's weights"):
        load_inception(path)
    assert not path.with_name("written").exists()


def test_missing_weights_are_named(library, tmp_path):
    with pytest.raises(InceptionError, match=r"missing; download .*releases to .*absent\.pth"):
        load_inception(tmp_path / "absent.pth")
