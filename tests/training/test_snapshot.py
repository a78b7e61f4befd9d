"""One file is a run's whole state: small, exact, whole or not there, and refused by name where it does not fit."""

from __future__ import annotations

import builtins
import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from model.emotions import FERPLUS
from model.networks.checkpoint import load_generator
from tests.training.conftest import ARCHITECTURES, until
from training.batches import BatchSource
from training.data.packed import load_packed
from training.loop import TrainingError, train
from training.recipe import load_recipe, recipe_from_dict
from training.snapshot import (
    START,
    STATE,
    Progress,
    SnapshotError,
    averaged_generator,
    load_state,
    save_state,
    saved_images,
    weights_path,
)
from training.start import save_start
from training.trainer import Trainer

RECIPES = sorted(path.stem for path in (Path(__file__).parents[2] / "training" / "recipes").glob("*.toml"))
MIB = 2**20


def _read(path):
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118 (no dictionary)


@pytest.mark.parametrize("name", RECIPES)
def test_the_files_of_a_recipe_that_ships_are_small(name, tmp_path):
    trainer = Trainer(load_recipe(name), 48, 1, FERPLUS, "cpu")
    for part, optimizer in trainer.optimizers.items():
        for parameter in getattr(trainer, part).parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()  # Adam has all the state now that it will ever have
    save_state(tmp_path / STATE, trainer, Progress(), "0" * 64)
    # The networks, the averaged generator, and Adam's two moments, or one where beta1 is 0; 4 bytes a number.
    generator, discriminator = (
        sum(p.numel() for p in network.parameters()) for network in (trainer.generator, trainer.discriminator)
    )
    moments = 1 if trainer.recipe.generator.betas[0] == 0 else 2
    numbers = generator + (generator + discriminator) * (1 + moments)
    assert (tmp_path / STATE).stat().st_size == pytest.approx(4 * numbers, rel=0.01)
    save_start(tmp_path / START, trainer.generator, trainer.discriminator, {})
    assert (tmp_path / START).stat().st_size == pytest.approx(2 * (generator + discriminator), rel=0.01)
    assert (tmp_path / START).stat().st_size <= 40 * MIB


@pytest.mark.parametrize("beta1", [0.0, 0.5])
def test_a_saved_and_loaded_trainer_takes_exactly_the_same_steps(faces, small, tmp_path, beta1):
    recipe = replace(small, generator=replace(small.generator, betas=(beta1, 0.99)))
    dataset = load_packed(faces)
    source = BatchSource(dataset, recipe, "cpu")
    first, second = (Trainer(recipe, 16, 1, dataset.emotions, "cpu") for _ in range(2))
    first.augment_p = 0.3
    for cur_nimg in range(0, 40, 8):
        first.step(source.at(cur_nimg), cur_nimg)
    save_state(tmp_path / STATE, first, Progress(40), dataset.sha256)
    # With beta1 = 0 Adam's mean of gradients is the last one, which the next step forgets: saved for nothing.
    kept = {key.split("/")[0] for key in _read(tmp_path / STATE)[0] if key.endswith("/exp_avg")}
    assert ("adam-generator" in kept) is bool(beta1)
    assert ("adam-discriminator" in kept) is bool(recipe.discriminator.betas[0])
    assert load_state(tmp_path / STATE, second, dataset.sha256) == Progress(40)
    assert second.augment_p == first.augment_p > 0
    for cur_nimg in range(40, 80, 8):
        logged = [trainer.step(source.at(cur_nimg), cur_nimg) for trainer in (first, second)]
        assert logged[0] == logged[1]
    for name, network in first.modules().items():
        left, right = network.state_dict(), second.modules()[name].state_dict()
        assert all(torch.equal(left[key], right[key]) for key in left)


