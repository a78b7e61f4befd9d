"""One file, or one sentence that says why not."""

from __future__ import annotations

import json
import struct
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch_file

from model import FaceRequest, FaceSampler, WeightsError, default_weights
from model import weights as module
from model.emotions import FER2013, FERPLUS, EmotionMix
from model.networks.checkpoint import generator_arrays, half_precision, load_generator, save_generator
from model.networks.configs import GENERATORS, config_to_dict
from model.weights import FORMAT, read_weights, write_weights
from tests.model.tiny import RESIDUAL, STYLE, batch_norm_generator, random_inputs, style_generator


def _header(path):
    with safe_open(path, framework="np") as file:
        return json.loads(file.metadata()["emoface"])


def _rewrite(path, **changes):
    """Write the file again with some of its header changed, but with the old hash."""
    header = _header(path) | changes
    save_file(load_file(path), path, {"emoface": json.dumps(header)})


def _forge(path, arrays, table, card=None):
    """Write a file whose hash is right, whatever it says of its generator."""
    header = {"format": FORMAT, "config": table, "card": card or {}}
    header["sha256"] = module._digest(arrays, table, header["card"])
    save_file(arrays, path, {"emoface": json.dumps(header)})


def _refusal(path, read=read_weights):
    """What is said of a file that cannot be used: the reason after the name, of one sentence and one line."""
    with pytest.raises(WeightsError) as caught:
        read(path)
    text, start = str(caught.value), f"weights {str(path)!r} cannot be used: "
    assert text.startswith(start)
    assert text.endswith(".")
    assert "\n" not in text
    assert (caught.value.path, caught.value.reason) == (path, text.removeprefix(start))
    return caught.value.reason


# ---- what can be used ----


def test_what_is_written_is_what_is_read(path, generator):
    file = read_weights(path)
    assert (file.config, file.card, file.path) == (generator.config, {"images_seen": 12}, path)
    assert file.parameters == sum(tensor.numel() for tensor in generator.state_dict().values())
    assert {name: array.shape for name, array in file.arrays.items()} == STYLE.shapes()
    for name, tensor in generator.state_dict().items():
        stored = file.arrays[name]
        assert stored.dtype == (np.float32 if name == "w_average" else np.float16)
        np.testing.assert_array_equal(stored, tensor.numpy().astype(stored.dtype))


def test_its_header_names_format_2_and_the_architecture(path):
    header = _header(path)
    assert header["format"] == FORMAT == 2
    assert header["config"]["architecture"] == "style"
    assert set(header) == {"format", "config", "card", "sha256"}


@pytest.mark.parametrize("architecture", GENERATORS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_every_architecture_comes_back_as_it_was_saved(tmp_path, architecture, dtype):
    config: Any = GENERATORS[architecture](24, 3, FERPLUS, (8, 6), 5)
    made = style_generator(config) if architecture == "style" else batch_norm_generator(config)
    sha256 = save_generator(tmp_path / "a.safetensors", made, {"note": "é"}, dtype)
    loaded, card, found = load_generator(tmp_path / "a.safetensors")
    assert (loaded.config, type(loaded), card, found) == (config, type(made), {"note": "é"}, sha256)
    assert not loaded.training
    parameters = {name for name, _ in made.named_parameters()}
    for name, tensor in made.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            rounded = tensor.to(dtype).float() if name in parameters else tensor
            assert torch.equal(loaded.state_dict()[name], rounded), name
    if dtype is torch.float32:
        inputs = [torch.from_numpy(rows) for rows in random_inputs(config, 4)]
        torch.testing.assert_close(loaded(*inputs), made(*inputs))


def test_half_precision_keeps_statistics_whole_and_counts_as_they_are():
    made = batch_norm_generator()
    stored = half_precision(made)
    assert stored["norm.norm.running_var"].dtype == torch.float32
    assert stored["norm.norm.num_batches_tracked"].dtype == torch.int64
    assert stored["dense.weight"].dtype == torch.float16
    assert half_precision(made, torch.bfloat16)["dense.weight"].dtype == torch.bfloat16


def test_half_precision_moves_a_face_by_two_grey_levels_at_most(path, generator):
    requests = [FaceRequest(EmotionMix.parse(name, FER2013), seed) for seed in range(4) for name in FER2013]
    stored = FaceSampler.load(path, "cpu").sample(requests).astype(int)
    exact = FaceSampler(generator).sample(requests).astype(int)
    assert np.abs(stored - exact).max() <= 2


def test_equal_weights_give_equal_files(path, tmp_path, generator):
    again = tmp_path / "again.safetensors"
    sha256 = save_generator(again, generator, {"images_seen": 12})
    assert again.read_bytes() == path.read_bytes()
    arrays = dict(reversed(generator_arrays(generator, torch.float16).items()))
    assert write_weights(again, generator.config, arrays, {"images_seen": 12}) == sha256
    assert again.read_bytes() == path.read_bytes()


def test_the_hash_depends_on_card_configuration_and_every_tensor(path, tmp_path, generator):
    arrays = load_file(path)
    config = generator.config
    changed = arrays | {"embed.weight": arrays["embed.weight"] + np.float16(0.5)}
    hashes = {
        read_weights(path).sha256,
        write_weights(tmp_path / "b", config, arrays, {"images_seen": 13}),
        write_weights(tmp_path / "b", config, changed, {"images_seen": 12}),
        write_weights(tmp_path / "b", replace(config, emotions=FERPLUS[1:]), arrays, {"images_seen": 12}),
    }
    assert len(hashes) == 4


def test_others_may_read_the_file(path):
    assert path.stat().st_mode & 0o044 == 0o044
    assert not list(path.parent.glob(".*"))


def test_the_environment_names_the_default(monkeypatch, tmp_path):
    monkeypatch.setenv("EMOFACE_WEIGHTS", str(tmp_path / "mine.safetensors"))
    assert default_weights() == tmp_path / "mine.safetensors"
    monkeypatch.delenv("EMOFACE_WEIGHTS")
    assert default_weights().name == "fer48.safetensors"


# ---- what cannot ----


@pytest.mark.parametrize("read", [read_weights, load_generator, FaceSampler.load])
def test_a_missing_file(tmp_path, read):
    assert _refusal(tmp_path / "none.safetensors", read) == "there is no such file."
    assert _refusal(tmp_path, read) == "there is no such file."


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, 0.999])
def test_a_truncated_file(path, keep):
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(len(content) * keep)])
    assert _refusal(path).startswith("it is truncated or not a safetensors file")


