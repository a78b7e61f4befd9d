"""On a GPU: a run whose steps are CUDA graphs is one whose kernels are launched one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from model.weights import read_weights
from tests.training.conftest import until
from training.batches import BatchSource
from training.cuda_graph import GraphedStep
from training.data.packed import load_packed
from training.loop import train
from training.trainer import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture
def recipe(tiny):
    """Three steps of either kind come before its capture: of twenty steps 14 are replayed, two with the penalty."""
    return replace(tiny, loss=replace(tiny.loss, r1=1.0, r1_every=4))


def _steps(recipe, data, graphs, images=160):
    trainer, source = Trainer(recipe, 16, 1, data.emotions, "cuda"), BatchSource(data, recipe, "cuda")
    assert all(isinstance(step, GraphedStep) for step in trainer._steps)
    if not graphs:
        trainer._steps = [step._step for step in trainer._steps if isinstance(step, GraphedStep)]
    trainer.augment_p = 0.2
    figures = []
    for cur_nimg in range(0, images, 8):
        logged = trainer.step(source.at(cur_nimg), cur_nimg)
        figures.append({name: float(value) for name, value in logged.items()})
    return trainer, figures


def test_a_run_with_graphs_is_one_without(faces, recipe):
    data = load_packed(faces)
    graphed, figures = _steps(recipe, data, graphs=True)
    plain, expected = _steps(recipe, data, graphs=False)
    assert all(isinstance(step, GraphedStep) and step._graph is not None for step in graphed._steps)
    for left, right in zip(figures, expected, strict=True):
        del left["real_sign"], right["real_sign"]  # a logit near 0 may fall on either side
        assert left == pytest.approx(right, rel=0.02, abs=0.02)
    # The first step of all is Adam's largest, by the sign of gradients alone, so a few entries may differ by rounding.
    for name, network in graphed.modules().items():
        own = plain.modules()[name].state_dict()
        difference = torch.cat([(value - own[key]).flatten() for key, value in network.state_dict().items()])
        size = torch.cat([value.flatten() for value in own.values()])
        assert difference.norm() < 0.01 * size.norm(), name
    assert graphed.augment_p == pytest.approx(plain.augment_p, abs=0.05)


def test_a_replayed_step_takes_the_batch_the_rates_and_the_probability_of_its_own(faces, recipe):
    data = load_packed(faces)
    trainer, _ = _steps(recipe, data, graphs=True)
    source = BatchSource(data, recipe, "cuda")
    kept = trainer.step(source.at(168), 168)
    before = {name: float(value) for name, value in kept.items()}
    other = trainer.step(source.at(176), 176)
    assert {name: float(value) for name, value in kept.items()} == before  # the next replay leaves figures alone
    assert float(other["loss_d"]) != before["loss_d"]
    weights = [parameter.clone() for parameter in trainer.generator.parameters()]
    trainer.recipe = replace(recipe, generator=replace(recipe.generator, lr=1e-12))
    trainer.step(source.at(184), 184)
    for parameter, old in zip(trainer.generator.parameters(), weights, strict=True):
        torch.testing.assert_close(parameter, old, atol=1e-7, rtol=1e-6)


def test_a_run_is_resumed_and_its_weights_can_be_read(faces, recipe, tmp_path):
    train(until(recipe, 160), faces, tmp_path, device="cuda")
    result = train(until(recipe, 320), faces, tmp_path, device="cuda")
    assert read_weights(result.weights).card["images_seen"] == 320


def test_every_architecture_trains_on_a_gpu(faces, small, tmp_path):
    result = train(until(replace(small, precision="bfloat16"), 80), faces, tmp_path, device="cuda")
    assert read_weights(result.weights).card["images_seen"] == 80
