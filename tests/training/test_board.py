"""TensorBoard's own reader finds in a run's folder what stats.jsonl says, each point once, come what may."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from training.board import Board
from training.loop import train
from training.trainer import Trainer


def _events(folder):
    """Read a folder's event files back: scalars as {tag: [(step, value)]}, images as {tag: [(step, picture)]}."""
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    reader = reading.EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    reader.Reload()
    tags = reader.Tags()
    scalars = {tag: [(event.step, event.value) for event in reader.Scalars(tag)] for tag in tags["scalars"]}
    images = {
        tag: [(event.step, Image.open(io.BytesIO(event.encoded_image_string))) for event in reader.Images(tag)]
        for tag in tags["images"]
    }
    return scalars, images


def _assert_as_in_stats(folder):
    scalars, images = _events(folder)
    lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    assert scalars.keys() == lines[0].keys() - {"cur_nimg"}
    for tag, points in scalars.items():
        assert [step for step, _ in points] == [line["cur_nimg"] for line in lines], tag
        np.testing.assert_allclose([value for _, value in points], [line[tag] for line in lines], rtol=1e-6)
    return lines, images["samples"]


def _until(recipe, images):
    return replace(recipe, schedule=replace(recipe.schedule, total_kimg=images / 1000, snapshot_kimg=0.04))


def test_tensorboard_shows_every_line_and_every_grid(faces, tiny, tmp_path):
    train(_until(tiny, 80), faces, tmp_path, device="cpu")
    lines, grids = _assert_as_in_stats(tmp_path)
    assert len(lines) == 2
    assert [step for step, _ in grids] == [40, 80]
    with Image.open(tmp_path / "tiny-000000.png") as newest:
        assert np.array_equal(np.asarray(grids[-1][1].convert("L")), np.asarray(newest))


def test_a_killed_run_that_goes_on_shows_no_point_twice(faces, tiny, tmp_path, monkeypatch):
    recipe = _until(tiny, 240)
    recipe = replace(recipe, schedule=replace(recipe.schedule, tick_kimg=0.016, snapshot_kimg=0.1))
    step = Trainer.step

    def killed(trainer, batch, cur_nimg):
        if cur_nimg == 192:
            raise KeyboardInterrupt
        return step(trainer, batch, cur_nimg)

    monkeypatch.setattr(Trainer, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, faces, tmp_path, device="cpu")
    monkeypatch.undo()
    assert max(step for step, _ in _events(tmp_path)[0]["loss_d"]) == 192  # beyond what was saved, at 104
    train(recipe, faces, tmp_path, device="cpu")
    lines, grids = _assert_as_in_stats(tmp_path)
    assert [line["cur_nimg"] for line in lines] == list(range(16, 241, 16))
    assert [step for step, _ in grids] == [104, 200, 240]


def test_without_tensorboard_training_goes_on_and_says_so_once(faces, tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    said: list[str] = []
    assert train(_until(tiny, 80), faces, tmp_path, device="cpu", warn=said.append).reason == "done"
    assert len(said) == 1
    assert "pip install tensorboard" in said[0]
    assert not list(tmp_path.glob("events.*"))


def test_a_full_disk_ends_the_event_files_and_not_the_run(tmp_path, monkeypatch):
    written: list[int] = []

    class Writer:
        def __init__(self, folder, purge_step):
            assert purge_step == 41

        def add_scalar(self, tag, value, step):
            if step > 80:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written.append(step)

        def flush(self):
            pass

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    said: list[str] = []
    board = Board(tmp_path, 40, said.append)
    for step in (80, 120, 160):
        board.line({"loss_d": 1.0, "cur_nimg": step})
    board.grid(Image.new("L", (4, 4)), 160)
    board.close()
    assert written == [80]
    assert said == ["no more TensorBoard files in this sitting: No space left on device."]
