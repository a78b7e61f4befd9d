"""Small generators with random weights: real arithmetic, no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.inference.base import Floats
from model.networks.build import build_generator
from model.networks.configs import GeneratorConfig, ResidualGeneratorConfig, StyleGeneratorConfig
from model.networks.style import StyleGenerator

STYLE = StyleGeneratorConfig(resolution=16, widths=(8, 8, 4), latent_dim=8, w_dim=16, emotion_dim=4)
RESIDUAL = ResidualGeneratorConfig(resolution=16, widths=(16, 8), latent_dim=8, emotion_dim=4)

#: Weights of a prototype of the style-based pair, with outputs to compare with; not part of the repository.
STYLE48 = Path(__file__).resolve().parents[3] / "shared" / "style48"


def style_generator(config: StyleGeneratorConfig = STYLE, seed: int = 0) -> StyleGenerator:
    """Return a generator whose biases and average w are not zero, as after training."""
    torch.manual_seed(seed)
    generator = StyleGenerator(config)
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith("bias"):
                parameter.add_(0.3 * torch.randn_like(parameter))
        # Untrained images exceed the range of pixels; most of these lie inside.
        for name, parameter in generator.named_parameters():
            if ".to_image." in name and name.count(".") == 3:
                parameter.mul_(0.3)
        generator.w_average.copy_(generator.map(torch.randn(256, config.latent_dim)).mean(dim=0))
    return generator.eval()


def batch_norm_generator(config: GeneratorConfig = RESIDUAL, seed: int = 0) -> Any:
    """Return a residual or classic generator whose batch norms have seen inputs."""
    torch.manual_seed(seed)
    generator = build_generator(config)
    emotions = len(config.emotions)
    with torch.no_grad():
        # Untrained, its outputs hardly differ; larger weights make a mix-up between faces visible.
        for parameter in generator.parameters():
            parameter.mul_(1.5)
        for module in generator.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                module.momentum = None  # the statistics are those of the one batch below
        generator.train()(torch.randn(256, config.latent_dim), torch.eye(emotions)[torch.arange(256) % emotions])
    return generator.eval()


def random_inputs(config: GeneratorConfig, count: int, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Return latents, mixes of emotions and truncations of ``count`` faces."""
    random = np.random.default_rng(seed)
    latents = random.standard_normal((count, config.latent_dim), np.float32)
    emotions = random.dirichlet(np.full(len(config.emotions), 0.3), count).astype(np.float32)
    return latents, emotions, random.uniform(0, 1, count).astype(np.float32)


def grey_levels(generator: torch.nn.Module, *inputs: Floats) -> np.ndarray:
    """Return the images of ``generator``, run by torch in float32, as ``[n, H, W, C]``: 0 black, 255 white, floats."""
    with torch.inference_mode():
        images = generator(*(torch.from_numpy(rows) for rows in inputs))
    levels: np.ndarray = images.permute(0, 2, 3, 1).add(1).mul(127.5).clamp(0, 255).numpy()
    return levels
