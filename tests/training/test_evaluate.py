"""Figures tell good faces from bad ones, and the report says what was measured."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from model.generator import GeneratorConfig
from tests.training.conftest import draw_face
from training.card import headline, markdown
from training.data.errors import DataError
from training.data.packed import PackedDataset, load_packed
from training.evaluate import INTENSITIES, draw_people, evaluate, face_figures, natural_mix
from training.gan_train import draw_faces, gan_train
from training.judge import Judge, JudgeConfig, JudgeNetwork
from training.judge_training import train_judge
from training.metrics import classification
from training.reference import Faces, Reference
from training.report import write_report


@dataclass
class _Album:
    """A sampler that draws by hand: the best generator of these faces that there can be, or one that has collapsed."""

    emotions: tuple[str, ...]
    collapsed: bool = False
    name: str = "album"
    sha256: str = "0" * 64
    resolution: int = 16
    channels: int = 1
    card: dict[str, Any] = field(default_factory=lambda: {"images_seen": 1000})
    config: GeneratorConfig = field(default_factory=lambda: GeneratorConfig(16, widths=(8, 8), latent_dim=8))

    def sample(self, requests):
        faces = []
        for request in requests:
            seed = 0 if self.collapsed else request.seed
            vector = np.asarray(request.mix.vector(self.emotions, request.intensity))
            emotion = 3 if self.collapsed else int(np.clip(vector, 0, None).argmax())
            # All but what the emotion changes is drawn from the seed alone: one seed, one person.
            faces.append(draw_face(emotion, np.random.default_rng(10_000 + seed))[:, :, None])
        return np.stack(faces)

    def latent(self, seed):
        return np.random.default_rng(seed).standard_normal(8).astype(np.float32)

    def draw(self, latents, emotions):
        return np.stack([draw_face(int(row.argmax()), np.random.default_rng(0))[:, :, None] for row in emotions])


def Album(*arguments: Any, **options: Any) -> Any:
    return _Album(*arguments, **options)


@dataclass
class Brightness:
    """An embedding of drawn people: how bright the face and its background are."""

    name: str = "brightness"

    def embed(self, images):
        return np.stack([images[:, 0, 8, 4], images[:, 0, 0, 0]], axis=1).astype(float)


@pytest.fixture(scope="module")
def real(faces: Path, unseen_faces: Path) -> tuple[PackedDataset, PackedDataset]:
    return load_packed(unseen_faces), load_packed(faces)


@pytest.fixture(scope="module")
def judges(real):
    _, train = real
    config = JudgeConfig(train.emotions, 16, 1, widths=(8, 16), epochs=30, batch=20, lr=1e-2)
    return {"a": train_judge(train.images, train.labels, train.given, config)}


@pytest.fixture(scope="module")
def reference(real, judges):
    return Reference(real[0], real[1], judges)


@pytest.fixture(scope="module")
def measured(reference):
    def measure(**options):
        album = Album(reference.test.emotions, **options)
        return evaluate(album, reference, per_emotion=40, embedder=Brightness(), quick=True)

    return {"good": measure(), "collapsed": measure(collapsed=True)}


def test_the_best_generator_scores_as_real_faces_do(measured):
    figures = measured["good"]["judges"]["a"]
    assert figures["emotion"]["generated"]["balanced_accuracy"] > 0.75
    assert figures["emotion"]["real"]["count"] == 210
    assert 0.2 < figures["distance"]["frechet_ratio"] < 5
    assert figures["distance"]["manifold"]["coverage"] > 0.5
    assert measured["good"]["identity"]["auc"] > 0.99


def test_a_collapsed_generator_is_found_out(measured):
    good, bad = (measured[kind]["judges"]["a"] for kind in ("good", "collapsed"))
    assert bad["emotion"]["generated"]["balanced_accuracy"] == pytest.approx(1 / 7)
    assert bad["distance"]["frechet_ratio"] > 5 * good["distance"]["frechet_ratio"]
    assert bad["distance"]["frechet_infinity"] > 5 * abs(good["distance"]["frechet_infinity"])
    assert bad["distance"]["kid"] > 5 * abs(good["distance"]["kid"])
    assert bad["distance"]["manifold"]["coverage"] < 0.1
    assert bad["distance"]["emotions"]["sad"]["diversity"] == pytest.approx(0, abs=1e-3)
    assert bad["intensity"]["sad"]["spearman"] == 0 < good["intensity"]["sad"]["spearman"]


def test_the_same_weights_get_the_same_figures(measured, real, judges):
    album = Album(real[0].emotions)
    again = evaluate(album, Reference(real[0], real[1], judges), per_emotion=40, embedder=Brightness(), quick=True)
    assert json.dumps(again) == json.dumps(measured["good"])


def test_real_faces_are_judged_once_for_all_weights(real, judges, measured, monkeypatch):
    judged: list[int] = []

    def judge(self, images):
        judged.append(len(images))
        return own(self, images)

    own = Judge.judge
    monkeypatch.setattr(Judge, "judge", judge)
    reference = Reference(real[0], real[1], judges)
    for collapsed in (False, True):
        album = Album(real[0].emotions, collapsed=collapsed)
        emotions = reference.emotions(album)
        figures = face_figures(draw_people(album, emotions, 40, 1.0), reference, "a", emotions)
        expected = measured["collapsed" if collapsed else "good"]["judges"]["a"]
        assert figures == {key: expected[key] for key in ("emotion", "distance")}
    assert judged == [210, 140, *[40] * 7, *[40] * 7]
    reference.said("a", ("happy", "sad"))  # of other emotions there are other real faces
    assert len(judged) == 18


def test_faces_that_teach_are_not_those_that_are_judged(real):
    album = Album(real[0].emotions)
    faces, asked = draw_faces(album, ("happy", "sad"), (3, 2), 1.0)
    assert faces.shape == (5, 1, 16, 16)
    assert asked.tolist() == [0, 0, 0, 1, 1]
    judged, _ = draw_faces(album, ("happy",), (40,), 1.0, first_seed=0)
    assert not any((face == other).all() for face in faces for other in judged)


def test_gan_train_tells_what_faces_teach(real):
    test, train = (Faces.of(part, part.emotions) for part in real)
    known = (train.images, train.classes), (test.images, test.classes)
    options: dict[str, Any] = {"fill_to": 30, "epochs": 12.0}
    good = gan_train(Album(real[0].emotions), 1.0, real[0].emotions, *known, **options)
    bad = gan_train(Album(real[0].emotions, collapsed=True), 1.0, real[0].emotions, *known, **options)
    assert good["ratio"] > 0.8 > 0.5 > bad["ratio"]
    assert good["ratio"] == pytest.approx(good["generated"]["accuracy"] / good["real"]["accuracy"])
    for taught in (good, bad):
        low, high = taught["ratio_interval"]
        assert low < taught["ratio"] < high < low + 0.5
        assert taught["generated"]["interval"][0] < taught["generated"]["accuracy"] < taught["generated"]["interval"][1]
    assert good["faces"]["generated"] == np.bincount(train.classes).tolist()
    assert good["faces"]["added"] == [max(0, 30 - n) for n in np.bincount(train.classes)]
    assert good["both"]["accuracy"] > 0.6
    assert bad["gan_test"]["accuracy"] < 0.5 < good["gan_test"]["accuracy"]


@given(arrays(np.int64, 7, elements=st.integers(1, 10_000)), st.integers(1, 1000))
def test_the_natural_mix_takes_what_there_is_in_the_test_set_s_parts(counts, available):
    take = natural_mix(counts, available)
    assert take.max() <= available
    assert take.min() >= 1
    exact = counts / counts.max() * available
    assert (np.abs(take - exact) <= 1).all()


def test_only_faces_of_the_judged_emotions_count(real):
    faces = Faces.of(real[0], ("sad", "happy"))
    assert set(faces.classes) == {0, 1}
    labels = real[0].labels.argmax(1)
    assert len(faces.images) == np.isin(labels, [3, 4]).sum()
    assert (faces.labels.argmax(1) == np.where(faces.classes == 0, 4, 3)).all()


def test_data_that_do_not_go_with_the_weights_are_refused(reference):
    album = Album(reference.test.emotions)
    assert reference.emotions(album) == reference.test.emotions
    album.resolution = 32
    with pytest.raises(DataError, match=r"16x16 with 1 channels, but the weights draw 32x32"):
        evaluate(album, reference)
    with pytest.raises(DataError, match="hardly any of them"):
        evaluate(Album(("bored", "amused")), reference)


def test_a_judge_of_other_emotions_is_refused(real, judges):
    other = Judge(JudgeNetwork(JudgeConfig(("happy", "sad"), 16, 1, widths=(8, 16))), {})
    with pytest.raises(DataError, match="judge 'b' knows happy, sad, and the data set other emotions"):
        Reference(real[0], real[1], {**judges, "b": other})


def test_the_report_holds_every_figure_and_every_picture(measured, real, tmp_path):
    figures = measured["good"]
    train = Faces.of(real[1], real[0].emotions)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "scores.jsonl").write_text('{"images_seen": 500, "coverage": 0.25}\n{"images_seen": 1000}\n')
    lines = [{"cur_nimg": n, "seconds": n / 10, "loss_d": 1.0, "loss_g": 0.5, "augment_p": 0.1} for n in (40, 80)]
    (tmp_path / "run" / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    card = write_report(figures, Album(real[0].emotions), tmp_path, train=train, run=tmp_path / "run")
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(figures))
    scores = [json.loads(line) for line in (tmp_path / "run" / "scores.jsonl").read_text().splitlines()]
    assert [line["images_seen"] for line in scores] == [500, 1000]
    assert scores[1]["coverage"] == figures["judges"]["a"]["distance"]["manifold"]["coverage"]
    text = card.read_text()
    scores, distance = (figures["judges"]["a"][key] for key in ("emotion", "distance"))
    value, (low, high) = (scores["generated"][key] for key in ("balanced_accuracy", "balanced_interval"))
    assert f"| emotion accuracy, balanced | {value:.3f} ({low:.3f} to {high:.3f}) |" in text
    far, floor = distance["frechet_infinity"], distance["frechet_infinity_floor"]
    assert f"extrapolated to infinitely many faces | {far:.3f} | {floor:.3f} |" in text
    assert figures["protocol"]["intervals"] in text
    assert figures["protocol"]["frechet_infinity"] in text
    named = [part.split(")")[0] for part in text.split("](")[1:]]
    assert len(named) == 6
    for name in named:
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 50


def test_what_generated_faces_teach_is_reported_with_its_intervals(measured):
    scores = classification(np.arange(70) % 7, np.arange(70) % 6, 7)
    taught = {**dict.fromkeys(("real", "generated", "both", "gan_test"), scores), "protocol": "as agreed"}
    figures = {**measured["good"], "gan_train": {**taught, "ratio": 0.8, "ratio_interval": [0.7, 0.9]}}
    text = markdown(figures, {})
    assert "accuracy when trained on real faces | 0.800 (0.700 to 0.900) | 1.000 |" in text
    (low, high), (lower, higher) = scores["interval"], scores["balanced_interval"]
    accuracies = f"{scores['accuracy']:.3f} ({low:.3f} to {high:.3f}) | {scores['balanced_accuracy']:.3f} "
    assert f"| generated | {accuracies}({lower:.3f} to {higher:.3f}) |" in text
    assert "as agreed; GAN-test" in text


def test_a_must_that_does_not_hold_is_said(measured):
    good = markdown(measured["good"], {})
    bad = markdown(measured["collapsed"], {})
    assert good.count("**no**") < bad.count("**no**")
    for line in headline(measured["collapsed"]):
        if line.aim.name.startswith("emotion accuracy"):
            assert max(line.values) < line.aim.must
            assert not line.holds()
    assert len(INTENSITIES) == len(measured["good"]["judges"]["a"]["intensity"]["sad"]["curve"])
