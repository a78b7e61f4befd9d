"""The recipes that vary fer48: each trains, in full precision and half, and goes on exactly where it was."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode

from training.batches import BatchSource
from training.data.packed import load_packed
from training.loop import train
from training.recipe import Recipe, load_recipe, recipe_from_dict
from training.speed import training_flops
from training.start import start_from
from training.trainer import Trainer

VARIANTS = ("fer48-ada", "fer48-r3", "fer48-transitional", "fer48-twins", "fer48-utlo")
SMALL = {
    "generator": {"widths": [16, 16], "latent_dim": 8, "emotion_dim": 4},
    "discriminator": {"widths": [8, 16, 16]},
    "schedule": {"batch": 8, "total_kimg": 0.16, "decay_from_kimg": 0.0, "tick_kimg": 0.04, "ema_halflife_kimg": 0.1},
}


def _small(name: str, **more: Any) -> Recipe:
    """The recipe that ships, with networks and a schedule small enough for seconds."""
    table = load_recipe(name).to_dict()
    for part, values in SMALL.items():
        table[part] |= values
    for key in ("condition_from_kimg", "condition_until_kimg"):
        table["schedule"][key] /= 2000  # 50 and 125 images
    table["augment"]["ramp_kimg"] /= 4000
    table["loss"]["penalty_every"] = min(table["loss"]["penalty_every"], 3)
    for part, values in more.items():
        table[part] |= values
    return recipe_from_dict(table)


@pytest.mark.parametrize("name", VARIANTS)
def test_it_differs_from_fer48_only_in_what_it_is_about(name):
    mine, theirs = load_recipe(name).to_dict(), load_recipe("fer48").to_dict()
    different = {
        f"{part}.{key}" for part in theirs if isinstance(theirs[part], dict) for key in theirs[part]
        if mine[part][key] != theirs[part][key]
    }  # fmt: skip
    about = {
        "ada": "generator.lr discriminator.lr discriminator.spectral loss.kind loss.r1 loss.penalty_every",
        "r3": "generator.lr discriminator.lr discriminator.spectral loss.kind loss.r1 loss.r2 loss.penalty_to "
        "augment.target augment.maximum augment.ramp_kimg",
        "transitional": "schedule.condition_from_kimg schedule.condition_until_kimg",
        "twins": "loss.twins data.label_noise",
        "utlo": "generator.unconditional_blocks",
    }
    assert different == set(about[name.removeprefix("fer48-")].split())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", VARIANTS)
def test_steps_are_finite_and_move_both_networks(faces, name, precision):
    recipe, data = replace(_small(name), precision=precision), load_packed(faces)
    trainer, source = Trainer(recipe, 16, 1, data.emotions, "cpu"), BatchSource(data, recipe, "cpu")
    networks = (trainer.generator, trainer.discriminator)
    before = [{key: p.clone() for key, p in network.named_parameters()} for network in networks]
    for nimg in (0, 8, 64):
        logged = trainer.step(source.at(nimg), nimg)
        assert all(value.isfinite() for value in logged.values()), logged
    assert trainer.finite()
    for network, old in zip(networks, before, strict=True):
        still = {key for key, parameter in network.named_parameters() if torch.equal(parameter, old[key])}
        assert still <= {"logit.bias"}, still  # what is added to every logit is no difference to a relativistic loss


def test_by_plan_the_augmentation_rises_with_the_images_seen(faces):
    recipe, data = _small("fer48-r3"), load_packed(faces)
    trainer, source = Trainer(recipe, 16, 1, data.emotions, "cpu"), BatchSource(data, recipe, "cpu")
    assert trainer.augment_p == 0
    for nimg in (0, 42, 200):
        trainer.step(source.at(nimg), nimg)
        assert trainer.augment_p == pytest.approx(0.3 * min((nimg + 8) / 100, 1))


def test_the_relativistic_generator_is_compared_with_the_real_images_of_its_batch(faces, monkeypatch):
    recipe, data = replace(_small("fer48-r3"), precision="float32"), load_packed(faces)
    trainer, source = Trainer(recipe, 16, 1, data.emotions, "cpu"), BatchSource(data, recipe, "cpu")
    batch, judge, seen = source.at(0), trainer._judge, []

    def judging(images, emotions):
        seen.append((images.detach(), emotions, judge(images, emotions)))
        return seen[-1][-1]

    monkeypatch.setattr(trainer, "_judge", judging)
    logged = trainer.step(batch, 0)  # nothing is augmented yet
    _, generated, real = seen
    assert torch.equal(real[0], batch.images)
    assert torch.equal(real[1], generated[1])
    difference = (real[2].logit - generated[2].logit).detach()
    torch.testing.assert_close(logged["loss_g"], torch.nn.functional.softplus(difference).mean())
    assert logged["real_is_real"] + logged["fake_is_real"] == pytest.approx(1)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_run_that_was_stopped_goes_on_exactly_where_it_was(faces, tmp_path, name):
    # total_kimg says how gammas and rates fall, which both halves must be told alike.
    recipe = _small(name, loss={"penalty_to": 1.0}, schedule={"decay_to": 1.0})
    halfway = replace(recipe, schedule=replace(recipe.schedule, total_kimg=0.08))
    train(recipe, faces, tmp_path / "whole", device="cpu")
    train(halfway, faces, tmp_path / "halves", device="cpu")
    assert train(recipe, faces, tmp_path / "halves", device="cpu").cur_nimg == 160
    whole, halves = (load_file(tmp_path / folder / "state.safetensors") for folder in ("whole", "halves"))
    assert whole.keys() == halves.keys()
    assert all(torch.equal(whole[key], halves[key]) for key in whole)
    lines = [(tmp_path / folder / "stats.jsonl").read_text().splitlines() for folder in ("whole", "halves")]
    for left, right in zip(*lines, strict=True):
        a, b = json.loads(left), json.loads(right)
        assert {k: a[k] for k in a.keys() - {"seconds", "img_s", "tflop_s"}} == {
            k: b[k] for k in b.keys() - {"seconds", "img_s", "tflop_s"}
        }


class Untracked:
    """Torch's own follows every module with hooks, which torch.autograd.grad does not bear."""

    parents: ClassVar = {"Global"}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize("name", ["fer48-r3", "fer48-twins"])
