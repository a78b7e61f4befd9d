"""``emoface models``: which weights there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from emoface.fail import fail
from emoface.options import Json


def models(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Weight files; by default those that `generate` and `serve` take.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell what weights are: their name and hash, what they draw, where they are and what their card says.

    Examples: `emoface models`, `emoface models runs/mine/*.safetensors --json`
    """
    from model import WeightsError, default_weights

    try:
        found = [describe_weights(path) for path in files or [default_weights()]]
    except WeightsError as error:
        fail(error)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for weights in found:
        typer.echo("\n".join(lines(weights)))


def describe_weights(path: Path) -> dict[str, Any]:
    """Return what is known of a weight file, as JSON has it.

    Raises:
        WeightsError: it cannot be used.
    """
    from model.emotions import aliases_of
    from model.provenance import model_tag
    from model.weights import read_weights

    weights = read_weights(path)
    config = weights.config
    beside = path.with_suffix(".md")
    return {
        "name": path.stem,
        "tag": model_tag(path.stem, weights.sha256),
        "sha256": weights.sha256,
        "file": str(path.resolve()),
        "bytes": path.stat().st_size,
        "emotions": list(config.emotions),
        "aliases": {name: aliases_of(name) for name in config.emotions},
        "resolution": config.resolution,
        "channels": config.channels,
        "architecture": config.architecture,
        "parameters": weights.parameters,
        "card": weights.card,
        "card_file": str(beside.resolve()) if beside.is_file() else None,
    }


def lines(weights: dict[str, Any]) -> list[str]:
    """Return what :func:`describe_weights` found as lines for people."""
    card, colour = weights["card"], "grey" if weights["channels"] == 1 else "colour"
    also = [f"{name}: {', '.join(others)}" for name, others in weights["aliases"].items() if others]
    told = [
        weights["tag"],
        f"  file      {weights['file']}, {weights['bytes']:,} bytes",
        f"  sha256    {weights['sha256']}",
        f"  draws     {weights['resolution']}x{weights['resolution']} {colour}, {', '.join(weights['emotions'])}",
        *([f"  also      {'; '.join(also)}"] if also else []),
        f"  network   {weights['architecture']}, {weights['parameters']:,} parameters",
    ]
    trained = []
    if "recipe" in card:
        trained.append(f"recipe {card['recipe'].get('name', '?')}")
    if "data" in card:
        trained.append(f"{card['data'].get('images', 0):,} faces of {card['data'].get('name', '?')}")
    if "images_seen" in card:
        trained.append(f"{card['images_seen']:,} images seen")
    if trained:
        told.append(f"  trained   {', '.join(trained)}")
    if weights["card_file"]:
        told.append(f"  card      {weights['card_file']}")
    return told
