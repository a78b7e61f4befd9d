"""The run: steps, statistics, snapshots, and a clean way to stop and to go on."""

from __future__ import annotations

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

from model.sampler import FaceSampler, choose_device
from model.weights import save_weights
from training.batches import BatchSource
from training.data.packed import load_packed
from training.memory import keep_freed_memory
from training.recipe import Recipe
from training.snapshot import STATE, Progress, averaged_generator, load_state, sample_grid, save_state
from training.stats import Statistics, finite
from training.trainer import Trainer

_FIRST_RESERVE_S = 20.0
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
        TrainingError: the losses are not finite any more, the recipe does not fit the data, or ``out`` is unusable.
        DataError, SnapshotError: the data or the snapshot in ``out`` cannot be used.
        ValueError: the device is not there.
    """
    began = time.monotonic()
    keep_freed_memory()
    device = choose_device(device)
    dataset = load_packed(data)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"cannot use {out} as the folder of a run: {error.strerror}.") from error
    source = BatchSource(dataset, recipe, device)
    try:
        trainer = Trainer(recipe, dataset.resolution, dataset.channels, dataset.emotions, device)
    except ValueError as error:
        raise TrainingError(f"the recipe does not fit {data.name}: {error}") from error
    progress = load_state(out / STATE, trainer, dataset.sha256) if (out / STATE).exists() else Progress()
    cur_nimg, seconds_before = progress.cur_nimg, progress.seconds
    stats = Statistics(out / "stats.jsonl", cur_nimg, progress.statistics)
    schedule = recipe.schedule
    batch, total = schedule.batch, schedule.total_kimg * 1000
    reserve_s = _FIRST_RESERVE_S  # kept of the minutes for the last snapshot: a guess until one was made
    steps, tick_time = 0, time.monotonic()
    weights: Path | None = None
    reason = "done"

    def seconds() -> float:
        return seconds_before + time.monotonic() - began

    def snapshot() -> Path:
        nonlocal reserve_s, tick_time
        start = time.monotonic()
        if not trainer.finite():
            raise TrainingError(_diverged(cur_nimg, weights))
        save_state(out / STATE, trainer, Progress(cur_nimg, seconds(), stats.state()), dataset.sha256)
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
        took = time.monotonic() - start
        reserve_s = max(reserve_s, 2 * took + 5)
        tick_time += took  # img/s is that of training
        return path

    with _stop_on_signal() as stop:
        while cur_nimg < total:
            stats.add(trainer.step(source.at(cur_nimg), cur_nimg))
            cur_nimg += batch
            steps += 1
            if crossed(cur_nimg, batch, schedule.tick_kimg) or cur_nimg >= total:
                now = time.monotonic()
                more = {"augment_p": trainer.augment_p, "img_s": steps * batch / (now - tick_time)}
                line = stats.end_tick({**more, "cur_nimg": cur_nimg, "seconds": seconds()})
                if not finite(line):
                    raise TrainingError(_diverged(cur_nimg, weights))
                report(line)
                steps, tick_time = 0, now
            if crossed(cur_nimg, batch, schedule.snapshot_kimg):
                weights = snapshot()
            if stop.is_set():
                reason = "signal"
                break
            if minutes is not None and time.monotonic() - began > minutes * 60 - reserve_s:
                reason = "minutes"
                break
        if weights is None or not crossed(cur_nimg, batch, schedule.snapshot_kimg):
            weights = snapshot()
    return TrainResult(cur_nimg, seconds(), weights, reason)


def _diverged(cur_nimg: int, weights: Path | None) -> str:
    last = f"the last good snapshot is {weights}" if weights else "this sitting saved nothing"
    return f"training stopped being finite before {cur_nimg:,} images, and {last}; try a lower learning rate."


def crossed(cur_nimg: int, batch: int, every_kimg: float) -> bool:
    """Tell whether the step that ended at ``cur_nimg`` passed a multiple of ``every_kimg`` thousand images."""
    every = every_kimg * 1000
    return math.floor(cur_nimg / every) > math.floor((cur_nimg - batch) / every)
