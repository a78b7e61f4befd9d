"""Recipes are trained in slices and judged once at each, and what comes of it can be read and seen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import recipes
from model.networks.checkpoint import save_generator
from model.networks.configs import StyleGeneratorConfig
from model.networks.style import StyleGenerator
from tests.training.conftest import EMOTIONS, TINY, pack_faces, toml
from training.data.packed import load_packed
from training.judge import JudgeConfig
from training.judge_training import train_judge


class Trainings:
    """Stands in for ``train``: 600 images a minute, saved 20 seconds early, and a snapshot of its own every minute."""

    def __init__(self) -> None:
        self.minutes: dict[str, float] = {}
        self.calls: list[tuple[str, float]] = []
        self.reason = "minutes"

    def __call__(self, recipe, data, out, *, minutes, device, report):
        self.calls.append((recipe.name, round(minutes, 1)))
        began = self.minutes.get(recipe.name, 0.0)
        ends = began + minutes - 1 / 3
        out.mkdir(parents=True, exist_ok=True)
        for at in (*range(int(began) + 1, int(ends) + 1), ends):
            torch.manual_seed(int(1000 * at))
            generator = StyleGenerator(StyleGeneratorConfig(16, emotions=EMOTIONS, widths=(8, 8), latent_dim=8))
            card = {"images_seen": int(600 * at), "training_minutes": round(at, 2)}
            save_generator(out / f"{recipe.name}-{int(600 * at):06d}.safetensors", generator, card)
        self.minutes[recipe.name] = ends
        report({"img_s": 10.0})
        return SimpleNamespace(reason=self.reason)


class Embedding:
    name = "corners"

    def embed(self, images):
        return images[:, 0, ::15, ::15].reshape(len(images), -1).astype(float)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compare")
    train = load_packed(pack_faces(path / "train.zip", 140, 0))
    pack_faces(path / "test.zip", 70, 1)
    config = JudgeConfig(train.emotions, 16, 1, widths=(8, 8), epochs=1, batch=28)
    train_judge(train.images, train.labels, None, config).save(path / "judge.safetensors")
    for name in ("one", "two"):
        (path / f"{name}.toml").write_text(toml(TINY | {"name": name, "schedule": {"batch": 8, "total_kimg": 1000}}))
    return path


@pytest.fixture
def trainings(monkeypatch):
    stands_in = Trainings()
    monkeypatch.setattr(recipes, "train", stands_in)
    monkeypatch.setattr(recipes, "matrix_rates", lambda device, dtype: {"matrix product": 1e9, "convolution": 2e9})
    monkeypatch.setattr(recipes, "load_embedder", Embedding)
    monkeypatch.setattr(recipes, "comparison", lambda *drawn: None)  # seconds, and one test looks at it
    return stands_in


@pytest.fixture
def drawn(monkeypatch):
    """The weights that are judged."""
    names = []

    def sampler(path, device):
        names.append(path.stem)
        return load(path, device)

    load = recipes.FaceSampler.load
    monkeypatch.setattr(recipes, "FaceSampler", SimpleNamespace(load=sampler))
    return names


def compare(folder, out, *more, names=("one",)):
    data = ["--data", folder / "train.zip", "--test", folder / "test.zip", "--judge", folder / "judge.safetensors"]
    options = [*data, "--out", out, "--faces", 20, "--device", "cpu", *more]
    recipes.main([str(part) for part in (*options, *(folder / f"{name}.toml" for name in names))])
    return json.loads((out / "comparison.json").read_text())["runs"]


def test_each_recipe_is_judged_at_every_point(folder, tmp_path, trainings, capsys):
    runs = compare(folder, tmp_path, "--minutes", 6, "--points", 3, names=("one", "two"))
    assert trainings.calls[:3] == [("one", 2.0), ("one", 2.3), ("one", 2.3)]  # each slice has what the last one left
    for name in ("one", "two"):
        points = runs[name]
        assert [point["minutes"] for point in points] == pytest.approx([1.67, 3.67, 5.67], abs=0.02)
        assert [point["images_seen"] for point in points] == pytest.approx([1000, 2200, 3400], abs=5)
        assert len({point["frechet"] for point in points}) == 3
        assert all(point["frechet_ratio"] > 1 >= point["coverage"] >= 0 for point in points)
        assert "identity_auc" not in points[0]
    table = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [len(line) for line in table] == [10, 10, 10, 10]
    assert table[2][:4] == ["| one", "5.7", f"{runs['one'][-1]['images_seen']:,}", "10"]
    assert table[2][4].endswith("%")
    assert table[2][5] == f"{runs['one'][-1]['emotion_accuracy']:.3f}"


def test_what_was_trained_and_judged_is_not_done_again(folder, tmp_path, trainings, drawn):
    first = compare(folder, tmp_path, "--minutes", 4, "--points", 2)
    assert len(drawn) == len(trainings.calls) == 2
    assert compare(folder, tmp_path, "--minutes", 4, "--points", 2) == first
    assert len(drawn) == len(trainings.calls) == 2
    more = compare(folder, tmp_path, "--minutes", 6, "--points", 3)
    assert more["one"][:2] == first["one"]
    assert len(more["one"]) == len(drawn) == len(trainings.calls) == 3
    # A closer look is taken at snapshots that are there: of 1, 3 and 5 minutes, without training.
    closer = compare(folder, tmp_path, "--minutes", 6, "--points", 6)
    assert [point["minutes"] for point in closer["one"]] == pytest.approx([1.0, 1.67, 3.0, 3.67, 5.0, 5.67], abs=0.02)
    assert len(drawn) == 6
    assert len(trainings.calls) == 3


def test_other_judging_makes_other_points(folder, tmp_path, trainings, drawn):
    few = compare(folder, tmp_path, "--minutes", 2, "--points", 1)
    many = compare(folder, tmp_path, "--minutes", 2, "--points", 1, "--faces", 30)
    assert few["one"][0]["sha256"] == many["one"][0]["sha256"]
    assert few["one"][0]["emotion_interval"] != many["one"][0]["emotion_interval"]
    assert compare(folder, tmp_path, "--minutes", 2, "--points", 1) == few
    assert len(drawn) == 2


def test_identity_is_measured_when_asked_for_and_added_to_what_is_there(folder, tmp_path, trainings, drawn, capsys):
    plain = compare(folder, tmp_path, "--minutes", 2, "--points", 1)
    added = compare(folder, tmp_path, "--minutes", 2, "--points", 1, "--identity")
    assert 0 <= added["one"][0]["identity_auc"] <= 1
    assert added["one"][0] == plain["one"][0] | {"identity_auc": added["one"][0]["identity_auc"]}
    assert "identity AUC" in capsys.readouterr().out
    compare(folder, tmp_path, "--minutes", 2, "--points", 1, "--identity")
    assert len(drawn) == 2
    assert len(trainings.calls) == 1


def test_real_faces_are_judged_once_for_all_recipes(folder, tmp_path, trainings, monkeypatch):
    judged = []

    def judge(self, images):
        judged.append(len(images))
        return own(self, images)

    own = recipes.Judge.judge
    monkeypatch.setattr(recipes.Judge, "judge", judge)
    compare(folder, tmp_path, "--minutes", 4, "--points", 2, names=("one", "two"))
    # Of each of the four weights: 20 people in seven emotions, and as many faces with label vectors of training faces.
    assert judged == [70, 140] + ([20] * 7 + [140]) * 4


def test_a_finished_run_is_not_trained_on(folder, tmp_path, trainings, monkeypatch):
    monkeypatch.setattr(recipes, "saved_images", lambda path: 1_000_000 if trainings.calls else 0)
    assert len(compare(folder, tmp_path, "--minutes", 6, "--points", 3)["one"]) == 1
    assert len(trainings.calls) == 1


def test_a_stop_ends_everything_and_slices_have_a_shortest(folder, tmp_path, trainings, capsys):
    trainings.reason = "signal"
    with pytest.raises(SystemExit, match="the same command goes on"):
        compare(folder, tmp_path, "--minutes", 4, "--points", 2)
    assert len(trainings.calls) == 1
    with pytest.raises(SystemExit):
        compare(folder, tmp_path, "--minutes", 1, "--points", 4)
    assert "2 or more" in capsys.readouterr().err


def test_a_real_run_is_trained_judged_drawn_and_gone_on_with(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(recipes, "matrix_rates", lambda device, dtype: {"matrix product": 1e9})
    short = recipes.load_recipe(str(folder / "one.toml"))
    short = replace(short, schedule=replace(short.schedule, total_kimg=0.08, tick_kimg=0.04))
    monkeypatch.setattr(recipes, "load_recipe", lambda name: short)
    runs = compare(folder, tmp_path, "--minutes", 1, "--points", 1)
    assert [point["images_seen"] for point in runs["one"]] == [80]
    with Image.open(tmp_path / "comparison.png") as picture:
        assert picture.width > picture.height > 500
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 10
    monkeypatch.setattr(recipes, "comparison", lambda *drawn: None)
    before = (tmp_path / "one" / "state.safetensors").read_bytes()
    assert compare(folder, tmp_path, "--minutes", 2, "--points", 2) == runs  # it has seen all its images
    assert (tmp_path / "one" / "state.safetensors").read_bytes() == before
    assert '"recipe": "one"' in capsys.readouterr().out
