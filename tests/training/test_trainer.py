"""A step: two phases, each of which moves one network; the averages; and the schedules."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from model.networks.style import StyleGenerator
from tests.training.conftest import ARCHITECTURES
from training.batches import BatchSource
from training.data.packed import load_packed
from training.recipe import Recipe, recipe_from_dict
from training.trainer import Trainer, ema_weight, lr_factor


@pytest.fixture
def data(faces):
    return load_packed(faces)


def _trainer(recipe, data):
    trainer = Trainer(recipe, data.resolution, data.channels, data.emotions, "cpu")
    return trainer, BatchSource(data, recipe, "cpu")


def _state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def _same(network: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def _with_schedule(recipe: Recipe, **settings: float) -> Recipe:
    return replace(recipe, schedule=replace(recipe.schedule, **settings))  # type: ignore[arg-type]


# ---- the two phases ----


def test_each_network_is_moved_in_its_own_phase_and_in_no_other(small, data, monkeypatch):
    trainer, source = _trainer(small, data)
    generator, discriminator = trainer.generator, trainer.discriminator
    descend, phases = trainer._descend, []

    def watched(which, loss):
        ours, theirs = (discriminator, generator) if which == "discriminator" else (generator, discriminator)
        assert all(parameter.requires_grad is (which == "discriminator") for parameter in discriminator.parameters())
        before, frozen = _state(ours), _state(theirs)
        gradients = [None if p.grad is None else p.grad.clone() for p in theirs.parameters()]
        descend(which, loss)
        # The other network keeps every bit: its parameters, its statistics, and the gradients that wait in it.
        assert _same(theirs, frozen)
        for parameter, old in zip(theirs.parameters(), gradients, strict=True):
            assert (parameter.grad is None) == (old is None)
            assert old is None or torch.equal(parameter.grad, old)
        assert any(not torch.equal(p, before[name]) for name, p in ours.named_parameters())
        phases.append(which)

    monkeypatch.setattr(trainer, "_descend", watched)
    for step in range(3):
        trainer.step(source.at(8 * step), 8 * step)
    assert phases == ["discriminator", "generator"] * 3


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_steps_are_finite_and_move_all_parameters(small, data, precision):
    trainer, source = _trainer(small, data)
    trainer.dtype = getattr(torch, precision)  # whatever this CPU would choose
    before = {name: _state(network) for name, network in trainer.modules().items()}
    for step in range(3):
        logged = trainer.step(source.at(8 * step), 8 * step)
        assert all(value.isfinite() and value.shape == () for value in logged.values()), logged
    assert trainer.finite()
    for name, network in trainer.modules().items():
        for key, parameter in network.named_parameters():
            assert parameter.dtype == torch.float32
            assert not torch.equal(parameter, before[name][key]), (name, key)


def test_finite_sees_one_bad_number_in_any_network(tiny, data):
    for name in ("generator", "discriminator", "g_ema"):
        trainer, _ = _trainer(tiny, data)
        assert trainer.finite()
        with torch.no_grad():
            next(iter(trainer.modules()[name].parameters()))[0] = torch.inf
        assert not trainer.finite()


@pytest.mark.parametrize("architecture", ["dense", "convolutional"])
def test_the_classic_losses_are_binary_cross_entropy_on_the_logged_probabilities(architecture, data, monkeypatch):
    trainer, source = _trainer(recipe_from_dict(ARCHITECTURES[architecture]), data)
    seen, discriminate = [], trainer._discriminate

    def watched(images, emotions):
        said = discriminate(images, emotions)
        seen.append(torch.sigmoid(said.logit.detach()))
        return said

    monkeypatch.setattr(trainer, "_discriminate", watched)
    logged = trainer.step(source.at(0), 0)
    *first, last = seen
    real, fake = torch.cat(first).chunk(2)
    ones, zeros = torch.ones(8), torch.zeros(8)
    torch.testing.assert_close(
        logged["loss_d"], F.binary_cross_entropy(real, ones) + F.binary_cross_entropy(fake, zeros)
    )
    torch.testing.assert_close(logged["loss_g"], F.binary_cross_entropy(last, ones))
    torch.testing.assert_close(logged["real_is_real"], real.mean())
    torch.testing.assert_close(logged["fake_is_real"], fake.mean())
    torch.testing.assert_close(logged["real_sign"], (real - 0.5).sign().mean())
    assert not {"emotion_real", "emotion_fake", "identity_d", "identity_g", "r1"} & logged.keys()


def test_the_generator_descends_its_losses_by_their_weights(tiny, data, monkeypatch):
    trainer, source = _trainer(tiny, data)
    descend, totals = trainer._descend, {}

    def watched(name, loss):
        totals[name] = loss.detach()
        descend(name, loss)

    monkeypatch.setattr(trainer, "_descend", watched)
    logged, weights = trainer.step(source.at(8), 8), tiny.loss
    expected = (
        logged["loss_g"] + weights.classify_fake * logged["emotion_fake"] + weights.identity * logged["identity_g"]
    )
    torch.testing.assert_close(totals["generator"], expected)


@pytest.mark.parametrize("architecture", ["style", "convolutional"])
def test_real_images_are_classified_alike_whatever_is_generated(architecture, data):
    trainer, source = _trainer(recipe_from_dict(ARCHITECTURES[architecture]), data)
    batch = source.at(0)
    logits = [
        trainer._discriminate_both(batch.images, fake, batch.emotions)[0].logit
        for fake in (torch.zeros(8, 1, 16, 16), torch.randn(8, 1, 16, 16))
    ]
    torch.testing.assert_close(*logits)


def test_augmentation_follows_the_sign_of_the_real_logits(tiny, data):
    trainer, source = _trainer(tiny, data)
    assert trainer.augment_p == 0
    trainer.augment_p = before = 0.3
    for step in range(4):
        sign = trainer.step(source.at(8 * step), 8 * step)["real_sign"].item()
        direction = (sign > tiny.augment.target) - (sign < tiny.augment.target)
        assert trainer.augment_p == pytest.approx(before + direction * 8 / 200, abs=1e-6)
        before = trainer.augment_p


class _HostReads(TorchDispatchMode):
    """Notes what makes a host wait for the device, or copies from the host to it: neither may be in a CUDA graph."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._schema.name in ("aten::_local_scalar_dense", "aten::lift_fresh", "aten::nonzero"):
            self.found.append(func._schema.name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("penalty", [False, True])
def test_a_step_of_the_style_based_pair_never_waits_for_the_device(tiny, data, penalty, monkeypatch):
    trainer, source = _trainer(tiny, data)
    # Adam reads its own counter on a CPU alone: on a GPU it is created as capturable.
    for optimizer in trainer.optimizers.values():
        monkeypatch.setattr(optimizer, "step", lambda: None)
    batch = source.at(0)
    with _HostReads() as watch:
        trainer._both_phases(batch, penalty=penalty)
    assert watch.found == []


# ---- averages ----


def test_the_average_of_w_follows_the_mean_of_each_batch(tiny, data):
    trainer, source = _trainer(tiny, data)
    generator, averaged = trainer.generator, trainer.g_ema
    assert isinstance(generator, StyleGenerator)
    assert isinstance(averaged, StyleGenerator)
    expected = torch.zeros(8)
    for step in range(3):
        batch = source.at(8 * step)
        trainer.step(batch, 8 * step)
        with torch.no_grad():
            expected += 0.005 * (generator.map(batch.latents).mean(0) - expected)
        torch.testing.assert_close(generator.w_average, expected)
        assert torch.equal(averaged.w_average, generator.w_average)
    assert expected.abs().sum() > 0


def test_the_averaged_generator_moves_by_the_weight_of_the_step(small, data):
    recipe = _with_schedule(small, ema_halflife_kimg=0.1, ema_rampup=0.0)
    trainer, source = _trainer(recipe, data)
    weight = 1 - 0.5 ** (8 / 100)
    for step in range(3):
        before = _state(trainer.g_ema)
        trainer.step(source.at(8 * step), 8 * step)
        present = dict(trainer.generator.named_parameters())
        for name, parameter in trainer.g_ema.named_parameters():
            expected = before[name] + weight * (present[name] - before[name])
            torch.testing.assert_close(parameter, expected.detach())


def test_without_a_half_life_nothing_is_averaged(small, data):
    trainer, source = _trainer(_with_schedule(small, ema_halflife_kimg=0.0), data)
    for step in range(3):
        trainer.step(source.at(8 * step), 8 * step)
    present = dict(trainer.generator.named_parameters())
    assert all(torch.equal(parameter, present[name]) for name, parameter in trainer.g_ema.named_parameters())


def test_the_weight_of_the_average_is_that_of_its_half_life(tiny):
    steady = _with_schedule(tiny, batch=100, ema_halflife_kimg=0.2, ema_rampup=0.0)
    assert (1 - ema_weight(steady, 0)) ** 2 == pytest.approx(0.5)  # two steps of 100 images are 200
    rising = _with_schedule(steady, ema_rampup=0.05)
    assert ema_weight(rising, 0) == 1.0  # nothing of the initial weights is kept
    assert ema_weight(rising, 2000) == pytest.approx(0.5)  # 5 % of 2000 images are 100
    assert ema_weight(rising, 4000) == ema_weight(rising, 400_000) == ema_weight(steady, 0)
    assert ema_weight(_with_schedule(tiny, ema_halflife_kimg=0.0), 5) == 1.0


# ---- learning rates ----


def test_the_learning_rate_rises_linearly_and_falls_along_half_a_cosine(tiny):
    recipe = _with_schedule(tiny, batch=100, rampup_kimg=1.0, decay_from_kimg=2.0, total_kimg=4.0, decay_to=0.2)
    factors = {0: 0.1, 400: 0.5, 900: 1.0, 2000: 1.0, 2500: 0.2 + 0.8 * 0.8535534, 3000: 0.6, 4000: 0.2, 9000: 0.2}
    assert {cur_nimg: lr_factor(recipe, cur_nimg) for cur_nimg in factors} == pytest.approx(factors)


def test_without_a_ramp_and_without_a_decay_it_is_constant(tiny):
    plain = _with_schedule(tiny, rampup_kimg=0.0, decay_from_kimg=1.0, total_kimg=1.0)
    assert [lr_factor(plain, cur_nimg) for cur_nimg in (0, 500, 1000, 2000)] == [1.0] * 4


def test_a_step_takes_the_rates_of_its_counter(tiny, data):
    recipe = _with_schedule(tiny, rampup_kimg=0.08)
    recipe = replace(recipe, discriminator=replace(recipe.discriminator, lr=1e-3))
    trainer, source = _trainer(recipe, data)
    for cur_nimg, factor in ((0, 0.1), (32, 0.5), (400, 1.0)):
        trainer.step(source.at(cur_nimg), cur_nimg)
        rates = {name: float(optimizer.param_groups[0]["lr"]) for name, optimizer in trainer.optimizers.items()}
        assert rates == pytest.approx({"generator": 2e-3 * factor, "discriminator": 1e-3 * factor})


def test_a_seed_decides_the_initial_weights(tiny, data):
    one, same, other = (_trainer(recipe, data)[0] for recipe in (tiny, tiny, replace(tiny, seed=1)))
    for name, network in one.modules().items():
        assert _same(same.modules()[name], _state(network))
        assert not _same(other.modules()[name], _state(network))
