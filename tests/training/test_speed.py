"""The count of a step's arithmetic agrees with torch's own count of a real step."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from training.batches import BatchSource
from training.data.packed import load_packed
from training.recipe import recipe_from_dict
from training.speed import matrix_rates, training_flops
from training.trainer import Trainer


def test_the_formula_is_what_a_step_costs(faces):
    recipe = recipe_from_dict(
        {
            "precision": "float32",
            "generator": {"widths": [32, 32]},
            "discriminator": {"widths": [16, 32, 32]},
            "schedule": {"batch": 8},
        }
    )
    dataset = load_packed(faces)
    trainer = Trainer(recipe, 16, 1, dataset.emotions, "cpu")
    batch = BatchSource(dataset, recipe, "cpu").at(0)
    with FlopCounterMode(display=False) as counter:
        trainer.step(batch, 0)
    # The first layers need no gradient of their inputs, and the spectral norms are products too: a few per cent.
    formula = training_flops(recipe, 16, 1, dataset.emotions)
    assert counter.get_total_flops() / 8 == pytest.approx(formula, rel=0.08)


def test_counting_takes_no_random_numbers_from_training():
    recipe = recipe_from_dict({"generator": {"widths": [4, 2]}, "discriminator": {"widths": [4, 6]}})
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    training_flops(recipe, 8, 1, ("neutral", "happy"))
    assert torch.equal(torch.rand(1), expected)


def test_rates_are_of_both_kinds_of_arithmetic():
    rates = matrix_rates("cpu", torch.float32, 0.01)
    assert rates.keys() == {"matrix product", "convolution"}
    assert all(rate > 1e6 for rate in rates.values())
