"""``emoface``: each verb parses, calls one function of a room, and prints.

The rooms are imported inside the verbs: ``--help`` must not wait for torch.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from emoface.evaluate import evaluate, judge
from emoface.fail import fail
from emoface.prepare import prepare_app
from emoface.train import train

app = typer.Typer(
    name="emoface",
    help="Ask for an emotion, get a face.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(prepare_app, name="prepare")

Weights = Annotated[
    Path | None, typer.Option("--weights", help="A .safetensors file of emoface weights; by default those that ship.")
]
Device = Annotated[str, typer.Option("--device", help="auto (the GPU where there is one), cpu, cuda or cuda:N.")]


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


@app.command()
def generate(
    emotion: Annotated[str, typer.Argument(help="A name (happy) or a mix (happy=0.7,surprise=0.3).")],
    seed: Annotated[
        str | None, typer.Option(help="Who it is: a whole number or any text; without it one is drawn and told.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write (.png, .webp, .jpg, .avif); - for stdout.")
    ] = None,
    intensity: Annotated[float, typer.Option(help="0 is neutral, 1 the emotion, up to 1.5.")] = 1.0,
    truncation: Annotated[
        float | None, typer.Option(help="0 is the average person, 1 the full variety of people. [default: 0.95]")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Pixels a side; the model's own by default.")
    ] = None,
    weights: Weights = None,
    device: Device = "auto",
) -> None:
    """Draw one face into a file: the same pixels as the service's.

    Example: `emoface generate happy --seed 2 -o happy.png`
    """
    import secrets

    from model import EmotionMix, FaceRequest, FaceSampler, WeightsError, encode_face
    from model.emotions import read_mix
    from model.encode import SUFFIXES
    from model.files import write_whole
    from model.provenance import describe
    from model.sampler import DEFAULT_TRUNCATION

    person: int | str = secrets.randbelow(2**53) if seed is None else seed
    if seed is not None and re.fullmatch(r"-?(0|[1-9][0-9]*)", seed):
        person = int(seed)  # a number out of range is a mistake, not a name
    psi = DEFAULT_TRUNCATION if truncation is None else truncation
    out = out or Path("face.png")
    format = "png" if str(out) == "-" else SUFFIXES.get(out.suffix.lower().lstrip("."))
    if format is None:
        fail(f"cannot tell the picture format of {str(out)!r}; end it in one of .{', .'.join(SUFFIXES)}.")
    try:
        sampler = FaceSampler.load(weights, device)
        request = FaceRequest(EmotionMix.parse(read_mix(emotion), sampler.emotions), person, intensity, psi)
        picture = encode_face(sampler.sample([request])[0], size, format, describe(sampler, request))
        if str(out) == "-":
            sys.stdout.buffer.write(picture)
        else:
            write_whole(out, picture)
    except OSError as error:
        fail(f"cannot write {out}: {error.strerror}.")
    except (WeightsError, ValueError) as error:
        fail(error)
    typer.echo(f"{out}: {request.mix}, seed {request.seed}", err=True)


for verb in (train, evaluate, judge):
    app.command()(verb)


def main() -> None:
    """Run the command line."""
    app()
