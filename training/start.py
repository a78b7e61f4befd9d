"""What a new run starts from: networks that an earlier run has trained, so that people can go on from what ships.

Two kinds of file will do. A weight file holds the generator alone; the discriminator is then new, and the recipe should
give it ``schedule.warmup_kimg`` to learn alone. A start file, which every snapshot comes with, holds both networks in
half precision: small enough to ship, and all that fine-tuning needs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from model.discriminator import AnyDiscriminator, DiscriminatorConfig
from model.files import file_sha256
from model.generator import AnyGenerator, GeneratorConfig
from model.networks import accepting_all
from model.weights import WeightsError, half_precision, load_generator
from training.data.atomic import atomic_file
from training.trainer import Trainer

_KEY: Final = "emoface-start"

Config = GeneratorConfig | DiscriminatorConfig


class StartError(RuntimeError):
    """A file that a run cannot start from; its text is one sentence for the user."""


def save_start(path: Path, generator: AnyGenerator, discriminator: AnyDiscriminator, card: Mapping[str, Any]) -> None:
    """Write both networks to ``path``, atomically, in half precision.

    ``generator`` is the averaged one: the best there is, and what the next run's begins with.
    """
    networks: dict[str, nn.Module] = {"generator": generator, "discriminator": discriminator}
    tensors = {f"{name}/{key}": part for name, net in networks.items() for key, part in half_precision(net).items()}
    header = {"generator": asdict(generator.config), "discriminator": asdict(discriminator.config), "card": dict(card)}
    with atomic_file(path) as file:
        file.write(save(tensors, {_KEY: json.dumps(header)}))


def start_from(path: Path, trainer: Trainer) -> dict[str, Any]:
    """Put the networks in ``path`` into ``trainer``; return what they are, for the card of what comes of them.

    Returns:
        ``file``, ``sha256``, ``images_seen`` (if known) and ``discriminator`` (whether one was among them).

    Raises:
        StartError: the file is missing, damaged, or holds networks of another shape or of other emotions than what the
            recipe and the data ask for.
    """
    if not path.is_file():
        raise StartError(f"there is no file {path} to start from.")
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] | None = json.loads((file.metadata() or {}).get(_KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
        if header is None:
            network, card, _ = load_generator(path)
            plain = accepting_all(network)
            generator, tensors = plain.config, plain.state_dict()
        else:
            generator, card = GeneratorConfig(**_tuples(header["generator"])), header["card"]
            discriminator = DiscriminatorConfig(**_tuples(header["discriminator"]))
        digest = file_sha256(path)
    except WeightsError as error:
        raise StartError(str(error)) from error
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise StartError(f"{path} is truncated or not a file to start from ({error}).") from error
    _same_shape(path, "generator", generator, trainer.generator.config)
    if header is not None:
        _same_shape(path, "discriminator", discriminator, trainer.discriminator.config)
        _put(path, trainer.discriminator, _part(tensors, "discriminator"))
        tensors = _part(tensors, "generator")
    for network in (trainer.generator, trainer.average):
        _put(path, network, tensors)
    return {
        "file": path.name,
        "sha256": digest,
        "images_seen": card.get("images_seen"),
        "discriminator": header is not None,
    }


def _tuples(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}


def _part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}


def _same_shape(path: Path, name: str, there: Config, here: Config) -> None:
    theirs, ours = asdict(there), asdict(here)
    if theirs["emotions"] != ours["emotions"]:
        raise StartError(
            f"the {name} in {path} knows {', '.join(theirs['emotions'])}, and the data {', '.join(ours['emotions'])}; "
            "prepare the data with the same emotions in the same order, or start from other weights."
        )
    free = {"dropout"} if name == "discriminator" else set()
    other = [f"{key} {theirs[key]}, not {ours[key]}" for key in ours if key not in free and theirs[key] != ours[key]]
    if other:
        raise StartError(
            f"the {name} in {path} is not of the shape that the recipe and the data ask for ({'; '.join(other)}); "
            "give the recipe and the kind of data that it was trained with."
        )


def _put(path: Path, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    if {key: value.shape for key, value in network.state_dict().items()} != {k: v.shape for k, v in tensors.items()}:
        raise StartError(f"{path} is damaged: its tensors are not those that its header describes.")
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise StartError(f"{path} holds numbers that are not finite; start from an earlier file.")
    network.load_state_dict({key: value.float() for key, value in tensors.items()})
