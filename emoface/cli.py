"""``emoface``: each verb parses, calls one function of a room, and prints.

The rooms are imported inside the verbs: ``--help`` must not wait for torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emoface.dataset import dataset
from emoface.doctor import doctor
from emoface.evaluate import evaluate, judge
from emoface.export import export
from emoface.fail import fail
from emoface.generate import generate
from emoface.models import models
from emoface.options import Weights
from emoface.prepare import prepare_app
from emoface.train import train
from emoface.verify import verify

_HELP = """Ask for an emotion, get a face.

Examples: `emoface serve`, `emoface generate happy --seed 4 -o happy.png`, `emoface doctor`

Exit codes: 0 done, 1 could not (one sentence on standard error says why), 2 wrong use; `verify` says 3 where a picture
is not what it says it is. What goes wrong is told on standard error, and what `--json` prints on standard output.
"""

app = typer.Typer(
    name="emoface",
    help=_HELP,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(prepare_app, name="prepare")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Name or address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes any free one. [default: 8000]")] = None,
    weights: Weights = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N. [default: auto]")] = None,
) -> None:
    """Serve faces over HTTP. Settings not given here come from `EMOFACE_*` in the environment.

    Example: `emoface serve --host 0.0.0.0 --port 8000`
    """
    from service.main import run

    raise typer.Exit(run(host=host, port=port, weights=weights, device=device))


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Whose key it is, for the log: letters, digits, '.', '_' and '-'.")],
    file: Annotated[
        Path | None, typer.Option("--file", help="The service's file of keys: the line is added to it.")
    ] = None,
) -> None:
    """Make an API key for the service. It is shown once: the service keeps its hash alone.

    Example: `emoface key alice --file keys.txt`, then `EMOFACE_API_KEYS_FILE=keys.txt emoface serve`
    """
    from service.access.keys import KeysError, add_key, new_key

    try:
        made, line = new_key(name)
        if file is not None:
            add_key(file, line)
    except KeysError as error:
        fail(error)
    typer.echo(made)
    if file is None:
        typer.echo(f"The service's line for it, for EMOFACE_API_KEYS or a file of keys:\n{line}", err=True)


for verb in (generate, models, verify, doctor, export, train, evaluate, judge, dataset):
    app.command()(verb)


def main() -> None:
    """Run the command line."""
    app()
