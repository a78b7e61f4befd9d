"""``emoface train``: one process, or each of several that ``torchrun`` starts; the first of them speaks."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from emoface.fail import fail, need_torch
from emoface.options import Json


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe that ships (fer48) or a .toml file.")] = "fer48",
    data: Annotated[Path | None, typer.Option(help="The packed zip that `emoface prepare` wrote.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; a run there is gone on with.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Stop in time to be done after so many minutes.")
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--start",
            "--start-from",  # torchrun takes the shorter one for an option of its own
            help="Begin a new run with these weights, or with the start.safetensors of another run.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto (the GPU where there is one), cpu, cuda or cuda:N.")] = "auto",
    describe: Annotated[
        bool, typer.Option("--describe", help="Print sizes and costs of the networks and stop.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train weights by a recipe, from the start or from where the run in --out stopped.

    Examples: `emoface train fer48 --describe`, `emoface train fer48 --data train.zip --out runs/first --minutes 60`,
    `torchrun --nproc-per-node 4 -m emoface train fer48 --data train.zip --out runs/first`
    """
    need_torch("training")
    from training.distributed import ElsewhereError, is_first
    from training.recipe import RecipeError, load_recipe

    first = is_first()
    try:
        plan = load_recipe(recipe)
    except RecipeError as error:
        _stop(error, first)
    if describe:
        _describe(plan, as_json)
        return
    if data is None or out is None:
        _stop("training needs --data X.zip (made by 'emoface prepare') and --out FOLDER.", first)
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from training.data.errors import DataError
    from training.loop import TrainingError
    from training.loop import train as run
    from training.snapshot import SnapshotError
    from training.start import StartError

    console = Console(stderr=True)
    total = plan.schedule.total_kimg * 1000
    columns = (TextColumn("{task.completed:,.0f} images"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    shown = first and console.is_terminal
    with Progress(*columns, TextColumn("{task.description}"), console=console, disable=not shown) as bar:
        task = bar.add_task("starting", total=total)

        def report(line: dict[str, Any]) -> None:
            text = (
                f"{line['img_s']:.0f} img/s  loss D {line['loss_d']:.3f} G {line['loss_g']:.3f}  "
                f"real {line['real_is_real']:.2f} fake {line['fake_is_real']:.2f}  augment {line['augment_p']:.2f}"
            )
            bar.update(task, completed=line["cur_nimg"], description=text)
            if not shown:
                console.print(f"{line['cur_nimg']:,} images  {text}", soft_wrap=True)

        def warn(sentence: str) -> None:
            console.print(f"emoface: {sentence}", soft_wrap=True, markup=False, highlight=False)

        try:
            result = run(plan, data, out, minutes=minutes, device=device, start=start, report=report, warn=warn)
        except (DataError, SnapshotError, StartError, TrainingError, ValueError) as error:
            fail(error)
        except ElsewhereError:
            raise typer.Exit(1) from None  # the process where it went wrong says so
        except OSError as error:
            fail(f"the run in {out} stopped: {error.strerror}; what was saved before is whole.")
    why = {"done": "finished", "minutes": "out of time, saved", "signal": "stopped, saved"}[result.reason]
    if first and as_json:
        typer.echo(json.dumps({**asdict(result), "weights": str(result.weights)}))
    elif first:
        typer.echo(f"{why}: {result.cur_nimg:,} images in {result.seconds / 60:.1f} minutes, weights {result.weights}")


def _stop(sentence: object, first: bool) -> NoReturn:
    """Fail in every process, for all have read the same words, and say it once."""
    if not first:
        raise typer.Exit(1)
    fail(sentence)


def _describe(plan: Any, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from training.describe import describe_networks

    try:
        rows = describe_networks(plan)
    except ValueError as error:
        fail(f"this recipe's networks cannot be built: {error}")
    if as_json:
        networks = [{"network": name, "parameters": size, "multiply_adds": cost} for name, size, cost in rows]
        typer.echo(json.dumps({"recipe": plan.to_dict(), "networks": networks}, indent=2))
        return
    table = Table("network", "parameters", "multiply-adds / image", title=f"{plan.name}: 48x48, 1 channel, 8 emotions")
    for name, parameters, macs in rows:
        table.add_row(name, f"{parameters:,}", f"{macs:,}")
    Console().print(table)
