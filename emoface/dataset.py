"""``emoface dataset``: labelled data sets of generated faces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emoface.fail import fail, need_torch
from emoface.options import Device, Json, Weights, progress

if TYPE_CHECKING:
    from model import FaceSampler
    from training.export.agreement import Jury
    from training.export.plan import Plan


def dataset(
    out: Annotated[Path, typer.Argument(help="Folder to write; a data set of the same command there is gone on with.")],
    per_emotion: Annotated[int | None, typer.Option(min=1, help="Faces of each emotion.")] = None,
    mix: Annotated[
        str | None, typer.Option(help="Shares of the emotions instead (happy=0.5,fear=0.5), with --faces.")
    ] = None,
    faces: Annotated[int | None, typer.Option(min=1, help="Faces altogether, with --mix.")] = None,
    identities: Annotated[
        int | None, typer.Option(min=1, help="People, each in every emotion and intensity: a crossed set.")
    ] = None,
    emotions: Annotated[str | None, typer.Option(help="Those wanted (happy,sad); all that fit by default.")] = None,
    intensities: Annotated[
        str, typer.Option(help="One or more (0.25,0.5,1), in equal numbers; 0 is neutral, up to 1.5.")
    ] = "1",
    format: Annotated[
        str, typer.Option(help="folders, zip, webdataset, parquet, or csv (Kaggle's FER-2013).")
    ] = "folders",
    splits: Annotated[
        str | None,
        typer.Option(help="Shares of training, validation and test faces. [default: 1; for csv 0.8,0.1,0.1]"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the first person; the next ones follow.")] = 0,
    truncation: Annotated[
        float | None, typer.Option(help="0 is the average person, 1 the full variety of people. [default: 0.8]")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Pixels a side; the model's own by default.")] = None,
    picture: Annotated[str, typer.Option(help="png, webp, jpg or avif.")] = "png",
    min_agreement: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Ask judges how probably people see the emotion, and keep faces with at least that; 0 only tells.",
        ),
    ] = None,
    judge: Annotated[
        list[Path] | None, typer.Option(help="A judge's file; again for more. [default: the two that ship]")
    ] = None,
    shard: Annotated[int, typer.Option(min=1, help="Faces a shard or Parquet file, and between saves.")] = 1000,
    weights: Weights = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Write a labelled data set of generated faces: to train classifiers with, or to show in experiments.

    Stopped or killed, the same command goes on; the same command gives the same bytes.

    Examples: `emoface dataset faces --per-emotion 1000`,
    `emoface dataset table --per-emotion 1000 --format csv --min-agreement 0.5`,
    `emoface dataset stimuli --identities 20 --intensities 0.25,0.5,0.75,1`
    """
    from model import EmotionMix, FaceSampler, WeightsError
    from model.emotions import read_mix
    from model.sampler import DEFAULT_TRUNCATION
    from training.data.errors import DataError
    from training.export.export import export
    from training.export.formats import layout_of
    from training.export.formats.layout import Picture
    from training.export.plan import make_plan

    try:
        layout = layout_of(format)
        levels = _numbers(intensities, "--intensities")
        shares = _numbers(splits, "--splits") if splits is not None else layout.splits
        form = Picture(picture, size)
        sampler = FaceSampler.load(weights, device)
        known = layout.emotions(sampler.emotions)
        plan = make_plan(
            sampler.emotions,
            per_emotion=per_emotion,
            mix=None if mix is None else EmotionMix.parse(read_mix(mix), sampler.emotions),
            faces=faces,
            identities=identities,
            emotions=known if emotions is None and mix is None else [e for e in (emotions or "").split(",") if e],
            intensities=levels,
            splits=shares,
            seed=seed,
            truncation=DEFAULT_TRUNCATION if truncation is None else truncation,
            part=shard,
        )
        jury = None
        if min_agreement is not None:
            jury = _jury(judge, sampler, plan)
        elif judge:
            fail("a judge is asked where --min-agreement says how much to keep; give both, or neither.")
        with progress() as bar:
            task = bar.add_task(f"{out.name}: {plan.faces:,} faces", total=plan.faces)
            summary = export(
                sampler,
                plan,
                out,
                format=format,
                picture=form,
                jury=jury,
                least=min_agreement or 0.0,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    except (DataError, WeightsError, ValueError) as error:
        fail(error)
    except (KeyboardInterrupt, SystemExit) as stopped:
        typer.echo(f"emoface: stopped; the same command goes on with {out}.", err=True)
        raise typer.Exit(130 if isinstance(stopped, KeyboardInterrupt) else _code(stopped)) from None
    typer.echo(json.dumps(summary) if as_json else _told(out, format, summary))


def _jury(judges: list[Path] | None, sampler: FaceSampler, plan: Plan) -> Jury:
    need_torch("--min-agreement")
    from training.export.agreement import Jury
    from training.judge import Judge, JudgeError, shipped_judges

    try:
        loaded = {path.stem: Judge.load(path, sampler.device) for path in judges or shipped_judges()}
    except JudgeError as error:
        fail(error)
    return Jury(loaded, sampler, plan.classes)


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        fail(f"{option} takes numbers with commas between them, such as 0.25,0.5,1, not {text[:40]!r}.")


def _code(stopped: SystemExit) -> int:
    return stopped.code if isinstance(stopped.code, int) else 1


def _told(out: Path, format: str, summary: dict[str, Any]) -> str:
    counts = {label: sum(own[label] for own in summary["splits"].values()) for label in summary["classes"]}
    told = f"{out}: {summary['faces']:,} faces as {format} ({', '.join(f'{k} {n:,}' for k, n in counts.items())})"
    if "acceptance" in summary:
        rates = ", ".join(f"{label} {own['rate']:.0%}" for label, own in summary["acceptance"].items())
        told += f"\nkept of those tried: {rates}"
    return told
