"""A new run begins with what another one has learned, and says clearly what it cannot begin with."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file
from typer.testing import CliRunner

from emoface.cli import app
from model.emotions import FERPLUS
from model.networks.checkpoint import load_generator
from model.networks.configs import config_to_dict
from model.weights import read_weights
from tests.training.conftest import ARCHITECTURES, EMOTIONS, TINY, toml, until
from training.data.packed import DatasetWriter, load_packed
from training.judge import shipped
from training.loop import train
from training.recipe import load_recipe, recipe_from_dict
from training.snapshot import START, STATE
from training.start import StartError, save_start, start_from
from training.trainer import Trainer

RECIPE = until(recipe_from_dict(TINY), 400)


@pytest.fixture(scope="module")
def trained(faces, tmp_path_factory):
    """The folder of a run of 400 images, and its weights."""
    out = tmp_path_factory.mktemp("trained")
    return out, train(RECIPE, faces, out, device="cpu").weights


def _trainer(recipe=RECIPE, emotions=EMOTIONS, resolution=16):
    return Trainer(recipe, resolution, 1, emotions, "cpu")


def _part(tensors, name):
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}


def _with_network(recipe, part, **changes):
    own = getattr(recipe, part)
    return replace(recipe, **{part: replace(own, network=replace(own.network, **changes))})


def test_a_start_file_holds_the_generator_in_float16_and_the_discriminator_in_bfloat16(small, tmp_path):
    trainer = _trainer(small)
    save_start(tmp_path / START, trainer.generator, trainer.discriminator, {"images_seen": 3}, 0.25)
    tensors = {}
    for name, dtype in (("generator", torch.float16), ("discriminator", torch.bfloat16)):
        network = getattr(trainer, name)
        learned = {key for key, _ in network.named_parameters()}
        for key, tensor in network.state_dict().items():
            tensors[f"{name}/{key}"] = (tensor.detach().to(dtype) if key in learned else tensor).contiguous()
    header: dict[str, Any] = {
        name: config_to_dict(getattr(trainer, name).config) for name in ("generator", "discriminator")
    }
    header |= {"card": {"images_seen": 3}, "augment_p": 0.25}
    assert (tmp_path / START).read_bytes() == save(tensors, {"emoface-start": json.dumps(header)})


def test_a_discriminator_beyond_the_range_of_float16_stays_finite(tmp_path):
    trainer = _trainer()
    with torch.no_grad():
        trainer.discriminator.logit.weight.fill_(1e6)
    save_start(tmp_path / START, trainer.generator, trainer.discriminator, {})
    start_from(tmp_path / START, trainer)
    assert trainer.discriminator.logit.weight[0, 0].item() == pytest.approx(1e6, rel=1e-2)


def test_a_start_file_gives_both_networks_and_the_probability_of_augmentation(trained):
    out, _ = trained
    trainer = _trainer(replace(RECIPE, seed=5))
    told = start_from(out / START, trainer)
    assert (told["file"], told["images_seen"]) == (START, 400)
    assert len(told["sha256"]) == 64
    stored = load_file(out / START)
    for name, network in trainer.modules().items():
        expected = _part(stored, "generator" if name == "g_ema" else name)
        own = network.state_dict()
        assert own.keys() == expected.keys()
        assert all(torch.equal(own[key], value.float()) for key, value in expected.items())
        assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    with safe_open(out / STATE, framework="pt") as file:
        assert trainer.augment_p == json.loads(file.metadata()["progress"])["augment_p"] > 0


@pytest.mark.parametrize(("augment", "p"), [({"maximum": 0.2}, 0.2), ({"target": 0.0}, 0.0), ({}, 0.5)])
def test_the_probability_of_augmentation_stays_within_what_the_recipe_allows(augment, p, tmp_path):
    trainer = _trainer(replace(RECIPE, augment=replace(RECIPE.augment, **augment)))
    save_start(tmp_path / START, trainer.generator, trainer.discriminator, {}, 0.5)
    start_from(tmp_path / START, trainer)
    assert trainer.augment_p == pytest.approx(p)


def test_a_run_goes_on_from_where_it_started_and_its_card_says_so(faces, trained, tmp_path):
    out, _ = trained
    said: list[str] = []
    result = train(until(RECIPE, 8), faces, tmp_path / "on", device="cpu", start=out / START, warn=said.append)
    assert said == []
    card = read_weights(result.weights).card
    assert card["started_from"]["file"] == START
    assert card["started_from"]["images_seen"] == 400
    # One step moves little, so what is drawn is still what the first run drew.
    latent, emotion = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), torch.eye(7)[:4]
    new = train(until(RECIPE, 8), faces, tmp_path / "new", device="cpu")
    before = _trainer()
    start_from(out / START, before)
    drawn, after, anew = (
        generator(latent, emotion)
        for generator in (before.generator, load_generator(result.weights)[0], load_generator(new.weights)[0])
    )
    assert (after - drawn).abs().mean() < 0.2 * (anew - drawn).abs().mean()
    # The run in the folder goes on, and remembers where it came from; another start is not taken.
    again = train(until(RECIPE, 16), faces, tmp_path / "on", device="cpu", start=out / START, warn=said.append)
    assert again.cur_nimg == 16
    assert read_weights(again.weights).card["started_from"] == card["started_from"]
    assert any("--start is for a new one and not used" in sentence for sentence in said)


def test_a_file_without_a_pair_is_refused_with_what_to_give_instead(trained):
    out, weights = trained
    for path in (weights, out / STATE):
        with pytest.raises(StartError, match=r"holds no pair of networks; start from the start\.safetensors that"):
            start_from(path, _trainer())


def test_a_file_that_does_not_fit_is_refused_in_one_sentence(trained, tmp_path):
    path = trained[0] / START
    with pytest.raises(StartError, match=r"^there is no file .*none\.safetensors to start from\.$"):
        start_from(tmp_path / "none.safetensors", _trainer())
    with pytest.raises(StartError, match=r"knows angry, .* neutral, and the data angry, .* contempt; prepare"):
        start_from(path, _trainer(emotions=FERPLUS))
    with pytest.raises(StartError, match=r"shape that the recipe and the data ask for \(resolution 16, not 24"):
        start_from(path, _trainer(resolution=24))
    for part, widths in (("generator", (8, 16)), ("discriminator", (8, 8, 8))):
        with pytest.raises(StartError) as error:
            start_from(path, _trainer(_with_network(RECIPE, part, widths=widths)))
        assert str(error.value).startswith(f"the {part} in {path} is not of the shape")
        assert f"(widths (8, 8), not {widths}); give the recipe" in str(error.value)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StartError, match="truncated"):
        start_from(cut, _trainer())


def test_dropout_is_free_to_differ(tmp_path):
    dense = recipe_from_dict(ARCHITECTURES["dense"])
    trainer = _trainer(dense)
    save_start(tmp_path / START, trainer.generator, trainer.discriminator, {})
    start_from(tmp_path / START, _trainer(_with_network(dense, "discriminator", dropout=0.1)))
    with pytest.raises(StartError, match=r"the discriminator in .* \(emotion_dim 4, not 8\)"):
        start_from(tmp_path / START, _trainer(_with_network(dense, "discriminator", emotion_dim=8)))


def test_a_damaged_start_file_is_refused(trained, tmp_path):
    with safe_open(trained[0] / START, framework="pt") as file:
        tensors, header = {k: file.get_tensor(k) for k in file.keys()}, file.metadata()  # noqa: SIM118
    some, bad = "discriminator/logit.weight", tmp_path / "bad.safetensors"
    save_file(tensors | {some: torch.full_like(tensors[some], torch.nan)}, bad, header)
    with pytest.raises(StartError, match="not finite"):
        start_from(bad, _trainer())
    for other in ({k: v for k, v in tensors.items() if k != some}, tensors | {some: torch.zeros(3)}):
        save_file(other, bad, header)
        with pytest.raises(StartError, match="not those that its header describes"):
            start_from(bad, _trainer())
    said = json.loads(header["emoface-start"])
    without = {key: value for key, value in said.items() if key != "augment_p"}
    others: list[Any] = [{"generator": {"size": 3}}, without, [], said | {"card": 3}]
    for changed in others:
        save_file(tensors, bad, {"emoface-start": json.dumps(changed)})
        with pytest.raises(StartError, match="truncated or not a file to start from"):
            start_from(bad, _trainer())


def test_the_command_line_starts_from_a_file_and_tells_of_another_vocabulary(faces, trained, tmp_path):
    start = trained[0] / START
    (tmp_path / "tiny.toml").write_text(toml(TINY | {"schedule": {"batch": 8, "total_kimg": 0.016}}))
    with DatasetWriter(tmp_path / "eight.zip", emotions=FERPLUS, resolution=16, channels=1) as writer:
        for row, image in enumerate(load_packed(faces).images[:16]):
            writer.add(row, image[0], [0.0] * (row % 8) + [1.0] + [0.0] * (7 - row % 8))

    def run(data, out):
        arguments = ["train", tmp_path / "tiny.toml", "--data", data, "--out", tmp_path / out, "--device", "cpu"]
        return CliRunner().invoke(app, [str(argument) for argument in (*arguments, "--start", start)])

    done = run(faces, "seven")
    assert done.exit_code == 0, done.stderr
    assert "finished: 16 images" in done.stdout
    done = run(faces, "seven")
    assert "emoface: " in done.stderr
    assert "holds a run already, which goes on" in done.stderr
    done = run(tmp_path / "eight.zip", "eight")
    assert done.exit_code == 1
    assert "contempt; prepare the data with the same emotions" in done.stderr
    assert not (tmp_path / "eight" / STATE).exists()


def test_the_pair_that_ships_fits_the_recipe_that_ships():
    trainer = _trainer(load_recipe("fer48"), FERPLUS, 48)
    assert start_from(shipped("fer48-train"), trainer)["images_seen"] > 0
