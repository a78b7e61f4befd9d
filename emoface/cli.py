"""``emoface``: each verb parses, calls one function of a room, and prints.

The rooms are imported inside the verbs: ``--help`` must not wait for torch.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

app = typer.Typer(
    name="emoface",
    help="Ask for an emotion, get a face.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
prepare_app = typer.Typer(no_args_is_help=True, help="Turn a data set as downloaded into a packed zip for training.")
app.add_typer(prepare_app, name="prepare")

Weights = Annotated[
    Path | None, typer.Option("--weights", help="A .safetensors file of emoface weights; by default those that ship.")
]
Device = Annotated[str, typer.Option("--device", help="auto (the GPU where there is one), cpu, cuda or cuda:N.")]


def _fail(sentence: object) -> NoReturn:
    """Print one sentence to standard error and exit with 1."""
    typer.echo(f"emoface: {sentence}", err=True)
    raise typer.Exit(1)


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
def generate(
    emotion: Annotated[str, typer.Argument(help="A name (happy) or a mix (happy=0.7,surprise=0.3).")],
    seed: Annotated[
        str | None, typer.Option(help="Who it is: a whole number or any text; without it one is drawn and told.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write (.png, .webp, .jpg); - for stdout.")
    ] = None,
    intensity: Annotated[float, typer.Option(help="0 is neutral, 1 the emotion, up to 1.5.")] = 1.0,
    truncation: Annotated[float, typer.Option(help="0 is the average person, 1 the full variety of people.")] = 1.0,
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
    from model.files import write_whole
    from model.provenance import describe

    person: int | str = secrets.randbelow(2**53) if seed is None else seed
    if seed is not None and re.fullmatch(r"-?(0|[1-9][0-9]*)", seed):
        person = int(seed)  # a number out of range is a mistake, not a name
    formats = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}
    out = out or Path("face.png")
    format = "png" if str(out) == "-" else formats.get(out.suffix.lower())
    if format is None:
        _fail(f"cannot tell the picture format of {str(out)!r}; end it in one of {', '.join(formats)}.")
    try:
        sampler = FaceSampler.load(weights, device)
        request = FaceRequest(EmotionMix.parse(_mix(emotion), sampler.emotions), person, intensity, truncation)
        picture = encode_face(sampler.sample([request])[0], size, format, describe(sampler, request))
        if str(out) == "-":
            sys.stdout.buffer.write(picture)
        else:
            write_whole(out, picture)
    except OSError as error:
        _fail(f"cannot write {out}: {error.strerror}.")
    except (WeightsError, ValueError) as error:
        _fail(error)
    typer.echo(f"{out}: {request.mix}, seed {request.seed}", err=True)


def _mix(text: str) -> str | dict[str, float]:
    """Read ``happy`` or ``happy=0.7,surprise=0.3``. Raises ValueError with one sentence."""
    if "=" not in text:
        return text
    mix: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = part.partition("=")
        try:
            mix[name.strip()] = mix.get(name.strip(), 0.0) + float(weight)
        except ValueError:
            raise ValueError(f"{part!r} is no emotion=weight; write a mix like happy=0.7,surprise=0.3.") from None
    return mix


@prepare_app.command("fer2013")
def prepare_fer2013(
    source: Annotated[
        Path,
        typer.Argument(
            help="fer2013.csv or icml_face_data.csv (plain, .xz, .gz, .zip), or a folder with train/, test/."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The zip to write.")],
    ferplus: Annotated[Path | None, typer.Option(help="fer2013new.csv: FER+ votes, joined by row.")] = None,
    split: Annotated[str, typer.Option(help="training, publictest, privatetest, or test for both.")] = "training",
) -> None:
    """Pack FER-2013 for training: PNGs and a `dataset.json` that StyleGAN's readers read too.

    Example: `emoface prepare fer2013 fer2013.csv.xz train.zip --ferplus fer2013new.csv`
    """
    from rich.console import Console
    from rich.progress import Progress

    from training.data.errors import DataError
    from training.data.fer2013 import prepare_fer2013 as prepare

    console = Console(stderr=True)
    try:
        with Progress(console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task(f"Reading {source.name}", total=None)
            report = prepare(
                source,
                out,
                ferplus=ferplus,
                split=split,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    except DataError as error:
        _fail(error)
    for row in report.bad[:20]:
        typer.echo(f"  bad {row}", err=True)
    if len(report.bad) > 20:
        typer.echo(f"  ... and {len(report.bad) - 20:,} more", err=True)
    for reason, rows in report.skipped.items():
        typer.echo(f"  left out {len(rows):,}: {reason} (first: {rows[0]:,})", err=True)
    counts = ", ".join(f"{emotion} {count:,}" for emotion, count in report.counts.items())
    typer.echo(f"{out}: {report.written:,} faces of {report.rows:,} rows, {len(report.bad):,} bad ({counts})")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe that ships (fer48) or a .toml file.")] = "fer48",
    data: Annotated[Path | None, typer.Option(help="The packed zip that `emoface prepare` wrote.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; a run there is gone on with.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Stop in time to be done after so many minutes.")
    ] = None,
    device: Device = "auto",
    describe: Annotated[
        bool, typer.Option("--describe", help="Print sizes and costs of the networks and stop.")
    ] = False,
) -> None:
    """Train weights by a recipe, from the start or from where the run in --out stopped.

    Examples: `emoface train fer48 --describe`, `emoface train fer48 --data train.zip --out runs/first --minutes 60`
    """
    from training.recipe import RecipeError, load_recipe

    try:
        plan = load_recipe(recipe)
    except RecipeError as error:
        _fail(error)
    if describe:
        _describe(plan)
        return
    if data is None or out is None:
        _fail("training needs --data X.zip (made by 'emoface prepare') and --out FOLDER.")
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from training.data.errors import DataError
    from training.loop import TrainingError
    from training.loop import train as run
    from training.snapshot import SnapshotError

    console = Console(stderr=True)
    total = plan.schedule.total_kimg * 1000
    columns = (TextColumn("{task.completed:,.0f} images"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=total)

        def report(line: dict[str, Any]) -> None:
            text = (
                f"{line['img_s']:.0f} img/s  loss D {line['loss_d']:.3f} G {line['loss_g']:.3f}  "
                f"real {line['real_is_real']:.2f} fake {line['fake_is_real']:.2f}  augment {line['augment_p']:.2f}"
            )
            bar.update(task, completed=line["cur_nimg"], description=text)
            if not console.is_terminal:
                console.print(f"{line['cur_nimg']:,} images  {text}", soft_wrap=True)

        try:
            result = run(plan, data, out, minutes=minutes, device=device, report=report)
        except (DataError, SnapshotError, TrainingError, ValueError) as error:
            _fail(error)
        except OSError as error:
            _fail(f"the run in {out} stopped: {error.strerror}; what was saved before is whole.")
    why = {"done": "finished", "minutes": "out of time, saved", "signal": "stopped, saved"}[result.reason]
    typer.echo(f"{why}: {result.cur_nimg:,} images in {result.seconds / 60:.1f} minutes, weights {result.weights}")


def _describe(plan: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    from training.describe import describe_networks

    try:
        rows = describe_networks(plan)
    except ValueError as error:
        _fail(f"this recipe's networks cannot be built: {error}")
    table = Table("network", "parameters", "multiply-adds / image", title=f"{plan.name}: 48x48, 1 channel, 8 emotions")
    for name, parameters, macs in rows:
        table.add_row(name, f"{parameters:,}", f"{macs:,}")
    Console().print(table)


def main() -> None:
    """Run the command line."""
    app()
