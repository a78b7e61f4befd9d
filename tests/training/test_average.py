"""The mean of weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from model import FaceSampler, WeightsError
from model.generator import Generator, GeneratorConfig
from model.weights import load_generator, save_weights
from tests.cli.running import in_process
from training.average import average_weights

CONFIG = GeneratorConfig(resolution=16, latent_dim=8, emotion_dim=4, widths=(8, 8))


def saved(folder: Path, name: str, seed: int, config: GeneratorConfig = CONFIG) -> Path:
    torch.manual_seed(seed)
    generator = Generator(config)
    generator.train()(torch.randn(32, config.latent_dim), torch.softmax(torch.randn(32, len(config.emotions)), 1))
    save_weights(folder / name, generator.eval(), {"images_seen": seed, "recipe": {"name": name}}, torch.float32)
    return folder / name


def test_every_tensor_is_the_mean_and_the_card_names_what_it_is_of(tmp_path: Path) -> None:
    paths = [saved(tmp_path, f"{seed}.safetensors", seed) for seed in (1, 2, 3)]
    card = average_weights(paths, tmp_path / "mean.safetensors")
    states = [load_generator(path)[0].state_dict() for path in paths]
    mean, told, _ = load_generator(tmp_path / "mean.safetensors")
    for name, tensor in mean.state_dict().items():
        expected = torch.stack([state[name].double() for state in states]).mean(0)
        # Parameters are stored in half precision.
        torch.testing.assert_close(tensor.double(), expected, rtol=1e-3, atol=1e-4)
        assert name.endswith("num_batches_tracked") or not torch.equal(tensor, states[2][name]) or tensor.std() == 0
    assert told == card
    assert told["recipe"]["name"] == "3.safetensors"
    assert [one["images_seen"] for one in told["averaged"]] == [1, 2, 3]
    assert [one["sha256"] for one in told["averaged"]] == [FaceSampler.load(path, "cpu").sha256 for path in paths]


def test_who_becomes_a_person_is_found_anew_for_a_mean(tmp_path: Path) -> None:
    choosy = GeneratorConfig(resolution=16, latent_dim=8, emotion_dim=4, widths=(8, 8), acceptance=(4,))
    paths = [saved(tmp_path, "plain.safetensors", 1), saved(tmp_path, "choosy.safetensors", 2, choosy)]
    average_weights(paths, tmp_path / "mean.safetensors")
    assert load_generator(tmp_path / "mean.safetensors")[0].config == CONFIG


def test_the_mean_of_one_file_twice_is_that_file(tmp_path: Path) -> None:
    path = saved(tmp_path, "one.safetensors", 1)
    average_weights([path, path], tmp_path / "mean.safetensors")
    once = load_generator(path)[0].half().float().state_dict()
    for name, tensor in load_generator(tmp_path / "mean.safetensors")[0].half().float().state_dict().items():
        torch.testing.assert_close(tensor, once[name], rtol=0, atol=0)


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    one = saved(tmp_path, "one.safetensors", 1)
    other = saved(tmp_path, "other.safetensors", 2, GeneratorConfig(resolution=16, latent_dim=9, widths=(8, 8)))
    with pytest.raises(WeightsError, match="another configuration"):
        average_weights([one, other], tmp_path / "mean.safetensors")
    with pytest.raises(ValueError, match="two weight files"):
        average_weights([one], tmp_path / "mean.safetensors")
    assert not (tmp_path / "mean.safetensors").exists()


def test_the_command_says_where_it_is_or_why_there_is_none(tmp_path: Path) -> None:
    paths = [saved(tmp_path, f"{seed}.safetensors", seed) for seed in (1, 2)]
    out = tmp_path / "mean.safetensors"
    done = in_process("average", *paths, "-o", out)
    assert (done.exit_code, done.stdout) == (0, f"{out}\n")
    assert FaceSampler.load(out, "cpu").card["averaged"][0]["images_seen"] == 1
    told = json.loads(in_process("average", *paths, "-o", out, "--json").stdout)
    assert told == {"file": str(out), "sha256": FaceSampler.load(out, "cpu").sha256}
    done = in_process("average", paths[0], "-o", out)
    assert done.exit_code == 1
    assert "two weight files" in done.stderr
    done = in_process("average", *paths, "-o", paths[0] / "mean.safetensors")
    assert done.exit_code == 1
    assert "cannot write" in done.stderr
