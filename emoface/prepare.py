"""``emoface prepare ...``: one verb a source, each turns it as downloaded into a packed data set."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emoface.fail import fail
from emoface.options import Json, progress

if TYPE_CHECKING:
    from training.data.report import PrepareReport

prepare_app = typer.Typer(no_args_is_help=True, help="Turn a data set as downloaded into a packed zip for training.")

Out = Annotated[Path, typer.Argument(help="The zip to write.")]
Size = Annotated[int, typer.Option(min=1, max=1024, help="Pixels a side of the images to write.")]
Grey = Annotated[bool, typer.Option("--grey", help="Write grey images; otherwise in colour.")]

_MOST_BAD_SHOWN = 20


def _run(
    source: Path,
    out: Path,
    prepare: Callable[[Callable[[int, int], None]], PrepareReport],
    as_json: bool,
    what: str = "faces",
) -> None:
    """Call ``prepare`` with a function that reports (done, total), and tell how many of ``what`` came of it."""
    from training.data.errors import DataError

    try:
        with progress() as bar:
            task = bar.add_task(f"Reading {source.name}", total=None)
            report = prepare(lambda done, total: bar.update(task, completed=done, total=total))
    except DataError as error:
        fail(error)
    if as_json:
        # A Counter does not survive asdict, which makes it count its pairs.
        told = asdict(report) | {"counts": dict(report.counts), "bad": [str(row) for row in report.bad]}
        typer.echo(json.dumps({"file": str(out), **told}, ensure_ascii=False, indent=2))
        return
    for row in report.bad[:_MOST_BAD_SHOWN]:
        typer.echo(f"  bad {row}", err=True)
    if len(report.bad) > _MOST_BAD_SHOWN:
        typer.echo(f"  ... and {len(report.bad) - _MOST_BAD_SHOWN:,} more", err=True)
    for reason, rows in report.skipped.items():
        typer.echo(f"  left out {len(rows):,}: {reason} (first: {rows[0]:,})", err=True)
    counts = ", ".join(f"{emotion} {count:,}" for emotion, count in report.counts.items())
    typer.echo(f"{out}: {report.written:,} {what} of {report.rows:,} rows, {len(report.bad):,} bad ({counts})")


@prepare_app.command("fer2013")
def prepare_fer2013(
    source: Annotated[
        Path,
        typer.Argument(
            help="fer2013.csv or icml_face_data.csv (plain, .xz, .gz, .zip), or a folder with train/, test/."
        ),
    ],
    out: Out,
    ferplus: Annotated[Path | None, typer.Option(help="fer2013new.csv: FER+ votes, joined by row.")] = None,
    split: Annotated[str, typer.Option(help="training, publictest, privatetest, or test for both.")] = "training",
    as_json: Json = False,
) -> None:
    """Pack FER-2013 for training: PNGs and a `dataset.json` that StyleGAN's readers read too.

    Example: `emoface prepare fer2013 fer2013.csv.xz train.zip --ferplus fer2013new.csv`
    """
    from training.data.fer2013 import prepare_fer2013 as prepare

    _run(
        source,
        out,
        lambda progress: prepare(source, out, ferplus=ferplus, split=split, progress=progress),
        as_json,
    )


@prepare_app.command("affectnet")
def prepare_affectnet(
    source: Annotated[
        Path, typer.Argument(help="AffectNet as a folder or a zip: its lists, AffectNet-8Labels, or class folders.")
    ],
    out: Out,
    split: Annotated[str, typer.Option(help="training, validation, or test where there is one.")] = "training",
    size: Size = 48,
    colour: Annotated[bool, typer.Option("--colour", help="Keep the colours; otherwise grey.")] = False,
    as_json: Json = False,
) -> None:
    """Pack AffectNet's eight emotions; the layout is recognised.

    Example: `emoface prepare affectnet AffectNet train.zip --split training --size 48`
    """
    from training.data.affectnet import prepare_affectnet as prepare

    _run(
        source,
        out,
        lambda tell: prepare(source, out, split=split, size=size, colour=colour, progress=tell),
        as_json,
    )


@prepare_app.command("celeba")
def prepare_celeba(
    source: Annotated[Path, typer.Argument(help="A folder or a zip with img_align_celeba and list_attr_celeba.")],
    out: Out,
    attribute: Annotated[
        list[str] | None,
        typer.Option(help="An attribute to tell apart; give it again for their combinations. [default: Smiling]"),
    ] = None,
    split: Annotated[str, typer.Option(help="all, or training, validation, test by list_eval_partition.")] = "all",
    size: Size = 48,
    grey: Grey = False,
    as_json: Json = False,
) -> None:
    """Pack CelebA's aligned faces with the chosen attributes as classes; Smiling gives neutral and happy.

    Example: `emoface prepare celeba celeba.zip faces.zip --attribute Smiling --attribute Male`
    """
    from training.data.celeba import prepare_celeba as prepare

    wanted = attribute or ["Smiling"]
    _run(
        source,
        out,
        lambda tell: prepare(source, out, attributes=wanted, split=split, size=size, grey=grey, progress=tell),
        as_json,
    )


@prepare_app.command("mnist")
def prepare_mnist(
    source: Annotated[Path, typer.Argument(help="A folder or a zip with MNIST's idx files, plain or .gz.")],
    out: Out,
    split: Annotated[str, typer.Option(help="train or test.")] = "train",
    size: Annotated[int, typer.Option(min=28, max=1024, help="Pixels a side; digits are padded, not blurred.")] = 32,
    as_json: Json = False,
) -> None:
    """Pack MNIST's digits: ten classes to try a recipe on in minutes.

    Example: `emoface prepare mnist mnist digits.zip --split test`
    """
    from training.data.mnist import prepare_mnist as prepare

    _run(source, out, lambda tell: prepare(source, out, split=split, size=size, progress=tell), as_json, "digits")


@prepare_app.command("folder")
def prepare_folder(
    source: Annotated[Path, typer.Argument(help="A folder or a zip with a folder of pictures for each class.")],
    out: Out,
    size: Size = 48,
    grey: Grey = False,
    as_json: Json = False,
) -> None:
    """Pack any pictures, sorted into class folders: `happy/`, `sad/`... or classes of your own.

    Example: `emoface prepare folder my-faces faces.zip --size 48`
    """
    from training.data.folder import prepare_folder as prepare

    _run(source, out, lambda tell: prepare(source, out, size=size, grey=grey, progress=tell), as_json, "pictures")
