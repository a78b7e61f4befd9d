"""``emoface verify``: whether pictures are faces that these weights drew."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from emoface.fail import FAILED, NOT_VERIFIED, fail
from emoface.generate import LARGEST
from emoface.options import Device, Json, Weights, progress


def verify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Pictures; - for one on stdin.")],
    as_json: Json = False,
    weights: Weights = None,
    device: Device = "auto",
) -> None:
    """Tell whether pictures came from these weights: each is drawn again and compared, pixel by pixel.

    The exit code is 0 if all did, 3 if one did not, and 1 if one could not be read.

    Examples: `emoface verify happy.png`, `emoface verify faces/*.webp --json`
    """
    from model import FaceSampler, WeightsError

    try:
        sampler = FaceSampler.load(weights, device)
    except (WeightsError, ValueError) as error:
        fail(error)
    with progress() as bar:
        found = [_look(path, sampler) for path in bar.track(files, description="Looking")]
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        for one in found:
            verdict = {True: "verified", False: "NOT VERIFIED", None: "not looked at"}[one["verified"]]
            who = f" ({one['emotion']}, seed {one['seed']}, {one['model']})" if one["verified"] else ""
            typer.echo(f"{one['file']}: {verdict}{who}. {one['reason']}")
    if any(one["verified"] is None for one in found):
        raise typer.Exit(FAILED)
    if not all(one["verified"] for one in found):
        raise typer.Exit(NOT_VERIFIED)


def _look(path: Path, sampler: Any) -> dict[str, Any]:
    """Return what was found of one file, as JSON has it; ``verified`` is None where there is no picture to look at."""
    from model.provenance import NoPicture
    from model.verify import verify

    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        claim, verdict = verify(content, sampler, LARGEST)
    except OSError as error:
        return {"file": str(path), "verified": None, "reason": f"It cannot be read: {error.strerror}."}
    except NoPicture as error:
        reason = str(error)
        return {"file": str(path), "verified": None, "reason": reason[:1].upper() + reason[1:]}
    return {
        "file": str(path),
        "verified": verdict.verified,
        "reason": verdict.reason,
        "difference": verdict.difference,
        **claim.told,
        "size": claim.size,
        "format": claim.format,
    }
