"""Losses with gradient penalties: each trains, in full precision and half, and resumes exactly where it stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from training.batches import BatchSource
from training.data.packed import load_packed
from training.loop import train
from training.recipe import Recipe, recipe_from_dict
from training.speed import training_flops
from training.trainer import Trainer

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    # Non-saturating loss with lazy R1 (Karras et al. 2020, StyleGAN2-ADA).
    "r1": {"discriminator": {"spectral": False}, "loss": {"kind": "bce", "r1": 0.0144, "penalty_every": 3}},
    # Relativistic loss with R1 and R2, augmentation by plan (Huang et al. 2024, R3GAN).
    "relativistic": {
        "discriminator": {"spectral": False},
        "loss": {"kind": "relativistic", "r1": 1.0, "r2": 1.0, "penalty_to": 0.1},
        "augment": {"target": 0.0, "maximum": 0.3, "ramp_kimg": 0.1},
    },
}
SMALL = {
    "generator": {"widths": [16, 16], "latent_dim": 8, "emotion_dim": 4},
    "discriminator": {"widths": [8, 16, 16]},
    "schedule": {"batch": 8, "total_kimg": 0.16, "decay_from_kimg": 0.0, "tick_kimg": 0.04, "ema_halflife_kimg": 0.1},
}


def _small(name: str, **more: dict[str, Any]) -> Recipe:
    """A variant with networks and a schedule small enough for seconds."""
    table = Recipe().to_dict()
    for changes in (SMALL, VARIANTS[name], more):
        for part, values in changes.items():
            table[part] |= values
    return recipe_from_dict(table)


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
    recipe, data = _small("relativistic"), load_packed(faces)
    trainer, source = Trainer(recipe, 16, 1, data.emotions, "cpu"), BatchSource(data, recipe, "cpu")
    assert trainer.augment_p == 0
    for nimg in (0, 42, 200):
        trainer.step(source.at(nimg), nimg)
        assert trainer.augment_p == pytest.approx(0.3 * min((nimg + 8) / 100, 1))


def test_the_relativistic_generator_is_compared_with_the_real_images_of_its_batch(faces, monkeypatch):
    recipe, data = replace(_small("relativistic"), precision="float32"), load_packed(faces)
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


def test_the_formula_is_what_a_step_costs(faces, monkeypatch):
    monkeypatch.setattr("torch.utils.flop_counter.ModuleTracker", Untracked)
    wide: dict[str, dict[str, Any]] = {
        "generator": {"widths": [32, 32], "latent_dim": 128},
        "discriminator": {"widths": [16, 32, 32]},
    }
    recipe, data = replace(_small("relativistic", **wide), precision="float32"), load_packed(faces)
    trainer, batch = Trainer(recipe, 16, 1, data.emotions, "cpu"), BatchSource(data, recipe, "cpu").at(0)
    with FlopCounterMode(display=False) as counter:
        trainer.step(batch, 0)
    assert counter.get_total_flops() / 8 == pytest.approx(training_flops(recipe, 16, 1, data.emotions), rel=0.1)