def test_a_snapshot_holds_the_averaged_generator_and_the_start_file_the_present_pair(faces, tiny, tmp_path):
    result = train(until(tiny, 40), faces, tmp_path, device="cpu")
    state, _ = _read(tmp_path / STATE)
    weights, pair = load_generator(result.weights)[0].state_dict(), _read(tmp_path / START)[0]
    for key, value in weights.items():
        torch.testing.assert_close(value, state[f"g_ema/{key}"], atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(pair[f"generator/{key}"].float(), state[f"generator/{key}"], atol=1e-4, rtol=1e-3)
    for key in (key for key in pair if key.startswith("discriminator/")):
        torch.testing.assert_close(pair[key].float(), state[key], atol=1e-4, rtol=1e-2)
        assert pair[key].dtype == torch.bfloat16


def test_a_state_that_does_not_hold_what_it_should_is_refused(faces, tiny, tmp_path):
    train(until(tiny, 16), faces, tmp_path, device="cpu")
    tensors, header = _read(tmp_path / STATE)
    progress = json.loads(header["progress"])
    some = "generator/constant"
    other = [
        ({k: v for k, v in tensors.items() if k != some}, progress),
        (tensors | {some: torch.zeros(3)}, progress),
        (tensors, {k: v for k, v in progress.items() if k != "augment_p"}),
        (tensors, {k: v for k, v in progress.items() if k != "recipe"}),
    ]
    for changed, said in other:
        save_file(changed, tmp_path / STATE, {"progress": json.dumps(said)})
        with pytest.raises(SnapshotError, match=r"^.*state\.safetensors is no snapshot to go on from \(.*\)\.$"):
            train(until(tiny, 16), faces, tmp_path, device="cpu")


def test_a_setting_that_an_older_state_lacks_has_its_default(faces, tiny, tmp_path):
    train(until(tiny, 16), faces, tmp_path, device="cpu")
    tensors, header = _read(tmp_path / STATE)
    progress = json.loads(header["progress"])
    del progress["recipe"]["schedule"]["ema_rampup"], progress["started_from"]
    save_file(tensors, tmp_path / STATE, {"progress": json.dumps(progress)})
    assert train(until(tiny, 32), faces, tmp_path, device="cpu").cur_nimg == 32


def test_lengths_may_change_when_a_run_goes_on_and_nothing_else(faces, tiny, tmp_path):
    train(until(tiny, 16), faces, tmp_path, device="cpu")
    longer = until(tiny, 24, decay_from_kimg=0.02, decay_to=0.5, snapshot_kimg=1.0, tick_kimg=0.008)
    assert train(longer, faces, tmp_path, device="cpu").cur_nimg == 24
    for schedule, name in (({"rampup_kimg": 1.0}, "rampup_kimg"), ({"ema_rampup": 0.5}, "ema_rampup")):
        with pytest.raises(SnapshotError, match=rf"another recipe \(schedule\.{name} differ\)"):
            train(until(longer, 32, **schedule), faces, tmp_path, device="cpu")


@pytest.mark.parametrize("architecture", ["residual", "dense", "convolutional"])
def test_what_is_saved_draws_with_batch_norm_statistics_of_its_own(architecture, faces):
    data, recipe = load_packed(faces), recipe_from_dict(ARCHITECTURES[architecture])
    trainer, source = Trainer(recipe, 16, 1, data.emotions, "cpu"), BatchSource(data, recipe, "cpu")
    for step in range(10):
        trainer.step(source.at(8 * step), 8 * step)
    running = {name: value.clone() for name, value in trainer.g_ema.named_buffers()}
    generator = averaged_generator(trainer, source)
    assert all(torch.equal(value, running[name]) for name, value in trainer.g_ema.named_buffers())
    rng = torch.Generator().manual_seed(1)
    latent = torch.randn(500, 8, generator=rng)
    emotion = torch.from_numpy(source.labels(np.random.default_rng(0), 500)[1])
    with torch.no_grad():
        alone = generator(latent, emotion)
        together = generator.train()(latent, emotion)
    assert (alone - together).abs().mean() < 0.1 * together.std()


def test_the_averaged_generator_of_a_style_based_pair_is_a_copy(faces, tiny):
    data = load_packed(faces)
    trainer = Trainer(tiny, 16, 1, data.emotions, "cpu")
    generator, own = averaged_generator(trainer, BatchSource(data, tiny, "cpu")), trainer.g_ema.state_dict()
    for name, value in generator.state_dict().items():
        assert torch.equal(value, own[name])
        assert value.data_ptr() != own[name].data_ptr()


def _no_room(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("which", ["state", "weights", "start", "grid"])
def test_a_disk_that_is_full_while_saving_loses_nothing_that_was_saved(faces, tiny, tmp_path, monkeypatch, which):
    recipe = until(tiny, 80)
    train(until(recipe, 40), faces, tmp_path, device="cpu")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if not path.name.startswith("events")}
    with monkeypatch.context() as full:
        _fill(full, {"state": STATE, "weights": "tiny-000000.safetensors", "start": START, "grid": ".png"}[which])
        with pytest.raises(TrainingError) as error:
            train(recipe, faces, tmp_path, device="cpu")
    said = str(error.value)
    assert "No space left on device" in said
    # The state is written first: if there was room for it, nothing is lost, not even the last images.
    saved = 40 if which == "state" else 80
    assert said.startswith("the run stopped at 80 images: ")
    assert said.endswith(f"{tmp_path / STATE} is whole ({saved} images).")
    assert saved_images(tmp_path / STATE) == saved
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if not path.name.startswith("events")}
    assert after.keys() == before.keys()  # no half of a file
    if which in ("state", "weights"):
        assert after["tiny-000000.safetensors"] == before["tiny-000000.safetensors"]
    # With room again it ends as if nothing had happened.
    again = train(recipe, faces, tmp_path, device="cpu")
    whole = train(recipe, faces, tmp_path / "whole", device="cpu")
    left, right = (load_generator(result.weights)[0].state_dict() for result in (again, whole))
    assert all(torch.equal(left[key], right[key]) for key in left)


