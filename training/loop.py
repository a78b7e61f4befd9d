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
from typing import Any, Final

import torch

from training.balance import Balance
from training.batches import BatchSource
from training.board import Board
from training.data.errors import DataError
from training.data.packed import load_packed
from training.distributed import World, join
from training.memory import keep_freed_memory
from training.recipe import Recipe
from training.snapshot import START, STATE, Progress, load_state, saved_images, weights_path, write_snapshot
from training.speed import training_flops
from training.start import start_from
from training.stats import Statistics
from training.trainer import Trainer

_FIRST_RESERVE_S: Final = 20.0
_REASONS: Final = ("", "minutes", "signal")  # to stop early, the later the stronger


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
    start: Path | None = None,
    report: Callable[[dict[str, Any]], None] = lambda line: None,
    warn: Callable[[str], None] = lambda sentence: None,
) -> TrainResult:
    """Train by ``recipe`` on the packed data set ``data``, in the folder ``out``; go on where a run there stopped.

    Under ``torchrun`` all its processes call this with the same arguments, see the same files, and train as one.

    Args:
        minutes: stop in time to have saved everything this many minutes after the call; None trains to the end.
        device: ``auto`` (the GPU where there is one), ``cpu`` or ``cuda``.
        start: a pair of networks that a new run begins with instead of random weights.
        report: called with each line of ``out/stats.jsonl`` as it is written.
        warn: called with a sentence about what the user should know and training goes on without.

    Raises:
        TrainingError: the losses are not finite any more, the recipe does not fit the data or the processes, ``out`` is
            unusable, or the disk is full.
        DataError, SnapshotError, StartError: the data, the snapshot in ``out`` or ``start`` cannot be used, or there
            is no room for a snapshot.
        ElsewhereError: another process failed.
        ValueError: the device is not there.
    """
    began = time.monotonic()
    keep_freed_memory()
    with _stop_on_signal() as stop, join(device) as world:
        run = world.together(lambda: _Run(recipe, data, out, start, world, began, report, warn))
        if not world.same(run.fingerprint()):
            raise TrainingError(f"the processes began with different networks; let all of them see the same {out}.")
        schedule, reason = recipe.schedule, "done"
        try:
            while run.cur_nimg < run.total:
                run.step()
                if run.crossed(schedule.tick_kimg) or run.cur_nimg >= run.total:
                    run.end_tick()
                if run.crossed(schedule.snapshot_kimg):
                    run.snapshot()
                late = minutes is not None and time.monotonic() - began > minutes * 60 - run.reserve_s
                # A signal may reach one process alone, and clocks differ: all stop after the same step.
                early = int(world.largest(2 if stop.is_set() else int(late and world.first)))
                if early:
                    reason = _REASONS[early]
                    break
            if run.saved_here != run.cur_nimg:
                run.snapshot()
        finally:
            run.close()
        return TrainResult(run.cur_nimg, run.seconds(), weights_path(out, recipe, run.cur_nimg), reason)


