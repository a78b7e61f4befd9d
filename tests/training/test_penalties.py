"""Gradient penalties against gradients by hand, and when a step takes them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from model.discriminator import Discriminator, DiscriminatorConfig, Verdict
from training.batches import BatchSource
from training.data.packed import load_packed
from training.penalties import gradient_penalty, penalties, penalty_due
from training.trainer import Trainer


class Linear(nn.Module):
    """A discriminator whose logit is a weighted sum of the pixels, times what it is told."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 16))
        self.dtypes: set[torch.dtype] = set()

    def forward(self, image, emotion):
        self.dtypes.add(image.dtype)
        return Verdict(image.flatten(1) @ self.weight * emotion[:, 0], emotion, emotion)


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


@pytest.mark.parametrize("spectral", [True, False])
def test_of_a_real_discriminator_it_is_what_finite_differences_give(spectral):
    torch.manual_seed(0)
    discriminator = Discriminator(DiscriminatorConfig(8, widths=(4, 4), spectral=spectral))
    image, told, pixels = torch.randn(1, 1, 8, 8), torch.eye(7)[:1], torch.eye(64).view(64, 1, 8, 8)
    with torch.no_grad():
        up, down = (discriminator(image + step * pixels, told.expand(64, -1)).logit for step in (1e-2, -1e-2))
    expected = ((up - down) / 2e-2).square().sum()
    torch.testing.assert_close(gradient_penalty(discriminator, image, told), expected, rtol=2e-2, atol=1e-4)


def test_r1_looks_at_real_images_r2_at_generated_ones_and_both_weigh_half_their_gamma(tiny):
    real, fake, told = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4), torch.eye(2)

    class Square(Linear):
        def forward(self, image, emotion):
            return Verdict(image.square().sum(dim=(1, 2, 3)) * self.weight[0], emotion, emotion)

    for loss, expected in (({"r1": 3.0}, 0.0), ({"r2": 3.0}, 1.5 * 16 * 4), ({"r1": 9.0, "r2": 1.0}, 0.5 * 16 * 4)):
        term, figures = penalties(Square(), real, fake, told, _with(tiny, **loss), 0)  # type: ignore[arg-type]
        assert term.item() == pytest.approx(expected)
        assert figures.keys() == loss.keys()


def test_lazily_it_is_as_rare_as_it_is_heavy_and_gammas_fall_by_plan(tiny):
    discriminator, images, told = Linear(), torch.zeros(2, 1, 4, 4), torch.tensor([[1.0], [1.0]])
    squares = discriminator.weight.square().sum().item()
    lazy = _with(tiny, r1=2.0, penalty_every=4, penalty_to=0.5)
    terms, logged = [], []
    for step in range(125):
        assert penalty_due(lazy, 8 * step) is (step % 4 == 0)
        term, figures = penalties(discriminator, images, images, told, lazy, 8 * step)  # type: ignore[arg-type]
        terms.append(term.item())
        logged.append(figures["r1"].item())
    assert terms[:5] == pytest.approx([4 * squares, 0, 0, 0, 4 * squares * (1 - 0.5 * 32 / 1000)])
    assert sum(logged[:124]) / 124 == pytest.approx(squares)
    term, _ = penalties(discriminator, images, images, told, lazy, 8 * 400)  # type: ignore[arg-type]
    assert term.item() == pytest.approx(2 * squares)


def test_a_penalised_discriminator_is_flatter(faces, tiny):
    data, slopes = load_packed(faces), []
    for gamma in (0.0, 10.0):
        recipe = _with(replace(tiny, discriminator=replace(tiny.discriminator, spectral=False)), r1=gamma, r2=gamma)
        trainer, source = Trainer(recipe, 16, 1, data.emotions, "cpu"), BatchSource(data, recipe, "cpu")
        for step in range(40):
            logged = trainer.step(source.at(8 * step), 8 * step)
        assert ({"r1", "r2"} <= logged.keys()) is bool(gamma)
        batch = source.at(400)
        slopes.append(gradient_penalty(trainer.discriminator, batch.images, batch.emotions).item())
    assert slopes[1] < 0.4 * slopes[0]
