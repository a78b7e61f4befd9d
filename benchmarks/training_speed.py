"""How fast a recipe trains, in images a second and as a fraction of the machine's own measured rate of arithmetic.

Run: ``python benchmarks/training_speed.py [RECIPE] [--device cpu] [--seconds 20]``. Data are noise of 48x48, eight
emotions, in memory. The rates are the best of matrix products and 3x3 convolutions that torch reaches here, at sizes of
their own; a step counts its matrix products and convolutions alone, so norms, augmentation and Adam lower the fraction.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from model.emotions import FERPLUS
from model.sampler import choose_device
from training.batches import BatchSource
from training.data.packed import PackedDataset
from training.memory import keep_freed_memory
from training.recipe import Recipe, load_recipe
from training.speed import matrix_rates, training_flops
from training.trainer import Trainer


def noise(images: int) -> PackedDataset:
    """Return a data set of nothing to be seen."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, 1, 48, 48), dtype=np.uint8)
    labels = rng.dirichlet(np.ones(len(FERPLUS)), images).astype(np.float32)
    return PackedDataset(pixels, labels, FERPLUS, [str(i) for i in range(images)], {}, "0" * 64)


def images_a_second(recipe: Recipe, device: str, seconds: float) -> tuple[float, float]:
    """Return images a second over ``seconds`` of steps that train both networks, and counted operations an image."""
    trainer = Trainer(recipe, 48, 1, FERPLUS, device)
    trainer.augment_p = 0.5 * recipe.augment.maximum  # what a run settles near, rather than the cheap beginning
    source = BatchSource(noise(4096), recipe, device)
    batch = recipe.schedule.batch
    with FlopCounterMode(display=False) as counter:
        trainer.step(source.at(0), 0)
    # On a GPU steps of either kind, with the penalty and without, are captured after three of their kind.
    warm = 4 if device == "cpu" else 4 * recipe.loss.r1_every + 2
    for cur_nimg in range(batch, warm * batch, batch):
        trainer.step(source.at(cur_nimg), cur_nimg)
    steps, start = 0, time.perf_counter()
    while steps < 2 or time.perf_counter() - start < seconds:
        cur_nimg = (warm + steps) * batch
        logged = trainer.step(source.at(cur_nimg), cur_nimg)
        steps += 1
    float(logged["loss_d"])  # waits for the device
    return steps * batch / (time.perf_counter() - start), counter.get_total_flops() / batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", nargs="?", default="fer48")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    keep_freed_memory()
    device, recipe = choose_device(args.device), load_recipe(args.recipe)
    recipe = replace(recipe, compile=False) if device == "cpu" else recipe
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads; {recipe.name}: {recipe.precision}")
    best = {}
    for precision in ("float32", "bfloat16"):
        rates = matrix_rates(device, getattr(torch, precision), args.seconds / 8)
        best[precision] = max(rates.values())
        print("  ".join(f"{precision} {name}: {rate / 1e9:,.1f} GFLOP/s" for name, rate in rates.items()))
    speed, counted = images_a_second(recipe, device, args.seconds / 2)
    formula = training_flops(recipe, 48, 1, FERPLUS)
    print(f"operations an image: {formula / 1e9:.3f} GFLOP by the formula, {counted / 1e9:.3f} counted")
    used = speed * formula
    fraction = used / best[recipe.precision]
    print(f"{speed:,.0f} images/s = {used / 1e9:,.1f} GFLOP/s = {fraction:.0%} of the best {recipe.precision} rate")


if __name__ == "__main__":
    main()
