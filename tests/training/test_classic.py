"""The classic recipes: two phases, each of which moves one network, and the same machinery as the modern one."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from model import EmotionMix, FaceRequest, FaceSampler
from training.batches import BatchSource
from training.data.packed import DatasetWriter, load_packed
from training.loop import train
from training.recipe import RecipeError, load_recipe, recipe_from_dict
from training.snapshot import averaged_generator, sample_grid
from training.trainer import Trainer

CLASSIC = ("dense", "dcgan")


def _small(name, images=160, **loss):
    """The recipe that ships, with networks and a schedule small enough for seconds."""
    table = load_recipe(name).to_dict()
    table["generator"] |= {"widths": [64, 64] if name == "dense" else [32, 16], "latent_dim": 8, "emotion_dim": 8}
    table["discriminator"] |= {"widths": [64, 64] if name == "dense" else [16, 32], "emotion_dim": 32}
    table["loss"] |= loss
    table["schedule"] |= {"batch": 8, "total_kimg": images / 1000, "tick_kimg": 0.04, "snapshot_kimg": 100.0}
    return recipe_from_dict(table)


def _trainer(recipe, data):
    dataset = load_packed(data)
    trainer = Trainer(recipe, dataset.resolution, dataset.channels, dataset.emotions, "cpu")
    return trainer, BatchSource(dataset, recipe, "cpu")


def _state(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def _same(network, before, names):
    return all(torch.equal(network.state_dict()[name], before[name]) for name in names)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Ten "digits" of 16x16 in colour: bars, whose height is the digit."""
    path = tmp_path_factory.mktemp("data") / "digits.zip"
    with DatasetWriter(path, emotions=tuple("0123456789"), resolution=16, channels=3) as writer:
        for row in range(40):
            image = np.full((16, 16, 3), row, np.uint8)
            image[15 - row % 10 :, 4:12] = 250
            writer.add(row, image, np.eye(10)[row % 10].tolist())
    return path


@pytest.mark.parametrize("name", [*CLASSIC, "hinge"])
def test_phase_1_moves_the_discriminator_alone_and_phase_2_the_generator_alone(name, faces, monkeypatch):
    trainer, source = _trainer(_small(name), faces)
    generator, discriminator = trainer.generator, trainer.discriminator
    descend, phases = trainer._descend, []

    def watched(which, loss):
        ours, theirs = (discriminator, generator) if which == "discriminator" else (generator, discriminator)
        assert all(parameter.requires_grad is (which == "discriminator") for parameter in discriminator.parameters())
        before, frozen = _state(ours), _state(theirs)
        gradients = [None if p.grad is None else p.grad.clone() for p in theirs.parameters()]
        descend(which, loss)
        # Not a bit of the other network: neither its parameters nor its statistics, nor a gradient that waits in it.
        assert _same(theirs, frozen, frozen)
        for parameter, old in zip(theirs.parameters(), gradients, strict=True):
            assert (parameter.grad is None) == (old is None)
            assert old is None or torch.equal(parameter.grad, old)
        moved = [key for key, _ in ours.named_parameters() if not torch.equal(ours.state_dict()[key], before[key])]
        assert moved
        phases.append(which)

    monkeypatch.setattr(trainer, "_descend", watched)
    for step in range(3):
        trainer.step(source.at(8 * step), 8 * step)
    assert phases == ["discriminator", "generator"] * 3


@pytest.mark.parametrize("name", CLASSIC)
def test_the_losses_are_binary_cross_entropy_on_the_probabilities_that_are_reported(name, faces, monkeypatch):
    trainer, source = _trainer(_small(name), faces)
    seen, judge = [], trainer._judge

    def judging(images, emotions):
        verdict = judge(images, emotions)
        seen.append(torch.sigmoid(verdict.logit.detach()))
        return verdict

    monkeypatch.setattr(trainer, "_judge", judging)
    logged = trainer.step(source.at(0), 0)
    *first, combined = seen
    real, fake = torch.cat(first).chunk(2)
    ones, zeros = torch.ones(8), torch.zeros(8)
    torch.testing.assert_close(
        logged["loss_d"], F.binary_cross_entropy(real, ones) + F.binary_cross_entropy(fake, zeros)
    )
    torch.testing.assert_close(logged["loss_g"], F.binary_cross_entropy(combined, ones))
    torch.testing.assert_close(logged["real_is_real"], real.mean())
    torch.testing.assert_close(logged["fake_is_real"], fake.mean())
    assert not {"emotion_real", "emotion_fake"} & logged.keys()  # it has no heads for them


def test_batch_norm_sees_real_and_generated_images_apart(faces, monkeypatch):
    trainer, source = _trainer(_small("dcgan"), faces)
    batch, sizes, judge = source.at(0), [], trainer._judge

    def judging(images, emotions):
        sizes.append(len(images))
        return judge(images, emotions)

    monkeypatch.setattr(trainer, "_judge", judging)
    alone = trainer.discriminator(batch.images, batch.emotions).logit
    both = trainer._judge_both(torch.cat([batch.images, torch.zeros(8, 1, 16, 16)]), batch.emotions.repeat(2, 1))
    assert sizes == [8, 8]
    torch.testing.assert_close(both.logit[:8], alone)  # whatever is generated, real images are judged as they were