def test_the_formula_is_what_a_step_costs(faces, name, monkeypatch):
    monkeypatch.setattr("torch.utils.flop_counter.ModuleTracker", Untracked)
    wide = {"generator": {"widths": [32, 32], "latent_dim": 128}, "discriminator": {"widths": [16, 32, 32]}}
    recipe, data = replace(_small(name, **wide), precision="float32"), load_packed(faces)
    trainer, batch = Trainer(recipe, 16, 1, data.emotions, "cpu"), BatchSource(data, recipe, "cpu").at(0)
    with FlopCounterMode(display=False) as counter:
        trainer.step(batch, 0)
    assert counter.get_total_flops() / 8 == pytest.approx(training_flops(recipe, 16, 1, data.emotions), rel=0.1)


def test_files_from_before_these_settings_load_as_they_were(faces, tiny, tmp_path):
    new = {
        "generator": ("unconditional_blocks",),
        "discriminator": ("spectral",),
        "loss": ("r1", "r2", "penalty_every", "penalty_to", "twins"),
        "data": ("label_noise",),
        "augment": ("ramp_kimg",),
        "schedule": ("condition_from_kimg", "condition_until_kimg"),
    }
    recipe = replace(tiny, schedule=replace(tiny.schedule, total_kimg=0.016))
    train(recipe, faces, tmp_path, device="cpu")
    for name, entry in (("state", "progress"), ("start", "emoface-start")):
        path = tmp_path / f"{name}.safetensors"
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()[entry])
        tables = header["recipe"] if name == "state" else header
        for part, keys in new.items():
            for key in keys:
                tables.get(part, {}).pop(key, None)
        save_file(load_file(path), path, {entry: json.dumps(header)})
    trainer = Trainer(recipe, 16, 1, load_packed(faces).emotions, "cpu")
    assert start_from(tmp_path / "start.safetensors", trainer)["discriminator"]
    longer = replace(recipe, schedule=replace(recipe.schedule, total_kimg=0.032))
    assert train(longer, faces, tmp_path, device="cpu").cur_nimg == 32
