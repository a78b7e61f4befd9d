"""A new run begins with what another one has learned, and says clearly what it cannot begin with."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from typer.testing import CliRunner

from emoface.cli import app
from model import FaceSampler, default_weights
from model.emotions import FERPLUS
from model.networks import accepting_all
from model.weights import load_generator
from training.data.packed import DatasetWriter, load_packed
from training.judge import shipped
from training.loop import train
from training.recipe import load_recipe
from training.snapshot import START, STATE
from training.start import StartError, start_from
from training.trainer import Trainer

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def _until(recipe, images, **schedule):
    return replace(recipe, schedule=replace(recipe.schedule, total_kimg=images / 1000, **schedule))


@pytest.fixture(scope="module")
def trained(faces, tmp_path_factory):
    """The folder of a run of 400 images, and its recipe."""
    from training.recipe import recipe_from_dict

    recipe = recipe_from_dict(
        {
            "name": "tiny",
            "precision": "float32",
            "generator": {"widths": [16, 16], "latent_dim": 8, "emotion_dim": 4},
            "discriminator": {"widths": [8, 16, 16]},
            "schedule": {"batch": 8, "total_kimg": 0.4, "tick_kimg": 0.04, "ema_halflife_kimg": 0.1},
        }
    )
    out = tmp_path_factory.mktemp("trained")
    result = train(recipe, faces, out, device="cpu")
    return recipe, out, result.weights


def _trainer(recipe, emotions=EMOTIONS, resolution=16):
    return Trainer(recipe, resolution, 1, emotions, "cpu")


def _assert_halved(network, expected):
    """Equal to ``expected`` but for having been stored in half precision."""
    own = network.state_dict()
    assert own.keys() == expected.keys()
    for key, value in expected.items():
        if value.is_floating_point():  # a weight file does not count batches
            torch.testing.assert_close(own[key], value, atol=1e-4, rtol=1e-3)


def test_a_weight_file_gives_the_generator_and_leaves_the_discriminator_new(trained):
    recipe, _, weights = trained
    trainer = _trainer(recipe)
    new = {key: value.clone() for key, value in trainer.discriminator.state_dict().items()}
    told = start_from(weights, trainer)
    assert (told["file"], told["images_seen"], told["discriminator"]) == ("tiny-000000.safetensors", 400, False)
    for network in (trainer.generator, trainer.average):
        expected = load_generator(weights)[0].state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())
    assert all(torch.equal(value, new[key]) for key, value in trainer.discriminator.state_dict().items())


def test_a_start_file_gives_both_networks(trained):
    recipe, out, weights = trained
    trainer = _trainer(replace(recipe, seed=5))
    assert start_from(out / START, trainer)["discriminator"] is True
    with safe_open(out / STATE, framework="pt") as file:
        saved = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no dictionary)
    _assert_halved(trainer.discriminator, {k[14:]: v for k, v in saved.items() if k.startswith("discriminator/")})
    averaged = load_generator(weights)[0].state_dict()
    _assert_halved(trainer.generator, averaged)
    _assert_halved(trainer.average, averaged)


def test_a_run_goes_on_from_where_it_started_and_its_card_says_so(faces, trained, tmp_path):
    recipe, out, weights = trained
    said: list[str] = []
    result = train(_until(recipe, 8), faces, tmp_path, device="cpu", start=out / START, warn=said.append)
    assert not any("discriminator" in sentence for sentence in said)
    card = FaceSampler.load(result.weights, "cpu").card
    assert card["started_from"]["file"] == START
    assert card["started_from"]["images_seen"] == 400
    # One step at the smallest step size moves little, so what is drawn is still what the first run drew.
    noise, emotion = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), torch.eye(7)[:4]
    before, after, new = (
        load_generator(path)[0](noise, emotion)
        for path in (weights, result.weights, train(_until(recipe, 8), faces, tmp_path / "new", device="cpu").weights)
    )
    assert (after - before).abs().mean() < 0.2 * (new - before).abs().mean()
    # The run in the folder goes on, and remembers where it came from; another start is not taken.
    again = train(_until(recipe, 16), faces, tmp_path, device="cpu", start=weights, warn=said.append)
    assert again.cur_nimg == 16
    assert FaceSampler.load(again.weights, "cpu").card["started_from"]["file"] == START
    assert any("--start is for a new one and not used" in sentence for sentence in said)


def test_the_discriminator_alone_moves_in_its_warm_up(faces, trained, tmp_path):
    recipe, _, weights = trained
    said: list[str] = []
    train(_until(recipe, 8), faces, tmp_path / "cold", device="cpu", start=weights, warn=said.append)
    assert any("schedule.warmup_kimg" in sentence for sentence in said)
    said.clear()
    warm = _until(recipe, 80, warmup_kimg=0.04)
    trainer = _trainer(warm)
    start_from(weights, trainer)
    before = {k: v.clone() for k, v in trainer.generator.state_dict().items()}
    new = [p.clone() for p in trainer.discriminator.parameters()]

    def moved():
        parameters = dict(trainer.generator.named_parameters())
        return any(not torch.equal(value, before[key]) for key, value in parameters.items())

    from training.batches import BatchSource

    source = BatchSource(load_packed(faces), warm, "cpu")
    for cur_nimg in range(0, 40, 8):
        trainer.step(source.at(cur_nimg), cur_nimg)
    assert not moved()
    assert all(torch.equal(p, before[k]) for k, p in trainer.average.named_parameters())
    assert all(not torch.equal(p, q) for p, q in zip(trainer.discriminator.parameters(), new, strict=True))
    trainer.step(source.at(40), 40)
    assert moved()


def test_a_file_that_does_not_fit_is_refused_in_one_sentence(trained, tmp_path):
    recipe, out, weights = trained
    with pytest.raises(StartError, match=r"^there is no file .*none\.safetensors to start from\.$"):
        start_from(tmp_path / "none.safetensors", _trainer(recipe))
    for path in (weights, out / START):
        with pytest.raises(StartError, match=r"knows angry, .* neutral, and the data angry, .* contempt; prepare"):
            start_from(path, _trainer(recipe, FERPLUS))
        with pytest.raises(StartError, match=r"shape that the recipe and the data ask for \(resolution 16, not 24"):
            start_from(path, _trainer(recipe, resolution=24))
        wide = replace(recipe, generator=replace(recipe.generator, widths=(16, 24)))
        with pytest.raises(StartError, match=r"the generator in .* \(widths \(16, 16\), not \(16, 24\)\); give"):
            start_from(path, _trainer(wide))
        cut = tmp_path / path.name
        cut.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(StartError, match="truncated"):
            start_from(cut, _trainer(recipe))
    deep = replace(recipe, discriminator=replace(recipe.discriminator, widths=(8, 16)))
    with pytest.raises(StartError, match=r"the discriminator in .*widths"):
        start_from(out / START, _trainer(deep))
    with pytest.raises(StartError, match="not one of emoface's"):
        start_from(out / STATE, _trainer(recipe))


def test_a_damaged_start_file_changes_nothing_unnoticed(trained, tmp_path):
    recipe, out, _ = trained
    with safe_open(out / START, framework="pt") as file:
        tensors, header = {k: file.get_tensor(k) for k in file.keys()}, file.metadata()  # noqa: SIM118
    some = "generator/head.weight"
    bad = tmp_path / "bad.safetensors"
    save_file(tensors | {some: torch.full_like(tensors[some], torch.nan)}, bad, header)
    with pytest.raises(StartError, match="not finite"):
        start_from(bad, _trainer(recipe))
    save_file({k: v for k, v in tensors.items() if k != some}, bad, header)
    with pytest.raises(StartError, match="not those that its header describes"):
        start_from(bad, _trainer(recipe))
    save_file(tensors, bad, {key: json.dumps({"generator": {"size": 3}}) for key in header})
    with pytest.raises(StartError, match="truncated or not a file to start from"):
        start_from(bad, _trainer(recipe))


def test_the_command_line_starts_from_a_file_and_tells_of_another_vocabulary(faces, trained, tmp_path):
    _, _, weights = trained
    (tmp_path / "tiny.toml").write_text(
        'precision = "float32"\n[generator]\nwidths = [16, 16]\nlatent_dim = 8\nemotion_dim = 4\n'
        "[discriminator]\nwidths = [8, 16, 16]\n[schedule]\nbatch = 8\ntotal_kimg = 0.016\nwarmup_kimg = 0.008\n"
    )
    with DatasetWriter(tmp_path / "eight.zip", emotions=FERPLUS, resolution=16, channels=1) as writer:
        for row, image in enumerate(load_packed(faces).images[:16]):
            writer.add(row, image[0], [0.0] * (row % 8) + [1.0] + [0.0] * (7 - row % 8))

    def run(data, out, *more):
        arguments = ["train", tmp_path / "tiny.toml", "--data", data, "--out", tmp_path / out, "--device", "cpu", *more]
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    done = run(faces, "seven", "--start", weights)
    assert done.exit_code == 0, done.stderr
    assert "finished: 16 images" in done.stdout
    done = run(faces, "seven", "--start", weights)
    assert "emoface: " in done.stderr
    assert "holds a run already, which goes on" in done.stderr
    done = run(tmp_path / "eight.zip", "eight", "--start", weights)
    assert done.exit_code == 1
    assert "contempt; prepare the data with the same emotions" in done.stderr
    assert not (tmp_path / "eight" / STATE).exists()


def test_the_pair_that_ships_goes_on_with_the_weights_that_ship():
    recipe = load_recipe("hinge")
    narrow = replace(recipe, discriminator=replace(recipe.discriminator, widths=(32, 64, 128, 128)))
    trainer = _trainer(narrow, FERPLUS, 48)
    assert start_from(shipped("fer48-train"), trainer)["discriminator"] is True
    _assert_halved(trainer.generator, accepting_all(load_generator(default_weights())[0]).state_dict())
