"""``emoface average``: the mean of weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from emoface.fail import fail
from emoface.options import Json


def average(
    weights: Annotated[list[Path], typer.Argument(help="The .safetensors files, those of the last stretch last.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The weight file to write.")],
    as_json: Json = False,
) -> None:
    """Write the mean of weights that one run after another ended with: often better than each of them, so measure it.

    Example: `emoface average runs/one/mine-000080.safetensors runs/two/mine-000080.safetensors -o mean.safetensors`
    """
    from model import WeightsError
    from model.weights import load_generator
    from training.average import average_weights

    try:
        average_weights(weights, out)
    except OSError as error:
        fail(f"cannot write {out}: {error.strerror}.")
    except (WeightsError, ValueError) as error:
        fail(error)
    typer.echo(json.dumps({"file": str(out), "sha256": load_generator(out)[2]}) if as_json else str(out))
