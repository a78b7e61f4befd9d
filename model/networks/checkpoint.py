"""From weight files to torch's networks and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.networks.base import Generator
from model.networks.build import build_generator
from model.weights import WeightFile, WeightsError, check_shapes, read_weights, write_weights


def half_precision(network: nn.Module, dtype: torch.dtype = torch.float16) -> dict[str, Tensor]:
    """Return the tensors of ``network`` as files hold them: on the CPU, parameters in ``dtype``, statistics in float32.

    Statistics (of batch norm, vectors of spectral norm) are few and of any scale, so float16 would save little and
    could lose them; whole numbers stay what they are.
    """
    parameters = {name for name, _ in network.named_parameters()}
    stored = {}
    for name, tensor in network.state_dict().items():
        small = dtype if name in parameters else torch.float32
        stored[name] = tensor.detach().cpu().to(small if tensor.is_floating_point() else tensor.dtype).contiguous()
    return stored


def save_generator(
    path: Path | str, generator: Generator, card: Mapping[str, Any], dtype: torch.dtype = torch.float16
) -> str:
    """Write ``generator`` and its ``card`` (JSON-able) to ``path`` atomically and return the file's content hash.

    Tensors are stored as :func:`half_precision` says, without batch norm's counts of batches.
    """
    return write_weights(path, generator.config, generator_arrays(generator, dtype), card)


def generator_arrays(generator: Generator, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Return a generator's tensors as numpy arrays by name, as a weight file holds them."""
    tensors = half_precision(generator, dtype)
    return {name: tensor.numpy() for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}


def load_generator(path: Path | str) -> tuple[Generator, dict[str, Any], str]:
    """Read a weight file.

    Returns:
        The generator (float32, on the CPU, in evaluation mode), its card, and the content hash.

    Raises:
        WeightsError: as :func:`model.weights.read_weights`, for every architecture.
    """
    file = read_weights(path)
    return generator_of(file), file.card, file.sha256


def generator_of(file: WeightFile) -> Generator:
    """Return the generator of a weight file: float32, on the CPU, in evaluation mode.

    Raises:
        WeightsError: its tensors are not those that its header describes.
    """
    try:
        # Shapes first, without memory: a header may claim any size.
        with torch.device("meta"):
            expected = build_generator(file.config).state_dict()
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]  # torch appends its stack
        raise WeightsError(file.path, f"its header describes no generator of this version ({reason}).") from error
    shapes = {k: tuple(v.shape) for k, v in expected.items() if not k.endswith("num_batches_tracked")}
    check_shapes(file.path, shapes, file.arrays)
    generator = build_generator(file.config)
    tensors = {name: torch.from_numpy(array).float() for name, array in file.arrays.items()}
    generator.load_state_dict(tensors, strict=False)
    return generator.eval().requires_grad_(False)
