"""One file of weights: tensors, configuration and card in a single .safetensors. Data, never code.

The header's metadata holds one entry, ``emoface``: JSON with ``format`` (its version), ``config`` (of the generator),
``card`` (data, recipe, images seen, metrics) and ``sha256`` over all of these and the tensors. One entry, because the
order of several is not kept, and the same weights should be the same file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from model.files import write_whole
from model.generator import AnyGenerator, GeneratorConfig
from model.networks import build_generator

FORMAT: Final = 1


class WeightsError(RuntimeError):
    """A weight file that cannot be used; its text is one sentence that names the file and the reason."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = Path(path)
        self.reason = reason
        super().__init__(f"weights {str(path)!r} cannot be used: {reason}")


def default_weights() -> Path:
    """Return the weight file to use when none is named: ``$EMOFACE_WEIGHTS``, else the one that ships."""
    named = os.environ.get("EMOFACE_WEIGHTS")
    return Path(named) if named else Path(__file__).resolve().parents[1] / "weights" / "fer48.safetensors"


def _digest(tensors: Mapping[str, Tensor], config: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    header = json.dumps([FORMAT, config, card], sort_keys=True).encode()
    digest = hashlib.sha256(len(header).to_bytes(8, "little") + header)
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()  # flat, because a 1x1 kernel is contiguous in either memory format
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def half_precision(network: nn.Module, dtype: torch.dtype = torch.float16) -> dict[str, Tensor]:
    """Return the tensors of ``network`` as files hold them: on the CPU, parameters in ``dtype``, statistics in float32.

    Statistics (batch norm's, spectral norm's vectors) are few and of any scale, so float16 would save little and could
    lose them; whole numbers stay what they are.
    """
    parameters = {name for name, _ in network.named_parameters()}
    stored = {}
    for name, tensor in network.state_dict().items():
        small = dtype if name in parameters else torch.float32
        stored[name] = tensor.detach().cpu().to(small if tensor.is_floating_point() else tensor.dtype).contiguous()
    return stored


def save_weights(
    path: Path | str, generator: AnyGenerator, card: Mapping[str, Any], dtype: torch.dtype = torch.float16
) -> str:
    """Write ``generator`` and its ``card`` (JSON-able) to ``path`` atomically and return the file's content hash.

    Tensors are stored as :func:`half_precision` says, without batch norm's counts of batches.
    """
    tensors = {k: v for k, v in half_precision(generator, dtype).items() if not k.endswith("num_batches_tracked")}
    # Through JSON and back, so that the hash is taken of what a reader will see (lists, not tuples).
    header: dict[str, Any] = json.loads(json.dumps({"config": asdict(generator.config), "card": dict(card)}))
    digest = _digest(tensors, header["config"], header["card"])
    header |= {"format": FORMAT, "sha256": digest}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by safetensors' own save_file, which lets nobody but the owner read the file.
    write_whole(path, save(tensors, {"emoface": json.dumps(header, sort_keys=True)}))
    return digest


def load_generator(path: Path | str) -> tuple[AnyGenerator, dict[str, Any], str]:
    """Read a weight file.

    Returns:
        The generator (float32, on the CPU, in evaluation mode), its card, and the content hash.

    Raises:
        WeightsError: the file is missing, truncated, foreign, of another architecture, or its hash is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(path, "there is no such file.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if "emoface" not in metadata:
                raise WeightsError(path, "it is a safetensors file, but not one of emoface's.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(path, f"it is truncated or not a safetensors file ({error}).") from error
    try:
        header = json.loads(metadata["emoface"])
        if header["format"] != FORMAT:
            raise WeightsError(path, f"its format is {header['format']!r}; this version reads {FORMAT}.")
        fields, card = header["config"], dict(header["card"])
        shape: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in dict(fields).items()}
        config = GeneratorConfig(**shape)
        digest = str(header["sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(path, f"its header describes no generator of this version ({error}).") from error
    if _digest(tensors, fields, card) != digest:
        raise WeightsError(path, "its contents do not match the hash in its header; fetch the file again.")
    try:
        # Shapes first, without memory: a header may claim any size.
        with torch.device("meta"):
            expected = build_generator(config).state_dict()
    except (RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
        raise WeightsError(path, f"its header describes no generator of this version ({error}).") from error
    shapes = {k: v.shape for k, v in expected.items() if not k.endswith("num_batches_tracked")}
    if shapes != {k: v.shape for k, v in tensors.items()}:
        raise WeightsError(path, "its tensors are those of another architecture than its header describes.")
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise WeightsError(path, "it holds numbers that are not finite.")
    generator = build_generator(config)
    generator.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=False)
    return generator.eval().requires_grad_(False), card, digest
