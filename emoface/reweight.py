"""``emoface reweight``: weights that know which latents become people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from emoface.fail import fail
from emoface.options import Json, progress


def reweight(
    weights: Annotated[Path, typer.Argument(help="The .safetensors file to go on from.")],
    data: Annotated[Path, typer.Option(help="Packed zip of the faces that the weights were trained on.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The weight file to write.")],
    guides: Annotated[
        str, typer.Option(help="That ship, or files, with commas; best are those that did not teach.")
    ] = "e,j,k",
    people: Annotated[int, typer.Option(min=100, help="Latents to look at, each in every emotion.")] = 16384,
    rate: Annotated[float, typer.Option(min=0.01, max=1.0, help="Part of them to accept, at least.")] = 0.2,
    emotion: Annotated[
        float, typer.Option(min=0.0, help="What emotions that are seen count beside the Frechet distance.")
    ] = 1.5,
    rare: Annotated[
        float, typer.Option(min=0.0, help="0: emotions count alike; above: rare ones more, to this power.")
    ] = 0.2,
    identity: Annotated[
        float, typer.Option(min=0.0, help="What it counts that a person is alike in all emotions.")
    ] = 6.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the people that are looked at.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Json = False,
) -> None:
    """Leave out people of whom the weights make nothing: fit a small network that says which latents become people.

    The generator stays as it is; seeds become other people. Ten minutes of two cores.

    Example: `emoface reweight runs/one/mine-000080.safetensors --data train.zip -o mine.safetensors`
    """
    from model import WeightsError
    from model.sampler import choose_device
    from model.weights import load_generator, save_weights
    from training.data.errors import DataError
    from training.data.packed import load_packed
    from training.guidance import load_guides
    from training.judge import JudgeError
    from training.memory import keep_freed_memory
    from training.recipe import GuideRecipe
    from training.reweight import Reweighting
    from training.reweight import reweight as fit

    keep_freed_memory()
    try:
        how = Reweighting(people=people, rate=rate, emotion=emotion, rare=rare, identity=identity, seed=seed)
        device = choose_device(device)
        generator, card, sha256 = load_generator(weights)
        faces = load_packed(data)
        kinds = tuple(guide.strip() for guide in guides.split(",") if guide.strip())
        if not kinds:
            fail("name at least one guide.")
        teachers = load_guides(GuideRecipe(kinds=kinds, identity=identity), faces)
        with progress() as bar:
            task = bar.add_task("", total=1.0)
            made, figures = fit(
                generator,
                faces,
                teachers,
                how,
                device=device,
                say=lambda text, done: bar.update(task, description=text, completed=done),
            )
        figures["guides"] = dict(zip(kinds, figures["guides"], strict=True))
        save_weights(out, made, {**card, "reweighted": {"from": sha256, **figures}})
    except OSError as error:
        fail(f"cannot write {out}: {error.strerror}.")
    except (DataError, WeightsError, JudgeError, ValueError) as error:
        fail(error)
    if as_json:
        typer.echo(json.dumps({"file": str(out), "sha256": load_generator(out)[2], **figures}))
        return
    for kind, told in figures["guides"].items():
        changes = (f"{name} {told['all'][name]:.4f} -> {value:.4f}" for name, value in told["accepted"].items())
        typer.echo(f"guide {kind}: {', '.join(changes)}")
    typer.echo(f"accepted: {figures['accepted']:.3f} of latents")
    typer.echo(str(out))
