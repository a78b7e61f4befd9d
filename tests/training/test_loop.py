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

from model import EmotionMix, FaceRequest, FaceSampler
from training.data.packed import load_packed
from training.loop import GRID_SEEDS, TrainingError, crossed, train
from training.snapshot import STATE, SnapshotError, load_state
from training.trainer import Trainer

LOSSES = ("loss_d", "loss_g", "real_is_real", "fake_is_real", "emotion_real", "emotion_fake", "augment_p", "cur_nimg")


def _stats(out):
    lines = [json.loads(line) for line in (out / "stats.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in LOSSES} for line in lines]


def _until(recipe, kimg_in_images):
    """The same recipe, ended after a multiple of its batch."""
    schedule = replace(recipe.schedule, total_kimg=kimg_in_images / 1000)
    return replace(recipe, schedule=schedule)


def test_a_run_leaves_weights_a_grid_and_statistics(faces, tiny, tmp_path):
    seen: list[dict[str, float]] = []
    result = train(_until(tiny, 160), faces, tmp_path / "run", device="cpu", report=seen.append)
    assert (result.cur_nimg, result.reason) == (160, "done")
    sampler = FaceSampler.load(result.weights, "cpu")
    assert sampler.card["images_seen"] == 160
    assert sampler.card["data"]["sha256"] == load_packed(faces).sha256
    assert sampler.card["recipe"]["generator"]["widths"] == [16, 16]
    with Image.open(result.weights.with_suffix(".png")) as grid:
        assert grid.size == (7 * 32, 8 + len(GRID_SEEDS) * 32)
        face = np.asarray(grid.crop((3 * 32, 8 + 2 * 32, 4 * 32, 8 + 3 * 32)).reduce(2)).astype(int)
    happy = sampler.sample([FaceRequest(EmotionMix.parse("happy", sampler.emotions), GRID_SEEDS[2])])[0, :, :, 0]
    assert np.corrcoef(face.ravel(), happy.ravel())[0, 1] > 0.9
    stats = _stats(tmp_path / "run")
    assert [line["cur_nimg"] for line in stats] == [40, 80, 120, 160]
    assert all(np.isfinite(list(line.values())).all() for line in stats)
    assert len(seen) == 4
    assert seen[0]["img_s"] > 0


def test_training_moves_what_is_drawn_towards_the_data(faces, tiny, tmp_path):
    # Not quality, direction: the mean of what is drawn must come nearer to the mean of the data.
    target = load_packed(faces).images.mean(axis=0) / 127.5 - 1

    def distance(kimg):
        result = train(_until(tiny, kimg), faces, tmp_path / str(kimg), device="cpu")
        generator = FaceSampler.load(result.weights, "cpu")._generator
        drawn = generator(torch.randn(64, 8, generator=torch.Generator().manual_seed(0)), torch.eye(7)[[3] * 64])
        return float(np.abs(drawn.mean(0).numpy() - target).mean())

    assert distance(4800) < 0.7 * distance(8)


def test_a_run_that_was_stopped_goes_on_exactly_where_it_was(faces, tiny, tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    first = train(_until(tiny, 240), faces, whole, device="cpu")
    # The learning rate's fall depends on the end, so the half run must know the same end.
    steps = 0

    def stop_after_three(_line):
        nonlocal steps
        steps += 1
        if steps == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    result = train(_until(tiny, 240), faces, halves, device="cpu", report=stop_after_three)
    assert (result.reason, result.cur_nimg) == ("signal", 120)
    second = train(_until(tiny, 240), faces, halves, device="cpu")
    assert second.cur_nimg == 240
    assert _stats(halves) == _stats(whole)
    assert (halves / STATE).stat().st_size == (whole / STATE).stat().st_size
    a, b = (FaceSampler.load(result.weights, "cpu")._generator.state_dict() for result in (first, second))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_finished_run_has_nothing_left_to_do(faces, tiny, tmp_path):
    train(_until(tiny, 40), faces, tmp_path, device="cpu")
    before = _stats(tmp_path)
    assert train(_until(tiny, 40), faces, tmp_path, device="cpu").cur_nimg == 40
    assert _stats(tmp_path) == before


def test_minutes_end_a_run_in_time(faces, tiny, tmp_path):
    result = train(_until(tiny, 10**9), faces, tmp_path, minutes=0.0, device="cpu")
    assert result.reason == "minutes"
    assert result.cur_nimg < 100
    assert (tmp_path / STATE).exists()


def test_a_snapshot_of_another_recipe_or_of_other_data_is_refused(faces, tiny, tmp_path):
    train(_until(tiny, 16), faces, tmp_path, device="cpu")
    other = replace(_until(tiny, 16), generator=replace(tiny.generator, lr=1.0))
    with pytest.raises(SnapshotError, match=r"another recipe \(generator\.lr differ\)"):
        train(other, faces, tmp_path, device="cpu")
    trainer = Trainer(_until(tiny, 16), 16, 1, load_packed(faces).emotions, "cpu")
    with pytest.raises(SnapshotError, match="other data"):
        load_state(tmp_path / STATE, trainer, "0" * 64)
    (tmp_path / STATE).write_bytes((tmp_path / STATE).read_bytes()[:1000])
    with pytest.raises(SnapshotError, match="no snapshot to go on from"):
        train(_until(tiny, 16), faces, tmp_path, device="cpu")


def test_losses_that_are_not_finite_stop_the_run_before_it_saves(faces, tiny, tmp_path):
    wild = replace(_until(tiny, 4000), generator=replace(tiny.generator, lr=1e30))
    with pytest.raises(TrainingError, match="stopped being finite before"):
        train(wild, faces, tmp_path, device="cpu")
    assert not (tmp_path / STATE).exists()


def test_sigterm_saves_and_exits_0(faces, tiny, tmp_path):
    recipe = tmp_path / "slow.toml"
    recipe.write_text(
        'precision = "float32"\n[generator]\nwidths = [16, 16]\n[discriminator]\nwidths = [8, 16, 16]\n'
        "[schedule]\nbatch = 8\ntick_kimg = 0.04\n"
    )
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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_same_code_trains_on_a_gpu(faces, tiny, tmp_path):
    result = train(_until(replace(tiny, precision="bfloat16"), 80), faces, tmp_path, device="cuda")
    assert FaceSampler.load(result.weights, "cpu").card["images_seen"] == 80
