"""The classic recipes learn which digit is which."""

from __future__ import annotations

import numpy as np
import pytest

from model import EmotionMix, FaceRequest, FaceSampler
from training.batches import BatchSource
from training.data.packed import DatasetWriter, load_packed
from training.recipe import load_recipe, recipe_from_dict
from training.snapshot import averaged_generator, sample_grid
from training.trainer import Trainer

DIGITS = "0123456789"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Ten "digits" of 16x16 in colour: bars, whose height is the digit."""
    path = tmp_path_factory.mktemp("data") / "digits.zip"
    with DatasetWriter(path, emotions=tuple(DIGITS), resolution=16, channels=3) as writer:
        for row in range(40):
            image = np.full((16, 16, 3), row, np.uint8)
            image[15 - row % 10 :, 4:12] = 250
            writer.add(row, image, np.eye(10)[row % 10].tolist())
    return load_packed(path)


@pytest.mark.parametrize(("name", "steps"), [("dense", 300), ("dcgan", 100)])
def test_it_learns_which_digit_is_which(name, steps, digits):
    table = load_recipe(name).to_dict()
    widths = {"dense": ([64, 64], [64, 64]), "dcgan": ([32, 16], [16, 32])}[name]
    for part, own in zip(("generator", "discriminator"), widths, strict=True):
        table[part]["lr"] = 2e-3
        table[part]["network"]["widths"] = own
    table["generator"]["network"] |= {"latent_dim": 8, "emotion_dim": 8}
    table["schedule"]["batch"] = 20
    recipe = recipe_from_dict(table)
    trainer, source = Trainer(recipe, 16, 3, digits.emotions, "cpu"), BatchSource(digits, recipe, "cpu")
    for step in range(steps):
        trainer.step(source.at(20 * step), 20 * step)
    sampler = FaceSampler(averaged_generator(trainer, source))
    mixes = [EmotionMix.parse(digit, sampler.emotions) for digit in DIGITS]
    drawn = sampler.sample([FaceRequest(mix, seed) for mix in mixes for seed in range(8)])
    heights = drawn.astype(float)[:, :, 4:12].mean(axis=(1, 2, 3)).reshape(10, 8).mean(axis=1)
    assert np.corrcoef(heights, np.arange(10))[0, 1] > 0.8
    grid = sample_grid(sampler, range(2))
    assert (grid.size, grid.mode) == ((10 * 32, 8 + 2 * 32), "RGB")
