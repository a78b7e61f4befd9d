"""What each of two processes does in test_distributed.py; ``torchrun`` starts it. Leaves ``RANK.json`` in its folder.

``two_processes.py FACES FOLDER``: FACES is a packed data set, and FOLDER/NAME.json hold the recipes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from typer.testing import CliRunner

from emoface.cli import app
from training import loop
from training.batches import BatchSource
from training.data.packed import load_packed
from training.distributed import join
from training.loop import train
from training.recipe import Recipe, recipe_from_dict
from training.trainer import Trainer

faces, folder = Path(sys.argv[1]), Path(sys.argv[2])
rank = int(os.environ["RANK"])
found: dict[str, Any] = {}


def recipe(name: str, images: int) -> Recipe:
    plan = recipe_from_dict(json.loads((folder / f"{name}.json").read_text()))
    return replace(plan, schedule=replace(plan.schedule, total_kimg=images / 1000))


def run(name: str, plan: Recipe, out: str, **options: Any) -> None:
    """Train, and note how it ended."""
    try:
        result = train(plan, faces, folder / out, device="cpu", **options)
        found[name] = [result.reason, result.cur_nimg]
    except Exception as error:
        found[name] = [type(error).__name__, str(error)]


def instead(module: Any, name: str, replacement: Callable[..., Any], work: Callable[[], None]) -> None:
    """Do ``work`` while ``module.name`` is ``replacement``."""
    before = getattr(module, name)
    setattr(module, name, replacement)
    try:
        work()
    finally:
        setattr(module, name, before)


# Met once, for all the runs below: under torchrun a second meeting would find the traces of the first one.
meeting = ExitStack()
world = meeting.enter_context(join("cpu"))
numbers = {"a": torch.tensor(1.0 + world.rank), "b": torch.tensor(-3.0 * world.rank)}
found["mean"] = {name: float(value) for name, value in world.mean(numbers).items()}
found["largest"] = [world.largest(world.rank), world.largest(-world.rank)]
found["same"] = [world.same(2.5), world.same(float(world.rank))]
found["share"] = world.share(torch.arange(6)).tolist()

for name in ("residual", "dense", "convolutional"):
    run(name, recipe(name, 80), f"two-{name}")
run("style run", recipe("style", 80), "two-style")
run("style goes on", recipe("style", 120), "two-style")

# Ten steps of the style-based pair, seen from inside.
plan, data = recipe("style", 80), load_packed(faces)
source = BatchSource(data, plan, "cpu", world)
trainer = Trainer(plan, data.resolution, data.channels, data.emotions, "cpu", world)
trainer.augment_p = 0.3
figures = []
for cur_nimg in range(0, 80, 8):
    batch = source.at(cur_nimg)
    figures.append({name: float(value) for name, value in trainer.step(batch, cur_nimg).items()})
digest = hashlib.sha256()
for module in trainer.modules().values():
    for tensor in module.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
found["style"] = {
    "figures": figures,
    "finite": trainer.finite(),
    "tensors": digest.hexdigest(),
    "latents": batch.latents.tolist(),
    "paired": torch.equal(batch.latents[::2], batch.latents[1::2]),
    "augment_p": trainer.augment_p,
}

# A run of one process, gone on with by two; the folder was made by the test.
run("goes on", recipe("residual", 80), "one-then-two")

# A signal to the second process alone.
step = Trainer.step


def signalled(trainer: Trainer, batch: Any, cur_nimg: int) -> Any:
    if cur_nimg == 24 and rank == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    return step(trainer, batch, cur_nimg)


instead(Trainer, "step", signalled, lambda: run("signal", recipe("residual", 8000), "signal"))

# The clock of the first process alone says when the minutes are over.
minutes = 0.0 if rank == 0 else 1e9
run("minutes", recipe("residual", 8000), "minutes", minutes=minutes)

for name, plan, batch_size in (("uneven", recipe("residual", 80), 9), ("uneven pairs", recipe("style", 80), 6)):
    run(name, replace(plan, schedule=replace(plan.schedule, batch=batch_size)), name)


def full(*arguments: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


instead(loop, "write_snapshot", full, lambda: run("disk full", recipe("residual", 16), "full"))


def broken(*arguments: Any) -> Any:
    raise ValueError("only here")


if rank == 1:
    instead(loop, "load_packed", broken, lambda: run("second fails", recipe("residual", 16), "second"))
else:
    run("second fails", recipe("residual", 16), "second")

# Different networks: the folder of the second process has a state that the first one's lacks.
own = f"apart-{rank}"
if rank == 1:
    (folder / own).mkdir()
    (folder / own / "state.safetensors").write_bytes((folder / "one-then-two" / "state.safetensors").read_bytes())
run("apart", recipe("residual", 88), own)

said = CliRunner().invoke(
    app, ["train", str(folder / "tiny.toml"), "--data", str(faces), "--out", str(folder / "cli"), "--device", "cpu"]
)
found["cli"] = [said.exit_code, said.stdout, said.stderr]
(folder / f"{rank}.json").write_text(json.dumps(found))
meeting.close()
