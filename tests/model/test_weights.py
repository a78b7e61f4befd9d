"""One file, or one sentence that says why not."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from model import FaceRequest, FaceSampler, WeightsError, default_weights
from model.emotions import FER2013, EmotionMix
from model.weights import load_generator, save_weights


@pytest.fixture
def path(tmp_path, generator):
    save_weights(tmp_path / "small.safetensors", generator, {"images_seen": 12})
    return tmp_path / "small.safetensors"


def _rewrite(path, **changes):
    """Write the file again with some of its header changed."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["emoface"])
    save_file(load_file(path), path, {"emoface": json.dumps(header | changes)})


def test_what_is_saved_is_what_is_loaded(path, generator):
    loaded, card, sha256 = load_generator(path)
    assert card == {"images_seen": 12}
    assert loaded.config == generator.config
    assert not loaded.training
    for name, tensor in generator.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            rounded = tensor.half().float() if "running" not in name else tensor
            torch.testing.assert_close(loaded.state_dict()[name], rounded, rtol=0, atol=0)
    sampler = FaceSampler.load(path, "cpu")
    assert (sampler.sha256, sampler.name, sampler.emotions) == (sha256, "small", FER2013)


def test_half_precision_moves_a_face_by_two_grey_levels_at_most(path, generator):
    requests = [FaceRequest(EmotionMix.parse(name, FER2013), seed) for seed in range(4) for name in FER2013]
    stored = FaceSampler.load(path, "cpu").sample(requests).astype(int)
    exact = FaceSampler(generator).sample(requests).astype(int)
    assert np.abs(stored - exact).max() <= 2


def test_the_same_weights_give_the_same_file(path, tmp_path, generator):
    again = tmp_path / "again.safetensors"
    save_weights(again, generator, {"images_seen": 12})
    assert again.read_bytes() == path.read_bytes()
    assert save_weights(again, generator, {"images_seen": 13}) != load_generator(path)[2]


def test_others_may_read_the_file(path):
    assert path.stat().st_mode & 0o044 == 0o044
    assert not list(path.parent.glob(".*"))


def test_a_missing_file(tmp_path):
    with pytest.raises(WeightsError, match=r"none.safetensors' cannot be used: there is no such file\."):
        load_generator(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, 0.999])
def test_a_truncated_file(path, keep):
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(len(content) * keep)])
    with pytest.raises(WeightsError, match="truncated or not a safetensors file"):
        load_generator(path)


def test_a_pickle_is_not_even_opened(path):
    torch.save({"a": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_generator(path)


def test_another_projects_safetensors(path):
    save_file({"a": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="not one of emoface's"):
        load_generator(path)


def test_a_flipped_bit(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="do not match the hash"):
        load_generator(path)


def test_an_edited_card(path):
    _rewrite(path, card={"images_seen": 10**9})
    with pytest.raises(WeightsError, match="do not match the hash"):
        load_generator(path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": 2}, "its format is 2; this version reads 1"),
        ({"config": {"resolution": 24, "wings": 2}}, "describes no generator"),
        ({"config": {"resolution": 50}}, "describes no generator"),
        ({"config": 7}, "describes no generator"),
    ],
)
def test_a_header_of_another_version(path, changes, says):
    _rewrite(path, **changes)
    with pytest.raises(WeightsError, match=says):
        load_generator(path)


def test_a_header_that_is_no_json(path):
    save_file(load_file(path), path, {"emoface": "{"})
    with pytest.raises(WeightsError, match="describes no generator"):
        load_generator(path)


def test_tensors_of_another_architecture(path, generator, monkeypatch):
    # A file whose hash is right and whose header lies about the shape.
    monkeypatch.setattr("model.weights.asdict", lambda config: {"resolution": 24, "widths": [8, 8]})
    save_weights(path, generator, {})
    with pytest.raises(WeightsError, match="another architecture"):
        load_generator(path)


@pytest.mark.parametrize(
    "lie", [{"latent_dim": -1}, {"widths": [16.0, 8]}, {"widths": [8, "8"]}, {"latent_dim": 2**40}]
)
def test_a_header_of_no_possible_generator(path, generator, monkeypatch, lie):
    monkeypatch.setattr("model.weights.asdict", lambda config: {"resolution": 24, **lie})
    save_weights(path, generator, {})
    with pytest.raises(WeightsError, match=r"another architecture|describes no generator"):
        load_generator(path)


def test_weights_that_are_not_finite(path, generator):
    from copy import deepcopy

    broken = deepcopy(generator)
    with torch.no_grad():
        broken.head.weight[0, 0, 0, 0] = float("nan")
    save_weights(path, broken, {})
    with pytest.raises(WeightsError, match="not finite"):
        load_generator(path)


def test_the_environment_names_the_default(monkeypatch, tmp_path):
    monkeypatch.setenv("EMOFACE_WEIGHTS", str(tmp_path / "mine.safetensors"))
    assert default_weights() == tmp_path / "mine.safetensors"
    monkeypatch.delenv("EMOFACE_WEIGHTS")
    assert default_weights().name == "fer48.safetensors"
