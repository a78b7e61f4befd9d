"""The count of a step's arithmetic agrees with torch's own count of a real step."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.training.conftest import ARCHITECTURES, TINY
from training.batches import BatchSource
from training.data.packed import load_packed
from training.recipe import recipe_from_dict
from training.speed import matrix_rates, training_flops
from training.trainer import Trainer


class Untracked:
    """Torch's own follows every module with hooks, which torch.autograd.grad does not bear."""

    parents: ClassVar = {"Global"}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


WIDE = {
    "style": {"generator": {"widths": [32, 32]}, "discriminator": {"widths": [16, 32]}},
    "residual": {"generator": {"widths": [32, 32]}, "discriminator": {"widths": [16, 32, 32]}},
}


@pytest.mark.parametrize(("architecture", "r1_every"), [("style", 1), ("style", 16), ("residual", 1)])
def test_the_formula_is_what_steps_cost(faces, monkeypatch, architecture, r1_every):
    monkeypatch.setattr("torch.utils.flop_counter.ModuleTracker", Untracked)
    table = ARCHITECTURES[architecture]
    for part, wider in WIDE[architecture].items():
        table = table | {part: {**table[part], "network": {**table[part]["network"], **wider}}}
    recipe = recipe_from_dict(table | {"loss": {**table.get("loss", {}), "r1_every": r1_every}})
    dataset = load_packed(faces)
    trainer, source = Trainer(recipe, 16, 1, dataset.emotions, "cpu"), BatchSource(dataset, recipe, "cpu")
    with FlopCounterMode(display=False) as counter:
        for step in range(r1_every):
            trainer.step(source.at(8 * step), 8 * step)
    # The first layers need no gradient of their inputs, and spectral norms and averages are products too.
    formula = training_flops(recipe, 16, 1, dataset.emotions)
    assert counter.get_total_flops() / (8 * r1_every) == pytest.approx(formula, rel=0.1)


def test_counting_takes_no_random_numbers_from_training():
    recipe = recipe_from_dict(TINY)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    training_flops(recipe, 16, 1, ("neutral", "happy"))
    assert torch.equal(torch.rand(1), expected)


def test_rates_are_of_both_kinds_of_arithmetic():
    rates = matrix_rates("cpu", torch.float32, 0.01)
    assert rates.keys() == {"matrix product", "convolution"}
    assert all(rate > 1e6 for rate in rates.values())
