"""Figures tell good faces from bad ones, and the report says what was measured."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.emotions import EmotionMix
from model.networks.checkpoint import save_generator
from model.networks.configs import StyleGeneratorConfig
from model.networks.style import StyleGenerator
from model.sampler import FaceRequest
from tests.training.conftest import EMOTIONS, draw_face
from training.card import write_card
from training.data.errors import DataError
from training.data.packed import PackedDataset, load_packed
from training.drawing import draw_faces, draw_labelled, draw_people
from training.evaluate import INTENSITIES, evaluate, face_figures
from training.gan_train import gan_train
from training.headline import details, figures_table, headline, number
from training.judge import Judge, JudgeConfig, JudgeNetwork
from training.judge_training import train_judge
from training.metrics import classification
from training.reference import Faces, Reference
from training.report import report_text, write_report


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
    config: StyleGeneratorConfig = field(default_factory=lambda: StyleGeneratorConfig(16, widths=(8, 8), latent_dim=8))

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

    def draw(self, latents, emotions, truncation=None):
        people = [0] * len(latents) if self.collapsed else [int(1e6 * abs(latent[0])) for latent in latents]
        shown = [3] * len(latents) if self.collapsed else emotions.argmax(axis=1)
        faces = [draw_face(int(e), np.random.default_rng(who)) for e, who in zip(shown, people, strict=True)]
        return np.stack(faces)[:, :, :, None]


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
        people = draw_people(album, emotions, 40, 1.0)
        labelled = draw_labelled(album, reference.faces(emotions)[1], EMOTIONS, 280)
        figures = face_figures(people, labelled, reference, "a", emotions)
        expected = measured["collapsed" if collapsed else "good"]["judges"]["a"]
        assert figures == {key: expected[key] for key in ("emotion", "distance")}
    assert judged == [210, 140, *[*[40] * 7, 280] * 2]
    reference.said("a", ("happy", "sad"))  # of other emotions there are other real faces
    assert len(judged) == 20


def test_faces_that_teach_are_not_those_that_are_judged(real):
    album = Album(real[0].emotions)
    faces, asked = draw_faces(album, ("happy", "sad"), (3, 2), 1.0)
    assert faces.shape == (5, 1, 16, 16)
    assert asked.tolist() == [0, 0, 0, 1, 1]
    judged, _ = draw_faces(album, ("happy",), (40,), 1.0, first_seed=0)
    assert not any((face == other).all() for face in faces for other in judged)


def test_gan_train_tells_what_faces_of_each_truncation_teach(real):
    class _Fading(_Album):
        """Draws happy faces only, below full truncation."""

        def sample(self, requests):
            return super().sample(
                requests
                if requests[0].truncation == 1
                else [replace(request, mix=EmotionMix.parse("happy", self.emotions)) for request in requests]
            )

    def Fading(emotions: tuple[str, ...]) -> Any:
        return _Fading(emotions)

    test, train = (Faces.of(part, part.emotions) for part in real)
    known = (train.images, train.classes), (test.images, test.classes)
    options: dict[str, Any] = {"fill_to": 30, "epochs": 12.0}
    good = gan_train(Fading(real[0].emotions), (0.5, 1.0), real[0].emotions, *known, **options)
    for scores in good["generated"]:
        assert scores["ratio"] == pytest.approx(scores["accuracy"] / good["real"]["accuracy"])
        assert scores["ratio_interval"][0] <= scores["ratio"] <= scores["ratio_interval"][1]
    half, full = good["generated"]
    assert (half["truncation"], full["truncation"]) == (0.5, 1.0)
    assert full["ratio"] > 0.8 > 0.5 > half["ratio"]
    assert good["best"] == full
    assert half["gan_test"]["accuracy"] < 0.5 < full["gan_test"]["accuracy"]
    assert good["faces"]["generated"] == np.bincount(train.classes).tolist()
    assert good["faces"]["added"] == [max(0, 30 - n) for n in np.bincount(train.classes)]
    assert good["both"]["accuracy"] > 0.6


def test_labelled_faces_have_the_label_vectors_of_training_faces_and_a_seed_each(real):
    """A stand-in sampler tells what it was asked to draw."""
    train = Faces.of(real[1], EMOTIONS)
    told: dict[str, Any] = {}

    class Listener(_Album):
        def draw(self, latents, emotions, truncation=None):
            told.update(latents=latents, emotions=emotions, truncation=truncation)
            return super().draw(latents, emotions, truncation)

    sampler: Any = Listener(("happy", "sad", "contempt"))
    faces, classes = draw_labelled(sampler, Faces.of(real[1], ("happy", "sad")), EMOTIONS, 30)
    assert faces.shape == (30, 1, 16, 16)
    np.testing.assert_array_equal(told["latents"], [sampler.latent(seed) for seed in range(30)])
    assert (told["truncation"] == 1).all()
    # Soft labels lose what the weights do not know (neutral), and sum to 1 again.
    np.testing.assert_array_equal(told["emotions"], np.eye(3)[classes])

    sampler = Listener(EMOTIONS)
    _, classes = draw_labelled(sampler, train, EMOTIONS, 2 * len(train.labels))
    expected = np.tile(train.labels, (2, 1))
    ours, theirs = (rows[np.lexsort(rows.T)] for rows in (np.asarray(told["emotions"]), expected))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)  # every label twice
    np.testing.assert_array_equal(classes, told["emotions"].argmax(axis=1))
    _, again = draw_labelled(sampler, train, EMOTIONS, 20)
    np.testing.assert_array_equal(again, classes[:20])


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
    report = write_report(figures, Album(real[0].emotions), tmp_path, train=train, run=tmp_path / "run")
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(figures))
    scores = [json.loads(line) for line in (tmp_path / "run" / "scores.jsonl").read_text().splitlines()]
    assert [line["images_seen"] for line in scores] == [500, 1000]
    assert scores[1]["coverage"] == figures["judges"]["a"]["distance"]["manifold"]["coverage"]
    text = report.read_text()
    scores, distance = (figures["judges"]["a"][key] for key in ("emotion", "distance"))
    value, floor = (scores[kind]["balanced_accuracy"] for kind in ("generated", "real"))
    assert f"| emotion accuracy, balanced | {value:.3f} | {floor:.3f} | 0.850 |" in text
    assert f"| KID x 1000 | {number(1000 * distance['kid'])} | {number(1000 * distance['kid_floor'])} |" in text
    assert "280 faces at truncation 1 with label vectors" in text
    named = [part.split(")")[0] for part in text.split("](")[1:]]
    pictures = [name for name in named if name.endswith(".png")]
    assert len(pictures) == 7
    for name in pictures:
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 50
    with Image.open(tmp_path / "wall.png") as wall:
        assert wall.size == (8 * 32, 6 * 32)
        first = np.asarray(wall.resize((8 * 16, 6 * 16), Image.Resampling.BOX), float)[16:32, 16:32]
    ninth = FaceRequest(EmotionMix.parse("neutral", EMOTIONS), 9)  # second row, second column
    assert np.abs(first - Album(EMOTIONS).sample([ninth])[0, :, :, 0]).mean() < 10


@pytest.fixture(scope="module")
def whole(measured):
    """Figures that also hold what takes minutes to measure."""
    scores = classification(np.arange(70) % 7, np.arange(70) % 6, 7)
    half, full = ({**scores, "truncation": psi, "ratio": psi, "ratio_interval": [0, 1]} for psi in (0.5, 1.0))
    taught = {"real": scores, "generated": [half, full], "best": full, "both": scores, "protocol": "as agreed"}
    detected = {"generated": 0.9, "real": 0.8, "ratio": 1.125, "detector": "an eye"}
    detected |= {f"{kind}_by_emotion": [0.1 * k for k in range(7)] for kind in ("generated", "real")}
    copies = {"fraction": 0.002, "near_copies": 0.21}
    return {**measured["good"], "gan_train": taught, "detection": detected, "memorisation": copies}


def test_figures_that_take_minutes_are_shown_where_they_were_measured(whole, measured):
    text = report_text(whole, {})
    assert "trained on real faces (truncation 1) | 1.000 | 1.000 | 0.900 | 0.970 | yes |" in text
    assert "| a detector finds a face, generated / real | 1.125 | 1.000 | 1.000 | 1.150 | yes |" in text
    assert "| near-copies of training faces | 0.20 % | 1.00 % | 0.50 % | 0.10 % | yes |" in text
    assert "GAN-train accuracy, truncation 0.5" in text
    assert "Detector: an eye" in text
    assert "| 0.30 | 0.30 |" in text
    assert [line.name for line in headline(measured["good"])] == [line.name for line in headline(whole)][:4] + [
        "one seed across emotions, AUC"
    ]


def test_the_card_says_what_the_file_is_and_where_it_is_weak(whole, tmp_path):
    generator = StyleGenerator(StyleGeneratorConfig(16, emotions=EMOTIONS, widths=(8, 8), latent_dim=8))
    data = {"name": "fer2013", "split": "training", "images": 140, "rows": 150, "sha256": "ab" * 32}
    data["skipped"] = {"no face": 10}
    weights = tmp_path / "w.safetensors"
    sha256 = save_generator(weights, generator, {"data": data, "recipe": {"name": "tiny"}, "images_seen": 1000})
    write_card(whole, Album(EMOTIONS), weights, tmp_path / "card.md")
    text = (tmp_path / "card.md").read_text()
    assert text.startswith("# w: model card")
    assert sha256 in text
    assert "training split: 140 faces of 150 rows (left out: 10 no face)" in text
    assert "`tiny`, 1,000 images seen" in text
    assert figures_table(headline(whole)) in text
    assert "finds none in 10% of the pictures" in text
    assert "FER-2013 is for research" in text
    weakest = int(np.argmin(whole["judges"]["a"]["emotion"]["generated"]["recall"]))
    assert f"- {EMOTIONS[weakest].capitalize()} is recognised in" in text
    with Image.open(tmp_path / "card.png") as picture:
        assert picture.width > picture.height / 2 > 50
    assert "](card.png)" in text


def test_a_must_that_does_not_hold_is_said(measured):
    bad = headline(measured["collapsed"])
    assert figures_table(headline(measured["good"])).count("**no**") < figures_table(bad).count("**no**")
    for line in bad:
        if line.name.startswith(("emotion accuracy", "Frechet")):
            assert not line.holds()
    assert all(line.holds() for line in details(measured["collapsed"]))  # they have no limit
    assert len(INTENSITIES) == len(measured["good"]["judges"]["a"]["intensity"]["sad"]["curve"])
