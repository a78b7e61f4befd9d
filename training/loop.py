"""The run: steps, statistics, snapshots, and a clean way to stop and to go on."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from model.sampler import FaceSampler
from model.weights import save_weights
from training.batches import BatchSource
from training.data.packed import load_packed
from training.memory import keep_freed_memory
from training.recipe import Recipe
from training.snapshot import STATE, averaged_generator, load_state, sample_grid, save_state
from training.trainer import Trainer

GRID_SEEDS = range(8)  # the people in a run's sample grids; always the same, to see them grow up


class TrainingError(RuntimeError):
    """A run that cannot start or go on; its text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """How a run ended."""

    cur_nimg: int  # real images seen, all sittings together
    seconds: float  # time spent in training, all sittings together
    weights: Path  # the newest weight file
    reason: str  # "done", "minutes" or "signal"


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """Give an event that SIGTERM or SIGINT sets, so that the run ends after the step it is in."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    minutes: float | None = None,
    device: str = "auto",
    report: Callable[[dict[str, Any]], None] = lambda line: None,
) -> TrainResult:
    """Train by ``recipe`` on the packed data set ``data``, in the folder ``out``; go on where a run there stopped.

    Args:
        minutes: stop in time to have saved everything this many minutes after the call; None trains to the end.
        device: ``auto`` (the GPU where there is one), ``cpu`` or ``cuda``.
        report: called with each line of ``out/stats.jsonl`` as it is written.

    Raises:
        TrainingError: the losses are not finite any more.
        DataError, SnapshotError: the data or the snapshot in ``out`` cannot be used.
    """
    began = time.monotonic()
    keep_freed_memory()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    dataset = load_packed(data)
    out.mkdir(parents=True, exist_ok=True)
    source = BatchSource(dataset, recipe, device)
    trainer = Trainer(recipe, dataset.resolution, dataset.channels, dataset.emotions, device)
    cur_nimg, seconds_before = 0, 0.0
    if (out / STATE).exists():
        cur_nimg, seconds_before = load_state(out / STATE, trainer, dataset.sha256)
    schedule = recipe.schedule
    batch, total = schedule.batch, schedule.total_kimg * 1000
    saving_s = 0.0  # how long the slowest snapshot took, to stop early enough for another

    def seconds() -> float:
        return seconds_before + time.monotonic() - began

    def snapshot() -> Path:
        nonlocal saving_s
        start = time.monotonic()
        save_state(out / STATE, trainer, cur_nimg, seconds(), dataset.sha256)
        card = {
            "data": {"file": data.name, "sha256": dataset.sha256, "images": len(dataset), **dataset.meta},
            "recipe": recipe.to_dict(),
            "images_seen": cur_nimg,
            "training_minutes": round(seconds() / 60, 1),
            "torch": torch.__version__,
        }
        path = out / f"{recipe.name}-{cur_nimg // 1000:06d}.safetensors"
        generator = averaged_generator(trainer, source)
        save_weights(path, generator, card)
        sample_grid(FaceSampler(generator), GRID_SEEDS).save(path.with_suffix(".png"))
        saving_s = max(saving_s, time.monotonic() - start)
        return path

    sums: dict[str, torch.Tensor] = {}
    steps, tick_time = 0, time.monotonic()
    weights: Path | None = None
    reason = "done"
    with _stop_on_signal() as stop, (out / "stats.jsonl").open("a", encoding="utf-8") as stats:
        while cur_nimg < total:
            logged = trainer.step(source.at(cur_nimg), cur_nimg)
            cur_nimg += batch
            steps += 1
            sums = {key: sums[key] + value if key in sums else value for key, value in logged.items()}
            if crossed(cur_nimg, batch, schedule.tick_kimg) or cur_nimg >= total:
                now = time.monotonic()
                line = {key: float(value) / steps for key, value in sums.items()}
                if not all(math.isfinite(value) for value in line.values()):
                    raise TrainingError(
                        f"the losses stopped being finite before {cur_nimg} images; "
                        f"the last good snapshot is {weights or out / STATE}."
                    )
                line |= {"augment_p": trainer.augment_p, "img_s": steps * batch / (now - tick_time)}
                line |= {"cur_nimg": cur_nimg, "seconds": seconds()}
                stats.write(json.dumps({key: round(value, 5) for key, value in line.items()}) + "\n")
                stats.flush()
                report(line)
                sums, steps, tick_time = {}, 0, now
            if crossed(cur_nimg, batch, schedule.snapshot_kimg):
                weights = snapshot()
            if stop.is_set():
                reason = "signal"
                break
            if minutes is not None and time.monotonic() - began > minutes * 60 - 2 * saving_s - 5:
                reason = "minutes"
                break
        if weights is None or not crossed(cur_nimg, batch, schedule.snapshot_kimg):
            weights = snapshot()
    return TrainResult(cur_nimg, seconds(), weights, reason)


def crossed(cur_nimg: int, batch: int, every_kimg: float) -> bool:
    """Tell whether the step that ended at ``cur_nimg`` passed a multiple of ``every_kimg`` thousand images."""
    every = every_kimg * 1000
    return math.floor(cur_nimg / every) > math.floor((cur_nimg - batch) / every)
