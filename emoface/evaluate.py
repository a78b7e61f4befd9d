"""``emoface evaluate`` and ``emoface judge``: what weights are worth, and the judge who says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from emoface.fail import fail, need_torch
from emoface.options import Json, progress

Data = Annotated[Path, typer.Option("--data", help="Packed zip of real faces that no training has seen.")]


def evaluate(
    weights: Annotated[Path, typer.Argument(help="The .safetensors file to judge.")],
    data: Data,
    train: Annotated[Path, typer.Option(help="Packed zip of the faces that the weights were trained on.")],
    out: Annotated[Path, typer.Option(help="Folder for report.json, report.md and the pictures.")] = Path("report"),
    judge: Annotated[
        list[Path] | None, typer.Option(help="A judge's file; again for more. [default: the two that ship]")
    ] = None,
    truncation: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Of the faces that answer requests. [default: 0.8]"),
    ] = None,
    faces: Annotated[int, typer.Option(min=20, help="Faces of each emotion.")] = 1000,
    run: Annotated[Path | None, typer.Option(help="Folder of the run that made the weights, for its curves.")] = None,
    card: Annotated[
        Path | None, typer.Option(help="Write a model card to this .md file, and its picture beside it.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out GAN-train, nearest training faces and the face detector.")
    ] = False,
    inception: Annotated[
        Path | None, typer.Option(help="Inception's weights (torch-fidelity's .pth), for FID; hours without a GPU.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Json = False,
) -> None:
    """Measure weights against real faces and write a report.

    Example: `emoface evaluate weights/fer48.safetensors --data test.zip --train train.zip --out report`
    """
    need_torch("evaluation")
    from model import FaceSampler, WeightsError
    from model.sampler import DEFAULT_TRUNCATION, choose_device
    from training.card import write_card
    from training.data.errors import DataError
    from training.data.packed import load_packed
    from training.dlib_models import DlibError
    from training.evaluate import evaluate as measure
    from training.face_detector import load_detector
    from training.headline import headline, number
    from training.identity import load_embedder
    from training.inception import InceptionError, load_inception
    from training.judge import Judge, JudgeError, shipped_judges
    from training.memory import keep_freed_memory
    from training.reference import Reference
    from training.report import write_report

    keep_freed_memory()
    try:
        device = choose_device(device)
        sampler = FaceSampler.load(weights, device)
        judges = {path.stem: Judge.load(path, device) for path in judge or shipped_judges()}
        reference = Reference(load_packed(data), load_packed(train), judges)
        embedder, detector = None, None
        try:
            embedder, detector = load_embedder(), load_detector()
        except DlibError as error:
            typer.echo(f"emoface: identity and detected faces are not measured: {error}", err=True)
        network = None if inception is None else load_inception(inception, device=device)
        with progress() as bar:
            task = bar.add_task("", total=None)
            figures = measure(
                sampler,
                reference,
                truncation=DEFAULT_TRUNCATION if truncation is None else truncation,
                per_emotion=faces,
                embedder=embedder,
                detector=detector,
                inception=network,
                quick=quick,
                device=device,
                say=lambda text: bar.update(task, description=text),
            )
        seen = None if quick else reference.faces(figures["protocol"]["emotions"])[1]
        written = write_report(figures, sampler, out, train=seen, run=run)
        if card is not None:
            write_card(figures, sampler, weights, card)
    except (DataError, WeightsError, JudgeError, InceptionError, ValueError) as error:
        fail(error)
    except OSError as error:
        fail(f"cannot write the report to {out}: {error.strerror}.")
    if as_json:
        typer.echo((out / "report.json").read_text(encoding="utf-8"))
        return
    for line in headline(figures):
        told = " / ".join(number(value, line.percent) for value in line.generated)
        typer.echo(f"{line.name}: {told} (must {line.must:g}, aim {line.aim:g})")
    typer.echo(f"{written}")


def judge(
    train: Annotated[Path, typer.Option(help="Packed zip of faces to learn from.")],
    out: Annotated[Path, typer.Option(help="The judge's .safetensors file to write.")],
    data: Annotated[Path | None, typer.Option("--data", help="Packed zip of faces to test it on.")] = None,
    kind: Annotated[str, typer.Option(help="a or b: two shapes, so that one can check the other.")] = "a",
    epochs: Annotated[float | None, typer.Option(min=0.0, help="Times to see every face.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Json = False,
) -> None:
    """Train a judge: a classifier of emotions that measures generators and never trains one.

    Example: `emoface judge --train train.zip --data test.zip --out judge-a.safetensors`
    """
    need_torch("training a judge")
    from model.sampler import choose_device
    from training.data.errors import DataError
    from training.data.packed import load_packed
    from training.judge import JudgeError, judge_accuracy
    from training.judge_training import judge_config, train_judge
    from training.memory import keep_freed_memory

    keep_freed_memory()
    try:
        device = choose_device(device)
        faces = load_packed(train)
        test = None if data is None else load_packed(data)
        with progress() as bar:
            task = bar.add_task("Training", total=None)
            made = train_judge(
                faces.images,
                faces.labels,
                faces.given,
                judge_config(kind, faces, epochs),
                device=device,
                card={"kind": kind, "train_sha256": faces.sha256, "images": len(faces)},
                report=lambda line: bar.update(
                    task,
                    completed=line["step"],
                    total=line["steps"],
                    description=f"loss {line['loss']:.3f}  {line['img_s']:.0f} img/s",
                ),
            )
        if test is not None:
            made.card["test"] = judge_accuracy(made, test)
        made.save(out)
    except (DataError, JudgeError, ValueError) as error:
        fail(error)
    if as_json:
        typer.echo(json.dumps({"file": str(out), "test": made.card.get("test")}))
        return
    told = "" if test is None else ": " + ", ".join(f"{name} {value:.3f}" for name, value in made.card["test"].items())
    typer.echo(f"{out}{told}")
