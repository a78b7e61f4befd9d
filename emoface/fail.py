"""How every verb says that something is wrong."""

from __future__ import annotations

from typing import NoReturn

import typer


def fail(sentence: object) -> NoReturn:
    """Print one sentence to standard error and exit with 1."""
    typer.echo(f"emoface: {sentence}", err=True)
    raise typer.Exit(1)