@pytest.mark.parametrize("name", CLASSIC)
def test_nothing_is_averaged_as_the_field_had_none(name, faces):
    trainer, source = _trainer(_small(name), faces)
    for step in range(3):
        trainer.step(source.at(8 * step), 8 * step)
    assert _same(trainer.average, _state(trainer.generator), dict(trainer.generator.named_parameters()))


@pytest.mark.parametrize("name", CLASSIC)
def test_what_is_saved_draws_with_statistics_of_its_own(name, faces):
    trainer, source = _trainer(_small(name), faces)
    for step in range(10):
        trainer.step(source.at(8 * step), 8 * step)
    generator = averaged_generator(trainer, source)
    norms = [m for m in generator.modules() if isinstance(m, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)]
    assert len(norms) == 2
    latent, emotion = (
        torch.randn(500, 8, generator=torch.Generator().manual_seed(1)),
        torch.from_numpy(source.labels(np.random.default_rng(0), 500)[1]),
    )
    with torch.no_grad():
        alone = generator(latent, emotion)
        together = generator.train()(latent, emotion)
    assert (alone - together).abs().mean() < 0.1 * together.std()


@pytest.mark.parametrize("name", CLASSIC)
def test_a_run_that_was_stopped_goes_on_exactly_where_it_was(name, faces, tmp_path, monkeypatch):
    # Dropout and Adam's momentum are what the modern recipe lacks.
    recipe, step = _small(name, 96), Trainer.step
    first = train(recipe, faces, tmp_path / "whole", device="cpu")

    def stopping(trainer, batch, cur_nimg):
        if cur_nimg == 48:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(trainer, batch, cur_nimg)

    monkeypatch.setattr(Trainer, "step", stopping)
    assert train(recipe, faces, tmp_path / "halves", device="cpu").reason == "signal"
    monkeypatch.undo()
    torch.manual_seed(12345)
    second = train(recipe, faces, tmp_path / "halves", device="cpu")
    assert first.weights.name == second.weights.name
    a, b = (FaceSampler.load(result.weights, "cpu")._generator.state_dict() for result in (first, second))
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize(("name", "steps"), [("dense", 300), ("dcgan", 100)])
def test_it_learns_which_digit_is_which(name, steps, digits):
    recipe = _small(name)
    recipe = replace(
        recipe,
        generator=replace(recipe.generator, lr=2e-3),
        discriminator=replace(recipe.discriminator, lr=2e-3),
        schedule=replace(recipe.schedule, batch=20),
    )
    trainer, source = _trainer(recipe, digits)
    for step in range(steps):
        trainer.step(source.at(20 * step), 20 * step)
    sampler = FaceSampler(averaged_generator(trainer, source))
    drawn = sampler.sample(
        [FaceRequest(EmotionMix.parse(d, sampler.emotions), s) for d in "0123456789" for s in range(8)]
    )
    heights = drawn.astype(float)[:, :, 4:12].mean(axis=(1, 2, 3)).reshape(10, 8).mean(axis=1)
    assert np.corrcoef(heights, np.arange(10))[0, 1] > 0.8
    assert sample_grid(sampler, range(2)).size == (10 * 32, 8 + 2 * 32)
    assert sample_grid(sampler, range(2)).mode == "RGB"


@pytest.mark.parametrize("name", CLASSIC)
def test_the_recipe_says_what_its_papers_say(name):
    recipe = load_recipe(name)
    for network in (recipe.generator, recipe.discriminator):
        assert (network.lr, network.betas) == ({"dense": 1e-4, "dcgan": 2e-4}[name], (0.5, 0.999))
        assert network.architecture == {"dense": "dense", "dcgan": "convolutional"}[name]
    assert recipe.loss.kind == "bce"
    assert (recipe.augment.target, recipe.augment.maximum, recipe.schedule.ema_halflife_kimg) == (0, 0, 0)
    assert not recipe.data.flip  # a mirrored 3 is no digit
    for resolution in range(16, 65, 8):
        for channels in (1, 3):
            recipe.generator_config(resolution, channels, ("neutral", "happy"))
            recipe.discriminator_config(resolution, channels, ("neutral", "happy"))


@pytest.mark.parametrize("head", ["classify_real", "classify_fake"])
@pytest.mark.parametrize("name", CLASSIC)
def test_a_loss_that_needs_a_head_it_lacks_is_refused(name, head):
    with pytest.raises(RecipeError, match=rf"loss\.{head} must be 0: a \w+ discriminator only tells real from"):
        _small(name, **{head: 0.1})


def test_a_run_from_before_there_were_architectures_goes_on(faces, tiny, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    recipe = replace(tiny, schedule=replace(tiny.schedule, total_kimg=0.016))
    train(recipe, faces, tmp_path, device="cpu")
    state = tmp_path / "state.safetensors"
    with safe_open(state, framework="pt") as file:
        header = json.loads(file.metadata()["progress"])
    for key in ("architecture", "emotion_dim", "dropout"):
        del header["recipe"]["discriminator"][key]
    del header["recipe"]["generator"]["architecture"]
    save_file(load_file(state), state, {"progress": json.dumps(header)})
    longer = replace(recipe, schedule=replace(recipe.schedule, total_kimg=0.032))
    assert train(longer, faces, tmp_path, device="cpu").cur_nimg == 32
