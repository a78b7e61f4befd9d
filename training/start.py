"""What a new run starts from: a pair of networks that an earlier run has trained.

Every snapshot writes such a file, with the averaged generator and the discriminator in half precision: small enough to
ship, and everything that fine-tuning needs except Adam's moments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from model.files import file_sha256
from model.networks.base import Discriminator, Generator
from model.networks.checkpoint import half_precision
from model.networks.configs import NetworkConfig, config_to_dict, discriminator_config, generator_config
from training.data.atomic import atomic_file
from training.trainer import Trainer

_KEY: Final = "emoface-start"
_FREE: Final = ("dropout",)  # settings of a network that change no tensor


class StartError(RuntimeError):
    """A file that a run cannot start from; its text is one sentence for the user."""


def save_start(
    path: Path, generator: Generator, discriminator: Discriminator, card: Mapping[str, Any], augment_p: float = 0.0
) -> None:
    """Write both networks to ``path``, atomically: the generator in float16, the discriminator in bfloat16.

    Without normalisation the discriminator's weights may leave the range of float16.
    """
    halves = {"generator": half_precision(generator), "discriminator": half_precision(discriminator, torch.bfloat16)}
    tensors = {f"{name}/{key}": part for name, parts in halves.items() for key, part in parts.items()}
    header = {
        "generator": config_to_dict(generator.config),
        "discriminator": config_to_dict(discriminator.config),
        "card": dict(card),
        "augment_p": augment_p,
    }
    with atomic_file(path) as file:
        file.write(save(tensors, {_KEY: json.dumps(header)}))


def start_from(path: Path, trainer: Trainer) -> dict[str, Any]:
    """Put the networks in ``path`` into ``trainer``; return what they are, for the card of the run's weights.

    Returns:
        ``file``, ``sha256`` and ``images_seen`` (if known).

    Raises:
        StartError: the file is missing, damaged, or holds networks of another shape or of other emotions than what the
            recipe and the data ask for.
    """
    if not path.is_file():
        raise StartError(f"there is no file {path} to start from.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if _KEY not in metadata:
                raise StartError(
                    f"{path} holds no pair of networks; start from the start.safetensors that a run writes, or from "
                    "the pair that ships: a new discriminator would spoil a trained generator."
                )
            header = json.loads(metadata[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
        configs = generator_config(header["generator"]), discriminator_config(header["discriminator"])
        card, augment_p = dict(header["card"]), float(header["augment_p"])
        digest = file_sha256(path)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise StartError(f"{path} is truncated or not a file to start from ({error}).") from error
    for name, config in zip(("generator", "discriminator"), configs, strict=True):
        network = getattr(trainer, name)
        _same_shape(path, name, config, network.config)
        _load(path, network, {k.partition("/")[2]: v for k, v in tensors.items() if k.startswith(f"{name}/")})
    trainer.augment_p = min(augment_p, trainer.recipe.augment.maximum) if trainer.recipe.augment.target else 0.0
    trainer.g_ema.load_state_dict(trainer.generator.state_dict())
    return {"file": path.name, "sha256": digest, "images_seen": card.get("images_seen")}


def _same_shape(path: Path, name: str, there: NetworkConfig, here: NetworkConfig) -> None:
    theirs, ours = config_to_dict(there), config_to_dict(here)
    if theirs["emotions"] != ours["emotions"]:
        raise StartError(
            f"the {name} in {path} knows {', '.join(theirs['emotions'])}, and the data {', '.join(ours['emotions'])}; "
            "prepare the data with the same emotions in the same order, or start from other weights."
        )
    keys = {*theirs, *ours}.difference(_FREE)
    other = [
        f"{key} {theirs.get(key)}, not {ours.get(key)}" for key in sorted(keys) if theirs.get(key) != ours.get(key)
    ]
    if other:
        raise StartError(
            f"the {name} in {path} is not of the shape that the recipe and the data ask for ({'; '.join(other)}); "
            "give the recipe and the kind of data that it was trained with."
        )


def _load(path: Path, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    if {key: value.shape for key, value in network.state_dict().items()} != {k: v.shape for k, v in tensors.items()}:
        raise StartError(f"{path} is damaged: its tensors are not those that its header describes.")
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise StartError(f"{path} holds numbers that are not finite; start from an earlier file.")
    network.load_state_dict({key: value.float() for key, value in tensors.items()})