def test_a_pickle_is_not_even_opened(path):
    torch.save({"a": torch.zeros(3)}, path)
    assert _refusal(path).startswith("it is truncated or not a safetensors file")


def test_another_projects_safetensors(path):
    for metadata in (None, {"format": "pt"}):
        save_file({"a": np.zeros(3, np.float32)}, path, metadata)
        assert _refusal(path) == "it is a safetensors file, but not one of emoface's."


def test_a_flipped_bit(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    assert _refusal(path) == "its contents do not match the hash in its header; fetch the file again."


@pytest.mark.parametrize("changes", [{"card": {"images_seen": 10**9}}, {"sha256": "0" * 64}, {"sha256": None}])
def test_an_edited_header(path, changes):
    _rewrite(path, **changes)
    assert _refusal(path) == "its contents do not match the hash in its header; fetch the file again."


def test_a_file_of_format_1_is_refused_with_both_versions_named(path):
    # As the versions before wrote it: one architecture, whose name could be left out.
    config = {"resolution": 48, "channels": 1, "emotions": list(FER2013), "latent_dim": 128, "widths": [256, 256, 128]}
    _rewrite(path, format=1, config=config)
    for read in (read_weights, load_generator, FaceSampler.load):
        assert _refusal(path, read) == "its format is 1; this version reads 2."


@pytest.mark.parametrize("other", [3, "2", None, [2]])
def test_another_format(path, other):
    _rewrite(path, format=other)
    assert _refusal(path) == f"its format is {other!r}; this version reads 2."


@pytest.mark.parametrize(
    "entry", ["{", "7", "null", "[]", '"emoface"', '{"format": 2}', '{"format": 2, "card": 7}', "", "[" * 10**5]
)
def test_a_header_that_is_no_header(path, entry):
    save_file(load_file(path), path, {"emoface": entry})
    assert _refusal(path).startswith("its header describes no generator of this version (")


@pytest.mark.parametrize(
    "lie",
    [
        {"architecture": "cubist"},
        {"architecture": None},
        {"architecture": ["style"]},
        {"resolution": 50},
        {"resolution": "16"},
        {"resolution": -16},
        {"resolution": 16.0},
        {"channels": 2},
        {"widths": []},
        {"widths": [8, -8, 4]},
        {"widths": [8.0, 8, 4]},
        {"widths": [8] * 6},
        {"emotions": ["happy"] * 2},
        {"emotions": "happy"},
        {"latent_dim": True},
        {"latent_dim": 2**40},
        {"widths": [2**40, 2**40, 2**40]},
        {"resolution": 3 * 2**40},
        {"mapping_layers": 10**9},
        {"wings": 2},
    ],
)
def test_a_header_of_no_possible_generator(path, lie):
    _forge(path, load_file(path), _header(path)["config"] | lie)
    assert _refusal(path).startswith("its header describes no generator of this version (")


@pytest.mark.parametrize("table", [None, 7, [], "style", [["architecture", "style"], 3]])
def test_a_header_whose_configuration_is_no_table(path, table):
    _forge(path, load_file(path), table)
    assert _refusal(path).startswith("its header describes no generator of this version (")


@pytest.mark.parametrize(
    "lie",
    [
        {"latent_dim": 9},
        {"latent_dim": 2**16},
        {"widths": [8, 8, 8]},
        {"widths": [2**16, 2**16, 2**16]},
        {"resolution": 3 * 2**10},
        {"emotions": list(FERPLUS)},
        {"channels": 3},
        {"mapping_layers": 3},
    ],
)
def test_tensors_of_another_shape_than_the_header_describes(path, lie):
    _forge(path, load_file(path), _header(path)["config"] | lie)
    assert _refusal(path) == "its tensors are those of another architecture than its header describes."


@pytest.mark.parametrize("lie", [{"latent_dim": 9}, {"latent_dim": 2**16}, {"widths": [2**16, 2**16]}, {"channels": 3}])
def test_so_it_is_where_torch_knows_the_shapes(tmp_path, residual, lie):
    path = tmp_path / "residual.safetensors"
    save_generator(path, residual, {})
    _forge(path, load_file(path), config_to_dict(RESIDUAL) | lie)
    for read in (load_generator, lambda name: FaceSampler.load(name, "cpu")):
        reason = _refusal(path, read)
        assert "another architecture" in reason or "describes no generator" in reason


@pytest.mark.parametrize("architecture", ["residual", "convolutional", "dense"])
def test_the_tensors_of_one_architecture_under_the_name_of_another(path, architecture):
    _forge(path, load_file(path), {"architecture": architecture, "resolution": 16, "widths": [8, 8]})
    assert "another architecture" in _refusal(path, load_generator)


def test_a_tensor_too_few_and_one_too_many(path):
    arrays, table = load_file(path), _header(path)["config"]
    fewer = {name: array for name, array in arrays.items() if name != "w_average"}
    for wrong in (fewer, arrays | {"extra": np.zeros(1, np.float32)}):
        _forge(path, wrong, table)
        assert _refusal(path) == "its tensors are those of another architecture than its header describes."


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(path, generator, tmp_path, residual, value):
    broken = deepcopy(generator)
    with torch.no_grad():
        broken.constant[0, 0, 0, 0] = value
    save_generator(path, broken, {})
    assert _refusal(path) == "it holds numbers that are not finite."
    broken = deepcopy(residual)
    with torch.no_grad():
        broken.head.weight[0, 0, 0, 0] = value
    save_generator(path, broken, {})
    assert _refusal(path) == "it holds numbers that are not finite."


def test_numbers_beyond_float16_are_refused_when_read(path, generator):
    broken = deepcopy(generator)
    with torch.no_grad():
        broken.constant[0, 0, 0, 0] = 1e6
    save_generator(path, broken, {})
    assert _refusal(path) == "it holds numbers that are not finite."


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint16, np.bool_])
def test_tensors_that_are_not_floats(path, tmp_path, residual, dtype):
    arrays = load_file(path)
    _forge(path, arrays | {"w_average": arrays["w_average"].astype(dtype)}, _header(path)["config"])
    assert _refusal(path) == "its tensors are not floating-point numbers."
    arrays = generator_arrays(residual)
    _forge(path, arrays | {"dense.bias": arrays["dense.bias"].astype(dtype)}, config_to_dict(RESIDUAL))
    assert _refusal(path, load_generator) == "its tensors are not floating-point numbers."


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
def test_floats_that_numpy_does_not_know(path, generator, dtype):
    header = _header(path)
    tensors = {name: tensor.to(dtype).contiguous() for name, tensor in generator.state_dict().items()}
    save_torch_file(tensors, path, {"emoface": json.dumps(header)})
    _refusal(path)


def test_a_file_that_claims_more_than_it_holds(path):
    # The length of the header, then the header: a tensor of 2**60 bytes.
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**58], "data_offsets": [0, 2**60]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    assert _refusal(path).startswith("it is truncated or not a safetensors file")
    path.write_bytes(struct.pack("<Q", 2**60) + header)
    assert _refusal(path).startswith("it is truncated or not a safetensors file")
