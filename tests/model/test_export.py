"""Exported generators draw the sampler's faces in the runtimes that they are for."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from model import EmotionMix, FaceRequest, FaceSampler, WeightsError
from model.export import EXTRA_FILE, FORMATS, TOLERANCE, ExportError, export_weights
from model.networks.build import build_generator
from model.networks.checkpoint import save_generator
from model.networks.configs import GENERATORS, generator_config
from tests.model.tiny import style_generator


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "loud.safetensors"
    save_generator(path, style_generator(), {})
    return path


def run(path: Path, latents: Any, emotions: Any, truncations: Any) -> Any:
    """Run a file as its users do, with nothing of ours."""
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session.run(None, {"latent": latents, "emotion": emotions, "truncation": truncations})[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        script = torch.jit.load(path)
    return script(*(torch.from_numpy(rows) for rows in (latents, emotions, truncations))).numpy()


@pytest.mark.parametrize("format", FORMATS)
def test_a_seed_is_the_same_person_in_the_exported_file(weights: Path, tmp_path: Path, format: str) -> None:
    out = tmp_path / f"loud.{format}"
    done = export_weights(weights, format, out)
    assert done.bytes == out.stat().st_size
    assert done.difference <= TOLERANCE
    sampler = FaceSampler.load(weights, "cpu")
    mix = EmotionMix.parse({"happy": 0.7, "surprise": 0.3}, sampler.emotions)
    for count in (1, 5, 17):
        requests = [FaceRequest(mix, seed, intensity=1.2, truncation=0.8) for seed in range(count)]
        latents = np.stack([sampler.latent(seed) for seed in range(count)])
        emotions = np.stack([mix.vector(sampler.emotions, 1.2)] * count)
        faces, expected = run(out, latents, emotions, np.full(count, 0.8, np.float32)), sampler.sample(requests)
        assert (faces.dtype, faces.shape) == (np.uint8, (count, 16, 16, 1))
        assert np.abs(faces.astype(int) - expected).max() <= TOLERANCE
        assert expected.std() > 10, "faces of one grey would always agree"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("architecture", GENERATORS)
def test_every_architecture_in_colour_with_a_vocabulary_of_its_own(
    tmp_path: Path, format: str, architecture: str
) -> None:
    torch.manual_seed(0)
    shape = {"resolution": 16, "channels": 3, "emotions": ["calm", "wild"], "latent_dim": 8, "widths": [16, 8]}
    config = generator_config({"architecture": architecture, "emotion_dim": 4, **shape})
    save_generator(tmp_path / "own.safetensors", build_generator(config).eval(), {})
    done = export_weights(tmp_path / "own.safetensors", format, tmp_path / f"own.{format}")
    assert done.faces == 1 + 3 + 8 + 2
    latents, emotions = np.ones((4, 8), np.float32), np.full((4, 2), 0.5, np.float32)
    assert run(tmp_path / f"own.{format}", latents, emotions, np.ones(4, np.float32)).shape == (4, 16, 16, 3)


def test_the_files_say_what_they_are(weights: Path, tmp_path: Path) -> None:
    sampler = FaceSampler.load(weights, "cpu")
    export_weights(weights, "onnx", tmp_path / "x.onnx")
    props = {prop.key: prop.value for prop in onnx.load(tmp_path / "x.onnx").metadata_props}
    assert props["emoface:sha256"] == sampler.sha256
    assert json.loads(props["emoface:emotions"]) == list(sampler.emotions)
    assert props["emoface:model"] == f"loud@{sampler.sha256[:12]}"
    export_weights(weights, "torchscript", tmp_path / "x.pt")
    extra: dict[str, Any] = {EXTRA_FILE: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.load(tmp_path / "x.pt", _extra_files=extra)
    told = json.loads(extra[EXTRA_FILE])
    assert {f"emoface:{name}": value for name, value in told.items()} == {
        name: value for name, value in props.items() if name.startswith("emoface:")
    }


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_draws_other_faces_is_not_written(
    weights: Path, tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = FaceSampler.draw

    def other(self: FaceSampler, *inputs: Any) -> Any:
        return draw(self, *inputs) ^ np.uint8(3)

    monkeypatch.setattr(FaceSampler, "draw", other)
    with pytest.raises(ExportError, match="3 grey levels, and 2 may; nothing was written"):
        export_weights(weights, format, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_what_is_missing_is_named(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ExportError, match="needs onnxscript, which is missing; 'pip install onnx"):
        export_weights(weights, "onnx", tmp_path / "x.onnx")


def test_what_cannot_be_is_told(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown format 'coreml' of exports; known: onnx, torchscript\."):
        export_weights(weights, "coreml", tmp_path / "x")
    with pytest.raises(WeightsError, match="no such file"):
        export_weights(tmp_path / "none", "onnx", tmp_path / "x")
    with pytest.raises(OSError, match="No such file"):
        export_weights(weights, "torchscript", tmp_path / "no" / "x.pt")


def test_nothing_is_left_behind_and_equal_weights_are_equal_files(weights: Path, tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        export_weights(weights, "onnx", tmp_path / name)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
