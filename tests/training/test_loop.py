"""A run trains, saves, stops when told to, and goes on as if it had never stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from model import EmotionMix, FaceRequest, FaceSampler
from model.networks.checkpoint import load_generator
from tests.training.conftest import TINY, toml, until
from training.data.packed import load_packed
from training.loop import TrainingError, crossed, train
from training.snapshot import GRID_SEEDS, STATE, SnapshotError, load_state, write_snapshot
from training.trainer import Trainer

CLOCKED = {"seconds", "img_s", "tflop_s"}
FIGURES = {"loss_d", "loss_g", "real_sign", "real_is_real", "fake_is_real", "augment_p", "cur_nimg"}
FIGURES |= {"emotion_real", "emotion_fake", "identity_d", "identity_g", "r1"}


def _stats(out):
    """Return the lines of statistics without what a clock decides."""
    lines = [json.loads(line) for line in (out / "stats.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in CLOCKED} for line in lines]


def _state(out):
    with safe_open(out / STATE, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no dictionary)


def _assert_equal_states(left, right):
    a, b = _state(left), _state(right)
    assert a.keys() == b.keys()
    assert [key for key in a if not torch.equal(a[key], b[key])] == []


def test_a_run_leaves_weights_a_grid_and_statistics(faces, tiny, tmp_path):
    seen: list[dict[str, float]] = []
    result = train(until(tiny, 160), faces, tmp_path / "run", device="cpu", report=seen.append)
    assert (result.cur_nimg, result.reason) == (160, "done")
    sampler = FaceSampler.load(result.weights, "cpu")
    assert sampler.card["images_seen"] == 160
    assert sampler.card["data"]["sha256"] == load_packed(faces).sha256
    assert sampler.card["recipe"]["generator"]["network"]["widths"] == [8, 8]
    with Image.open(result.weights.with_suffix(".png")) as grid:
        assert grid.size == (7 * 32, 8 + len(GRID_SEEDS) * 32)
        face = np.asarray(grid.crop((3 * 32, 8 + 2 * 32, 4 * 32, 8 + 3 * 32)).reduce(2)).astype(int)
    happy = sampler.sample([FaceRequest(EmotionMix.parse("happy", sampler.emotions), GRID_SEEDS[2])])[0, :, :, 0]
    assert np.corrcoef(face.ravel(), happy.ravel())[0, 1] > 0.9
    stats = _stats(tmp_path / "run")
    assert [line["cur_nimg"] for line in stats] == [40, 80, 120, 160]
    assert stats[0].keys() == FIGURES
    assert all(np.isfinite(list(line.values())).all() for line in stats)
    assert len(seen) == 4
    assert seen[0]["img_s"] > 0


def test_training_moves_what_is_drawn_towards_the_data(faces, tiny, tmp_path):
    # Not quality, direction: the mean of what is drawn must come nearer to the mean of the data.
    target = load_packed(faces).images.mean(axis=0) / 127.5 - 1

    def distance(images):
        result = train(until(tiny, images), faces, tmp_path / str(images), device="cpu")
        generator = load_generator(result.weights)[0]
        drawn = generator(torch.randn(64, 8, generator=torch.Generator().manual_seed(0)), torch.eye(7)[[3] * 64])
        return float(np.abs(drawn.mean(0).numpy() - target).mean())

    assert distance(1200) < 0.7 * distance(8)


@pytest.mark.parametrize("tick_kimg", [0.04, 0.1])
def test_a_run_that_was_stopped_goes_on_exactly_where_it_was(faces, small, tmp_path, monkeypatch, tick_kimg):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    recipe = until(small, 240, tick_kimg=tick_kimg, rampup_kimg=0.1, decay_from_kimg=0.1)
    first = train(recipe, faces, whole, device="cpu")

    # Stopped by a signal after 120 images: at the end of a tick, or in the middle of one.
    step = Trainer.step

    def stopping(trainer, batch, cur_nimg):
        if cur_nimg + 8 == 120:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(trainer, batch, cur_nimg)

    monkeypatch.setattr(Trainer, "step", stopping)
    result = train(recipe, faces, halves, device="cpu")
    assert (result.reason, result.cur_nimg) == ("signal", 120)
    monkeypatch.undo()
    torch.manual_seed(12345)
    second = train(recipe, faces, halves, device="cpu")
    assert second.cur_nimg == 240
    assert _stats(halves) == _stats(whole)
    _assert_equal_states(whole, halves)
    a, b = (load_generator(result.weights)[0].state_dict() for result in (first, second))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_that_was_killed_repeats_no_line_of_statistics(faces, tiny, tmp_path):
    recipe = until(tiny, 240)
    train(until(tiny, 120), faces, tmp_path, device="cpu")
    with (tmp_path / "stats.jsonl").open("a") as file:  # what it would have written before it was killed
        file.write('{"cur_nimg": 160}\n{"cur_ni')
    train(recipe, faces, tmp_path, device="cpu")
    assert [line["cur_nimg"] for line in _stats(tmp_path)] == [40, 80, 120, 160, 200, 240]


def test_a_finished_run_has_nothing_left_to_do(faces, tiny, tmp_path):
    train(until(tiny, 40), faces, tmp_path, device="cpu")
    before = _stats(tmp_path)
    assert train(until(tiny, 40), faces, tmp_path, device="cpu").cur_nimg == 40
    assert _stats(tmp_path) == before


def test_minutes_end_a_run_in_time_to_have_saved_everything(faces, tiny, tmp_path, monkeypatch):
    # A clock that a step moves by a second and a snapshot by ten.
    now = [0.0]
    step = Trainer.step

    def slow_step(*arguments):
        now[0] += 1
        return step(*arguments)

    def slow_save(*arguments):
        now[0] += 10
        return write_snapshot(*arguments)

    monkeypatch.setattr("training.loop.time.monotonic", lambda: now[0])
    monkeypatch.setattr(Trainer, "step", slow_step)
    monkeypatch.setattr("training.loop.write_snapshot", slow_save)
    result = train(until(tiny, 10**9), faces, tmp_path, minutes=2.0, device="cpu")
    assert result.reason == "minutes"
    assert 80 < now[0] <= 120
    assert result.cur_nimg > 8 * 70


def test_a_snapshot_of_another_recipe_or_of_other_data_is_refused(faces, tiny, tmp_path):
    train(until(tiny, 16), faces, tmp_path, device="cpu")
    other = replace(until(tiny, 16), generator=replace(tiny.generator, lr=1.0))
    with pytest.raises(SnapshotError, match=r"another recipe \(generator\.lr differ\)"):
        train(other, faces, tmp_path, device="cpu")
    trainer = Trainer(until(tiny, 16), 16, 1, load_packed(faces).emotions, "cpu")
    with pytest.raises(SnapshotError, match="other data"):
        load_state(tmp_path / STATE, trainer, "0" * 64)
    (tmp_path / STATE).write_bytes((tmp_path / STATE).read_bytes()[:1000])
    with pytest.raises(SnapshotError, match="no snapshot to go on from"):
        train(until(tiny, 16), faces, tmp_path, device="cpu")


@pytest.mark.parametrize("tick_kimg", [0.04, 100.0])
def test_a_run_that_diverges_never_overwrites_what_was_good(faces, tiny, tmp_path, tick_kimg):
    wild = replace(until(tiny, 160, tick_kimg=tick_kimg), generator=replace(tiny.generator, lr=1e30))
    with pytest.raises(
        TrainingError, match=r"stopped being finite in step \d .*, and nothing had been saved; try a lower"
    ):
        train(wild, faces, tmp_path, device="cpu")
    assert not (tmp_path / STATE).exists()
    assert not list(tmp_path.glob("*.safetensors"))


def test_an_output_that_is_a_file_and_data_that_do_not_fit_are_named(faces, tiny, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"cannot use .*file as the folder of a run"):
        train(tiny, faces, tmp_path / "file", device="cpu")
    network = replace(tiny.generator.network, widths=(8,) * 6)
    deep = replace(tiny, generator=replace(tiny.generator, network=network))
    with pytest.raises(TrainingError, match=r"the recipe does not fit drawn\.zip: resolution 16 must be divisible"):
        train(deep, faces, tmp_path / "run", device="cpu")


def test_sigterm_saves_and_exits_0(faces, tiny, tmp_path):
    recipe = tmp_path / "slow.toml"
    recipe.write_text(toml(TINY | {"schedule": {"batch": 8, "tick_kimg": 0.04}}))
    out = tmp_path / "run"
    command = [sys.executable, "-m", "emoface", "train", str(recipe), "--data", str(faces), "--out", str(out)]
    process = subprocess.Popen([*command, "--device", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not ((out / "stats.jsonl").exists() and (out / "stats.jsonl").stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert "stopped, saved" in stdout
    assert (out / STATE).exists()


@pytest.mark.parametrize(
    ("nimg", "every", "yes"), [(40, 0.04, True), (48, 0.04, False), (80, 0.04, True), (8, 0.1, False)]
)
def test_crossed_tells_the_step_that_passes_a_multiple(nimg, every, yes):
    assert crossed(nimg, 8, every) is yes