def _fill(monkeypatch, name):
    """Leave no room on the disk for files called ``name``, or that end so: some bytes go in, then no more."""
    real_open, real_write = builtins.open, Path.write_bytes

    def open_(file, mode="r", *arguments, **options):
        stream = real_open(file, mode, *arguments, **options)
        return _Full(stream) if "x" in mode and name in Path(file).name else stream

    def write_bytes(path, content):
        if name in path.name:
            real_write(path, content[:20])
            _no_room()
        return real_write(path, content)

    monkeypatch.setattr(builtins, "open", open_)
    monkeypatch.setattr(Path, "write_bytes", write_bytes)


class _Full:
    """A file that takes twenty bytes and no more."""

    def __init__(self, stream):
        self._stream = stream

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stream.close()

    def write(self, content):
        self._stream.write(content[:20])
        _no_room()


def test_a_run_that_diverges_names_the_step_and_the_last_good_snapshot_of_any_sitting(
    faces, tiny, tmp_path, monkeypatch
):
    recipe = until(tiny, 240)
    train(until(recipe, 40), faces, tmp_path, device="cpu")
    good = (tmp_path / STATE).read_bytes()
    step = Trainer.step

    def poisoned(trainer, batch, cur_nimg):
        if cur_nimg == 56:
            with torch.no_grad():
                next(iter(trainer.generator.parameters())).fill_(torch.nan)
        return step(trainer, batch, cur_nimg)

    monkeypatch.setattr(Trainer, "step", poisoned)
    with pytest.raises(TrainingError) as error:
        train(recipe, faces, tmp_path, device="cpu")
    weights = weights_path(tmp_path, recipe, 40)
    assert str(error.value) == (
        f"training stopped being finite in step 8 (at 64 images), and the last good snapshot is {weights} (40 images); "
        f"try a new run with --start {tmp_path / START} and a lower learning rate."
    )
    assert (tmp_path / STATE).read_bytes() == good
    assert "NaN" not in (tmp_path / "stats.jsonl").read_text()
    monkeypatch.undo()
    assert train(recipe, faces, tmp_path, device="cpu").cur_nimg == 240  # and it can go on from there