class _Run:
    """One sitting of a run, in one of its processes. Every method is called in all of them, or in none."""

    def __init__(
        self,
        recipe: Recipe,
        data: Path,
        out: Path,
        start: Path | None,
        world: World,
        began: float,
        report: Callable[[dict[str, Any]], None],
        warn: Callable[[str], None],
    ) -> None:
        self.recipe, self.data, self.out, self.world = recipe, data, out, world
        self.report = report
        self.warn = warn if world.first else lambda sentence: None
        batch = recipe.schedule.batch
        if batch % world.size:
            raise TrainingError(f"a batch of {batch} images cannot be shared evenly by {world.size} processes.")
        if recipe.loss.identity and batch % (2 * world.size):
            raise TrainingError(f"a batch of {batch} images cannot be shared in pairs by {world.size} processes.")
        self.dataset = load_packed(data)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"cannot use {out} as the folder of a run: {error.strerror}.") from error
        self.source = BatchSource(self.dataset, recipe, world.device, world)
        shape = (self.dataset.resolution, self.dataset.channels, self.dataset.emotions)
        try:
            self.trainer = Trainer(recipe, *shape, world.device, world)
        except ValueError as error:
            raise TrainingError(f"the recipe does not fit {data.name}: {error}") from error
        progress = self._load(start)
        self.started_from = progress.started_from
        self.cur_nimg, self.total = progress.cur_nimg, recipe.schedule.total_kimg * 1000
        self.stats = Statistics(out / "stats.jsonl" if world.first else None, self.cur_nimg, progress.statistics)
        self.board = Board(out, self.cur_nimg, self.warn) if world.first else None
        self.balance = Balance()
        self.flops = training_flops(recipe, *shape)
        self.saved_here: int | None = None  # images seen at the newest snapshot of this sitting
        self.reserve_s = _FIRST_RESERVE_S  # kept of the minutes for the last snapshot: a guess until one was made
        self._steps, self._tick_time = 0, time.monotonic()
        self._clock = began - progress.seconds

    def _load(self, start: Path | None) -> Progress:
        """Go on with the run that is there, or begin one, from ``start`` or from noise."""
        if (self.out / STATE).exists():
            if start is not None:
                self.warn(f"{self.out} holds a run already, which goes on; --start is for a new one and not used.")
            return load_state(self.out / STATE, self.trainer, self.dataset.sha256)
        if start is None:
            return Progress()
        return Progress(started_from=start_from(start, self.trainer))

    def fingerprint(self) -> float:
        """Return a number that differs where the counter or any network does."""
        networks = self.trainer.modules().values()
        sums = [parameter.detach().double().sum() for network in networks for parameter in network.parameters()]
        return float(torch.stack(sums).sum()) + self.cur_nimg

    def seconds(self) -> float:
        """Return the time spent in training, all sittings together."""
        return time.monotonic() - self._clock

    def crossed(self, every_kimg: float) -> bool:
        """Tell whether the last step passed a multiple of ``every_kimg`` thousand images."""
        return crossed(self.cur_nimg, self.recipe.schedule.batch, every_kimg)

    def step(self) -> None:
        """Train on the next batch."""
        logged = self.trainer.step(self.source.at(self.cur_nimg), self.cur_nimg)
        self.cur_nimg += self.recipe.schedule.batch
        self.stats.add(logged, self.cur_nimg)
        self._steps += 1

    def end_tick(self) -> None:
        """Write a line of statistics."""
        self._check(self.stats.first_bad())
        now = time.monotonic()
        img_s = self._steps * self.recipe.schedule.batch / (now - self._tick_time)
        self._steps, self._tick_time = 0, now
        speed = {"img_s": img_s, "tflop_s": img_s * self.flops / 1e12}
        more = {"augment_p": self.trainer.augment_p, **speed, "cur_nimg": self.cur_nimg, "seconds": self.seconds()}

        def write() -> None:
            line = self.stats.end_tick(more)
            if self.board is not None:
                self.report(line)
                self.board.line(line)
            if lost := self.balance.see(line):
                self.warn(lost)

        self._write(write)

    def snapshot(self) -> None:
        """Write a snapshot, unless training has diverged."""
        start = time.monotonic()
        self._check(self.stats.first_bad())
        self._check(None if self.trainer.finite() else self.cur_nimg)
        progress = Progress(self.cur_nimg, self.seconds(), self.stats.state(), self.started_from)

        def write() -> None:
            if self.board is not None:
                grid = write_snapshot(self.out, self.trainer, progress, self.source, self.dataset, self.data.name)
                self.board.grid(grid, self.cur_nimg)

        self._write(write)
        self.saved_here = self.cur_nimg
        took = time.monotonic() - start
        self.reserve_s = max(self.reserve_s, 2 * took + 5)
        self._tick_time += took  # img/s is that of training

    def close(self) -> None:
        """Let go of the files."""
        if self.board is not None:
            self.board.close()

    def _write(self, work: Callable[[], None]) -> None:
        """Do ``work``, which writes files in the first process; if it cannot, say what there is to go on from."""

        def careful() -> None:
            try:
                work()
            except (OSError, DataError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                saved = saved_images(self.out / STATE)
                last = f"{self.out / STATE} is whole ({saved:,} images)" if saved else "nothing had been saved"
                text = f"the run stopped at {self.cur_nimg:,} images: {str(reason).rstrip('.')}; {last}."
                raise TrainingError(text) from error

        self.world.together(careful)

    def _check(self, bad: int | None) -> None:
        """Stop if the step that ended at ``bad`` images, if any, brought numbers that are not finite."""
        if bad is None:
            return
        saved = saved_images(self.out / STATE)
        last = "nothing had been saved; try a lower learning rate"
        if saved:
            weights = weights_path(self.out, self.recipe, saved)
            last = (
                f"the last good snapshot is {weights} ({saved:,} images); "
                f"try a new run with --start {self.out / START} and a lower learning rate"
            )
        step = bad // self.recipe.schedule.batch
        raise TrainingError(f"training stopped being finite in step {step:,} (at {bad:,} images), and {last}.")


def crossed(cur_nimg: int, batch: int, every_kimg: float) -> bool:
    """Tell whether the step that ended at ``cur_nimg`` passed a multiple of ``every_kimg`` thousand images."""
    every = every_kimg * 1000
    return math.floor(cur_nimg / every) > math.floor((cur_nimg - batch) / every)
