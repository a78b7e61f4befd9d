"""One file is a run's whole state: small, exact, whole or not there, and refused by name where it does not fit."""

from __future__ import annotations

import builtins
import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from model import FaceSampler
from model.emotions import FERPLUS
from training.data.packed import load_packed
from training.loop import TrainingError, train
from training.recipe import load_recipe
from training.snapshot import START, STATE, Progress, SnapshotError, load_state, save_state, saved_images, weights_path
from training.start import save_start
from training.trainer import Trainer

RECIPES = sorted(path.stem for path in (Path(__file__).parents[2] / "training" / "recipes").glob("*.toml"))
MIB = 2**20


def _until(recipe, images, **schedule):
    return replace(recipe, schedule=replace(recipe.schedule, total_kimg=images / 1000, **schedule))


def _read(path):
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118 (no dictionary)


@pytest.mark.parametrize("name", RECIPES)
def test_the_state_of_a_recipe_that_ships_is_small(name, tmp_path):
    trainer = Trainer(load_recipe(name), 48, 1, FERPLUS, "cpu")
    for part, optimizer in trainer.optimizers.items():
        for parameter in getattr(trainer, part).parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()  # Adam has all the state now that it will ever have
    save_state(tmp_path / STATE, trainer, Progress(), "0" * 64)
    assert (tmp_path / STATE).stat().st_size <= 64 * MIB
    save_start(tmp_path / START, trainer.average, trainer.discriminator, {})
    assert (tmp_path / START).stat().st_size <= 16 * MIB


@pytest.mark.parametrize(("beta1", "dropout"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.3)])
def test_a_saved_and_loaded_trainer_takes_exactly_the_same_steps(faces, tiny, tmp_path, beta1, dropout):
    from training.batches import BatchSource

    recipe = replace(tiny, generator=replace(tiny.generator, betas=(beta1, 0.99)))
    if dropout:
        dense = replace(tiny.discriminator, architecture="dense", dropout=dropout)
        recipe = replace(recipe, discriminator=dense, loss=replace(tiny.loss, classify_real=0.0, classify_fake=0.0))
    dataset = load_packed(faces)
    source = BatchSource(dataset, recipe, "cpu")
    first, second = (Trainer(recipe, 16, 1, dataset.emotions, "cpu") for _ in range(2))
    for cur_nimg in range(0, 40, 8):
        first.step(source.at(cur_nimg), cur_nimg)
    save_state(tmp_path / STATE, first, Progress(40), dataset.sha256)
    # With beta1 = 0 Adam's mean of gradients is the last one, which the next step forgets: saved for nothing.
    kept = {key.split("/")[0] for key in _read(tmp_path / STATE)[0] if key.endswith("/exp_avg")}
    assert kept == ({"adam-generator"} if beta1 else set())
    assert load_state(tmp_path / STATE, second, dataset.sha256) == Progress(40)
    for cur_nimg in range(40, 80, 8):
        logged = [trainer.step(source.at(cur_nimg), cur_nimg) for trainer in (first, second)]
        assert logged[0] == logged[1]
    for name in ("generator", "discriminator", "average"):
        left, right = (getattr(trainer, name).state_dict() for trainer in (first, second))
        assert all(torch.equal(left[key], right[key]) for key in left)


def test_a_state_that_does_not_hold_what_it_should_is_refused(faces, tiny, tmp_path):
    train(_until(tiny, 16), faces, tmp_path, device="cpu")
    tensors, header = _read(tmp_path / STATE)
    progress = json.loads(header["progress"])
    some = "generator/head.weight"
    other = [
        ({k: v for k, v in tensors.items() if k != some}, progress),
        (tensors | {some: torch.zeros(3)}, progress),
        (tensors, {k: v for k, v in progress.items() if k != "augment_p"}),
        (tensors, {k: v for k, v in progress.items() if k != "recipe"}),
    ]
    for changed, said in other:
        save_file(changed, tmp_path / STATE, {"progress": json.dumps(said)})
        with pytest.raises(SnapshotError, match=r"^.*state\.safetensors is no snapshot to go on from \(.*\)\.$"):
            train(_until(tiny, 16), faces, tmp_path, device="cpu")


def test_a_state_of_before_a_setting_was_there_is_one_of_its_default(faces, tiny, tmp_path):
    train(_until(tiny, 16), faces, tmp_path, device="cpu")
    tensors, header = _read(tmp_path / STATE)
    progress = json.loads(header["progress"])
    del progress["recipe"]["schedule"]["warmup_kimg"], progress["started_from"]
    save_file(tensors, tmp_path / STATE, {"progress": json.dumps(progress)})
    assert train(_until(tiny, 32), faces, tmp_path, device="cpu").cur_nimg == 32


def _no_room(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("which", ["state", "weights", "start", "grid"])
def test_a_disk_that_is_full_while_saving_loses_nothing_that_was_saved(faces, tiny, tmp_path, monkeypatch, which):
    recipe = _until(tiny, 80, decay_from_kimg=100)
    train(_until(recipe, 40), faces, tmp_path, device="cpu")
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
    left, right = (FaceSampler.load(result.weights, "cpu")._generator.state_dict() for result in (again, whole))
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
    recipe = _until(tiny, 240)
    train(_until(recipe, 40), faces, tmp_path, device="cpu")
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
