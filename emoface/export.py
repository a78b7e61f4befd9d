"""``emoface export``: the generator as a file for other runtimes."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from emoface.fail import fail, need_torch
from emoface.options import Json, Weights, progress


class Format(StrEnum):
    """What can be exported to: model.export.FORMATS, which --help must not wait for."""

    onnx = "onnx"
    torchscript = "torchscript"


def export(
    format: Annotated[Format, typer.Argument(help="onnx (for ONNX Runtime) or torchscript (for libtorch).")],
    out: Annotated[Path, typer.Argument(help="File to write: fer48.onnx or fer48.pt, say.")],
    as_json: Json = False,
    weights: Weights = None,
) -> None:
    """Write the generator as one file that runs without emoface; it is run and compared before it is written.

    It takes `latent`, `emotion` and `truncation` (float32, any number of rows) and gives `face` (uint8, rows of
    pixels).

    Example: `emoface export onnx fer48.onnx`
    """
    need_torch("export")
    from model import WeightsError, default_weights
    from model.export import TOLERANCE, ExportError, export_weights

    try:
        with progress() as bar:
            bar.add_task(f"Exporting {out.name}", total=None)
            done = export_weights(weights or default_weights(), format, out)
    except OSError as error:
        fail(f"cannot write {out}: {error.strerror}.")
    except (ExportError, WeightsError, ValueError) as error:
        fail(error)
    if as_json:
        typer.echo(json.dumps({"file": str(out), "format": format.value, "tolerance": TOLERANCE, **asdict(done)}))
        return
    typer.echo(
        f"{out}: {done.bytes:,} bytes; run on {done.faces} faces, {done.share:.3%} of its pixels differ, none by more "
        f"than {done.difference} of 255 grey levels ({TOLERANCE} are allowed)"
    )
