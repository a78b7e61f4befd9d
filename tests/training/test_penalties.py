"""The gradient penalty against gradients by hand, and when a step takes it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from model.networks.base import Discrimination
from model.networks.build import build_discriminator
from model.networks.configs import DenseDiscriminatorConfig, ResidualDiscriminatorConfig, StyleDiscriminatorConfig
from training.batches import BatchSource
from training.data.packed import load_packed
from training.penalties import gradient_penalty, penalty_due
from training.trainer import Trainer


class Linear(nn.Module):
    """A discriminator whose logit is a weighted sum of the pixels, times what it is told."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 16))
        self.dtypes: set[torch.dtype] = set()

    def forward(self, image, emotion):
        self.dtypes.add(image.dtype)
        return Discrimination(image.flatten(1) @ self.weight * emotion[:, 0], emotion, emotion)


def _with(recipe, **loss):
    return replace(recipe, loss=replace(recipe.loss, **loss))


def test_of_a_linear_discriminator_it_is_the_squared_length_of_its_weights():
    discriminator, told = Linear(), torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    penalty = gradient_penalty(discriminator, torch.randn(2, 1, 4, 4, dtype=torch.bfloat16), told)  # type: ignore[arg-type]
    squares = discriminator.weight.square().sum()
    torch.testing.assert_close(penalty, squares * (1 + 0.25) / 2)
    (gradient,) = torch.autograd.grad(penalty, discriminator.weight)
    torch.testing.assert_close(gradient, 2 * discriminator.weight.detach() * (1 + 0.25) / 2)
    assert discriminator.dtypes == {torch.float32}


@pytest.mark.parametrize(
    "config",
    [
        StyleDiscriminatorConfig(8, widths=(4, 4), projection_dim=4, identity_dim=4),
        ResidualDiscriminatorConfig(8, widths=(4, 4)),
        ResidualDiscriminatorConfig(8, widths=(4, 4), spectral=False),
        DenseDiscriminatorConfig(8, widths=(8, 8), emotion_dim=4),
    ],
    ids=["style", "spectral", "residual", "dense"],
)
def test_of_a_real_discriminator_it_is_what_finite_differences_give(config):
    torch.manual_seed(0)
    discriminator = build_discriminator(config)
    image, told = torch.randn(1, 1, 8, 8), torch.eye(7)[:1]
    # One image a call: in the style-based discriminator the others of a batch would count.
    with torch.no_grad():
        slopes = [
            (discriminator(image + pixel, told).logit - discriminator(image - pixel, told).logit) / 2e-2
            for pixel in 1e-2 * torch.eye(64).view(64, 1, 1, 8, 8)
        ]
    expected = torch.stack(slopes).square().sum()
    torch.testing.assert_close(gradient_penalty(discriminator, image, told), expected, rtol=2e-2, atol=1e-4)


def test_the_penalty_is_due_at_the_recipes_interval(tiny):
    for every in (1, 3, 4):
        recipe = _with(tiny, r1=1.0, r1_every=every)
        assert [penalty_due(recipe, 8 * step) for step in range(9)] == [step % every == 0 for step in range(9)]
    assert not penalty_due(_with(tiny, r1=0.0), 0)


def test_it_is_as_many_times_as_strong_as_it_is_rare_and_counts_half(faces, tiny, monkeypatch):
    data, recipe = load_packed(faces), _with(tiny, r1=6.0, r1_every=3)
    trainer, source = Trainer(recipe, 16, 1, data.emotions, "cpu"), BatchSource(data, recipe, "cpu")
    descend, totals, logged = trainer._descend, [], []

    def watched(name, loss):
        if name == "discriminator":
            totals.append(loss.item())
        descend(name, loss)

    monkeypatch.setattr(trainer, "_descend", watched)
    first = source.at(0)
    alone = gradient_penalty(trainer.discriminator, first.images, first.emotions).item()  # nothing is augmented yet
    for step in range(4):
        logged.append({key: value.item() for key, value in trainer.step(source.at(8 * step), 8 * step).items()})
    assert logged[0]["r1"] == pytest.approx(3 * alone, rel=1e-4)
    assert [line["r1"] > 0 for line in logged] == [True, False, False, True]
    for line, total in zip(logged, totals, strict=True):
        assert total == pytest.approx(
            line["loss_d"] + 0.3 * line["emotion_real"] + 0.2 * line["identity_d"] + 3 * line["r1"], rel=1e-5
        )


def test_a_penalised_discriminator_is_flatter(faces, tiny):
    data, slopes = load_packed(faces), []
    for gamma in (0.0, 10.0):
        recipe = _with(tiny, r1=gamma, r1_every=2)
        trainer, source = Trainer(recipe, 16, 1, data.emotions, "cpu"), BatchSource(data, recipe, "cpu")
        for step in range(60):
            logged = trainer.step(source.at(8 * step), 8 * step)
        assert ("r1" in logged) is bool(gamma)
        batch = source.at(800)
        slopes.append(gradient_penalty(trainer.discriminator, batch.images, batch.emotions).item())
    assert slopes[1] < 0.4 * slopes[0]
