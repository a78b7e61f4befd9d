"""The mean of weights that one run after another ended with: nearer to real faces than any of them.

Stretches that go on from each other end on different sides of one basin, and their mean lies in its middle (Izmailov et
al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization"). Weights of different basins have a mean
that is worse than they are; measure it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from model.networks import accepting_all
from model.weights import WeightsError, load_generator, save_weights


def average_weights(paths: Sequence[Path], out: Path) -> dict[str, Any]:
    """Write the mean of generators to ``out``: parameters, and batch norm's statistics with them.

    Args:
        paths: two weight files or more, of one configuration; the last one's card is gone on with.
        out: the weight file to write.

    Returns:
        The card, in which ``averaged`` names the hash and the images seen of each file. Of who becomes a person it
        says nothing: that is found anew.

    Raises:
        WeightsError: a file cannot be used, or is a generator of another configuration than the first.
        ValueError: fewer than two files.
    """
    if len(paths) < 2:
        raise ValueError("a mean needs two weight files or more.")
    sums: dict[str, torch.Tensor] = {}
    averaged = []
    for path in paths:
        generator, card, sha256 = load_generator(path)
        generator = accepting_all(generator)  # what each accepts is of its own latents
        if not sums:
            config = generator.config
        elif generator.config != config:
            raise WeightsError(path, f"it is a generator of another configuration than {paths[0]}")
        averaged.append({"sha256": sha256, "images_seen": card.get("images_seen")})
        for name, tensor in generator.state_dict().items():
            sums[name] = sums.get(name, torch.zeros((), dtype=torch.float64)) + tensor.double()
    # What counts (batch norm's batches) means nothing in a mean, and no file holds it.
    generator.load_state_dict({name: (total / len(paths)).to(torch.float32) for name, total in sums.items()})
    card = {**{k: v for k, v in card.items() if k != "reweighted"}, "averaged": averaged}
    save_weights(out, generator, card)
    return card
