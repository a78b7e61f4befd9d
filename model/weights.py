"""One file of weights: tensors, configuration and card in a single .safetensors. Data, never code. Needs no torch.

The header's metadata holds one entry, ``emoface``: JSON with ``format`` (its version), ``config`` (of the generator,
with its architecture), ``card`` (data, recipe, images seen, metrics) and ``sha256`` over all of these and the tensors.
It is one entry because the order of several is not kept, and equal weights should be equal files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from model.files import write_whole
from model.networks.configs import GeneratorConfig, StyleGeneratorConfig, config_to_dict, generator_config

#: 2 since the configuration is one of several architectures and the style-based generator ships.
FORMAT: Final = 2

Arrays = dict[str, NDArray[Any]]


class WeightsError(RuntimeError):
    """A weight file that cannot be used; its text is one sentence that names the file and the reason."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = Path(path)
        self.reason = reason
        super().__init__(f"weights {str(path)!r} cannot be used: {reason}")


@dataclass(frozen=True, slots=True, eq=False)
class WeightFile:
    """What a weight file holds, checked against its hash."""

    path: Path
    config: GeneratorConfig
    arrays: Arrays  # the generator's tensors by name, as they are stored (float16, mostly)
    card: dict[str, Any]
    sha256: str  # content hash, hexadecimal

    @property
    def parameters(self) -> int:
        """Return how many numbers the tensors hold."""
        return sum(array.size for array in self.arrays.values())


def default_weights() -> Path:
    """Return the weight file to use when none is named: ``$EMOFACE_WEIGHTS``, else the one that ships."""
    named = os.environ.get("EMOFACE_WEIGHTS")
    return Path(named) if named else Path(__file__).resolve().parents[1] / "weights" / "fer48.safetensors"


def _digest(arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    header = json.dumps([FORMAT, config, card], sort_keys=True).encode()
    digest = hashlib.sha256(len(header).to_bytes(8, "little") + header)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}|{array.dtype}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def write_weights(path: Path | str, config: GeneratorConfig, arrays: Mapping[str, NDArray[Any]], card: Any) -> str:
    """Write a generator's tensors and its ``card`` (JSON-able) to ``path`` atomically; return the content hash."""
    # Through JSON and back, so that the hash is taken of what a reader will see (lists, not tuples).
    header: dict[str, Any] = json.loads(json.dumps({"config": config_to_dict(config), "card": dict(card)}))
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    digest = _digest(arrays, header["config"], header["card"])
    header |= {"format": FORMAT, "sha256": digest}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by safetensors' own save_file, which lets nobody but the owner read the file.
    write_whole(path, save(arrays, {"emoface": json.dumps(header, sort_keys=True)}))
    return digest


def read_weights(path: Path | str) -> WeightFile:
    """Read a weight file.

    Raises:
        WeightsError: the file is missing, truncated, foreign, of another version, or its hash is wrong; or it holds a
            style-based generator whose tensors are not those that its header describes.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(path, "there is no such file.")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if "emoface" not in metadata:
                raise WeightsError(path, "it is a safetensors file, but not one of emoface's.")
            arrays: Arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
    # AttributeError: a dtype that numpy does not have.
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(path, f"it is truncated or not a safetensors file ({error}).") from error
    try:
        header = json.loads(metadata["emoface"])
        if header["format"] != FORMAT:
            raise WeightsError(path, f"its format is {header['format']!r}; this version reads {FORMAT}.")
        card, digest = dict(header["card"]), str(header["sha256"])
        config = generator_config(header["config"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(path, f"its header describes no generator of this version ({error}).") from error
    if _digest(arrays, header["config"], header["card"]) != digest:
        raise WeightsError(path, "its contents do not match the hash in its header; fetch the file again.")
    if isinstance(config, StyleGeneratorConfig):
        try:
            expected = config.shapes()
        except ValueError as error:
            raise WeightsError(path, f"its header describes no generator of this version ({error}).") from error
        check_shapes(path, expected, arrays)
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise WeightsError(path, "it holds numbers that are not finite.")
    return WeightFile(path, config, arrays, card, digest)


def check_shapes(path: Path, expected: Mapping[str, tuple[int, ...]], arrays: Arrays) -> None:
    """Raise WeightsError unless ``arrays`` are floats of the ``expected`` names and shapes."""
    if expected != {name: array.shape for name, array in arrays.items()}:
        raise WeightsError(path, "its tensors are those of another architecture than its header describes.")
    if any(array.dtype.kind != "f" for array in arrays.values()):
        raise WeightsError(path, "its tensors are not floating-point numbers.")
