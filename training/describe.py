"""What a recipe's networks cost."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from model.emotions import FERPLUS
from model.networks.build import build_discriminator, build_generator
from training.recipe import Recipe


def describe_networks(
    recipe: Recipe, resolution: int = 48, channels: int = 1, emotions: tuple[str, ...] = FERPLUS
) -> list[tuple[str, int, int]]:
    """Return (name, parameters, multiply-adds of one forward pass for one image) of both networks.

    Counted by running them once (matrix products and convolutions; torch's own counter, halved).
    """
    generator = build_generator(recipe.generator_config(resolution, channels, emotions)).eval()
    discriminator = build_discriminator(recipe.discriminator_config(resolution, channels, emotions)).eval()
    emotion = torch.eye(len(emotions))[:1]
    image = torch.zeros(1, channels, resolution, resolution)
    calls: list[tuple[str, nn.Module, tuple[torch.Tensor, torch.Tensor]]] = [
        ("generator", generator, (torch.zeros(1, recipe.generator.network.latent_dim), emotion)),
        ("discriminator", discriminator, (image, emotion)),
    ]
    rows = []
    for name, network, inputs in calls:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(*inputs)
        rows.append((name, sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2))
    return rows
