"""Options that several verbs have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

Weights = Annotated[
    Path | None, typer.Option("--weights", help="A .safetensors file of emoface weights; by default those that ship.")
]
Device = Annotated[str, typer.Option("--device", help="auto (the GPU where there is one), cpu, cuda or cuda:N.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script to read.")]


def progress() -> Progress:
    """Return a bar on standard error, which shows nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    # As rich's own, but that what stands in brackets is shown: file names may have them.
    words = TextColumn("{task.description}", markup=False)
    columns = (words, BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
