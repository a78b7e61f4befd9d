"""What a weight file is worth, in figures: each next to what real faces give under the same protocol.

Protocol. Contempt is left out, because FER+ has too few real faces of it. A real face counts as the emotion that most
votes name. Faces are drawn in two ways:

- *People*: seeds 0, 1, 2 ... up to ``per_emotion``, each in every emotion, at full intensity and at the truncation that
  users get by default. They tell how well a request is answered: accuracy, identity, and whether a detector finds a
  face. Real test faces are judged beside them.
- *Labelled faces*: E x ``per_emotion`` faces of E emotions, seeds 0, 1, 2 ..., each with the label vector of a training
  face, at truncation 1. They tell how near the whole distribution is to that of the training faces: Frechet distance,
  KID, manifolds, and near-copies.

The floor of a distance is what real test faces have to the same training faces, as many of them as generated ones: of
each as many as there are of the fewer. The floor of the Frechet distance falls as 1 / N with N faces, so the ratio to
it grows with N; the extrapolated distance does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.sampler import DEFAULT_TRUNCATION, FaceSampler
from training import metrics
from training.drawing import draw_labelled, draw_people
from training.face_detector import FaceDetector, detection
from training.gan_train import gan_train
from training.identity import Embedder
from training.inception import Inception
from training.judge import Judge
from training.neighbours import memorisation
from training.reference import Faces, Reference, Said

INTERVALS: Final = (
    "95 %, percentile bootstrap, 1,000 rounds: of people, with all their emotions, where faces are generated; of test "
    "faces where they are real"
)
INFINITY: Final = (
    "distances of 15 random subsets, from a tenth of the faces or more than there are features to all, on a line in "
    "1 / size, where it meets 0; the training faces stay finite"
)
INTENSITIES: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_INTENSITY_SEEDS: Final = range(100)
_IDENTITY_SEEDS: Final = 100
_INCEPTION_FACES: Final = 50_000
_SEED: Final = 0  # of every random choice made here


def emotion_figures(drawn: Sequence[Said], real_test: Said, columns: Sequence[int], test: Faces) -> dict[str, Any]:
    """Tell whether the faces drawn of each emotion show what was asked for, and real ones what was voted.

    ``drawn`` has as many people, and the same ones, in every emotion.
    """
    emotions = len(drawn)
    said = np.stack([votes[:, columns].argmax(axis=1) for _, votes, _ in drawn], axis=1)  # [people, E]
    asked = np.broadcast_to(np.arange(emotions), said.shape)
    generated = metrics.classification(asked, said, emotions)
    _, votes, given = real_test
    real = metrics.classification(test.classes, votes[:, columns].argmax(axis=1), emotions)
    figures = {"generated": generated, "real": real}
    if test.given is not None:
        figures["fer2013"] = {"accuracy": float((given.argmax(axis=1) == test.given).mean()), "faces": len(test.given)}
    return figures


def distance_figures(
    fake: NDArray[np.float32],
    fake_classes: NDArray[np.int64],
    real_test: NDArray[np.float32],
    real_train: NDArray[np.float32],
    test: Faces,
    train: Faces,
    emotions: Sequence[str],
) -> dict[str, Any]:
    """Measure how far features ``fake`` ``[M, D]`` of labelled faces of ``fake_classes`` ``[M]`` are from real ones."""
    rng = np.random.default_rng(_SEED)
    count = min(len(fake), len(real_test))
    some, floor = fake[:count], real_test[rng.permutation(len(real_test))[:count]]
    figures: dict[str, Any] = {"faces": count, "reference": len(real_train)}
    figures["frechet"] = metrics.frechet_distance(some, real_train)
    figures["frechet_floor"] = metrics.frechet_distance(floor, real_train)
    figures["frechet_ratio"] = figures["frechet"] / figures["frechet_floor"]
    # No ratio of these two: the floor is 0 but for noise, which is what makes them free of the number of faces.
    figures["frechet_infinity"] = metrics.frechet_distance_infinity(some, real_train)
    figures["frechet_infinity_floor"] = metrics.frechet_distance_infinity(floor, real_train)
    figures["kid"], figures["kid_std"] = metrics.kernel_distance(some, real_train)
    figures["kid_floor"], figures["kid_floor_std"] = metrics.kernel_distance(floor, real_train)
    others = real_train[rng.permutation(len(real_train))[:count]]
    figures["manifold"] = metrics.precision_recall_density_coverage(floor, some)
    figures["manifold_floor"] = metrics.precision_recall_density_coverage(floor, others)
    figures["emotions"] = {
        emotion: {
            "diversity": metrics.diversity(fake[fake_classes == k]),
            "diversity_real": metrics.diversity(real_test[test.classes == k]),
        }
        for k, emotion in enumerate(emotions)
    }
    return figures


def inception_figures(inception: Inception, sampler: FaceSampler, reference: Reference) -> dict[str, Any]:
    """Measure FID and KID as everybody reports them: 50,000 labelled faces against all training faces."""
    test, train = reference.faces(reference.emotions(sampler))
    drawn, _ = draw_labelled(sampler, train, reference.train.emotions, _INCEPTION_FACES)
    real, fake, floor = (inception.features(images) for images in (train.images, drawn, test.images))
    figures: dict[str, Any] = {"features": inception.name, "faces": len(drawn), "reference": len(real)}
    for name, features in (("", fake), ("_floor", floor)):
        figures[f"frechet{name}"] = metrics.frechet_distance(features, real)
        figures[f"kid{name}"], figures[f"kid{name}_std"] = metrics.kernel_distance(features, real)
    return figures


def intensity_figures(
    judge: Judge, steps: Sequence[NDArray[np.uint8]], emotions: Sequence[str], columns: Sequence[int]
) -> dict[str, Any]:
    """Measure whether an emotion grows with its intensity: the judge's probability of it, in people
    ``[E, people, C, H, W]`` drawn at each of ``INTENSITIES``."""
    figures: dict[str, Any] = {"intensities": list(INTENSITIES)}
    for k, emotion in enumerate(emotions):
        if emotion != "neutral":
            scores = np.stack([judge.judge(step[k])[1][:, columns[k]] for step in steps], axis=1)
            figures[emotion] = metrics.monotonic(scores)
    return figures


def face_figures(
    people: NDArray[np.uint8],
    labelled: tuple[NDArray[np.uint8], NDArray[np.int64]],
    reference: Reference,
    judge: str,
    emotions: tuple[str, ...],
) -> dict[str, Any]:
    """Measure faces by the judge called ``judge``.

    Args:
        people: uint8 ``[E, people, C, H, W]``, for ``emotion`` in what is returned.
        labelled: faces uint8 ``[M, C, H, W]`` and their classes ``[M]``, for ``distance``.
    """
    test, train = reference.faces(emotions)
    real_test, real_train = reference.said(judge, emotions)
    said = [reference.judges[judge].judge(part) for part in people]
    fake, classes = reference.judges[judge].judge(labelled[0])[0], labelled[1]
    return {
        "emotion": emotion_figures(said, real_test, reference.columns(emotions), test),
        "distance": distance_figures(fake, classes, real_test[0], real_train[0], test, train, emotions),
    }


def identity_figures(embedder: Embedder, drawn: NDArray[np.uint8]) -> dict[str, Any]:
    """Tell whether a seed stays one person in people ``[E, people, C, H, W]``, of whom the first 100 count."""
    people = drawn[:, :_IDENTITY_SEEDS]
    flat = embedder.embed(people.reshape(-1, *people.shape[2:]))
    by_person = flat.reshape(*people.shape[:2], -1).swapaxes(0, 1)
    return {"embedding": embedder.name, **metrics.identity_auc(by_person)}


def evaluate(
    sampler: FaceSampler,
    reference: Reference,
    *,
    truncation: float = DEFAULT_TRUNCATION,
    per_emotion: int = 1000,
    embedder: Embedder | None = None,
    detector: FaceDetector | None = None,
    inception: Inception | None = None,
    quick: bool = False,
    device: str = "cpu",
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure weights against real faces; return JSON-able figures.

    Args:
        truncation: of the people and of one of the two trainings of GAN-train; labelled faces always have 1.
        embedder: tells people apart; without one identity is not measured.
        detector: finds faces; without one that is not measured.
        inception: for FID as others report it; hours without a GPU.
        quick: leave out what takes minutes: GAN-train, the nearest training faces, and the detector.

    Raises:
        DataError: data and weights do not go together.
    """
    emotions = reference.emotions(sampler)
    test, train = reference.faces(emotions)
    say(f"drawing {per_emotion:,} faces of each of {len(emotions)} emotions, twice")
    people = draw_people(sampler, emotions, per_emotion, truncation)
    labelled = draw_labelled(sampler, train, reference.train.emotions, len(emotions) * per_emotion)
    steps = [draw_people(sampler, emotions, len(_INTENSITY_SEEDS), truncation, level) for level in INTENSITIES]
    figures: dict[str, Any] = {
        "weights": {"name": sampler.name, "sha256": sampler.sha256, "images_seen": sampler.card.get("images_seen")},
        "protocol": {
            "emotions": emotions,
            "faces_per_emotion": per_emotion,
            "labelled_faces": len(labelled[0]),
            "truncation": truncation,
            "test": {"faces": len(test.images), "sha256": reference.test.sha256},
            "train": {"faces": len(train.images), "sha256": reference.train.sha256},
            "intervals": INTERVALS,
            "frechet_infinity": INFINITY,
        },
        "judges": {},
    }
    for name, judge in reference.judges.items():
        say(f"judge {name}: emotions, distances, intensity")
        figures["judges"][name] = {
            "card": judge.card,
            **face_figures(people, labelled, reference, name, emotions),
            "intensity": intensity_figures(judge, steps, emotions, reference.columns(emotions)),
        }
    if embedder is not None:
        say(f"identity: {embedder.name}")
        figures["identity"] = identity_figures(embedder, people)
    if inception is not None:
        say(f"Inception: {_INCEPTION_FACES:,} faces")
        figures["inception"] = inception_figures(inception, sampler, reference)
    if not quick:
        if detector is not None:
            say(f"face detector: {detector.name}")
            figures["detection"] = detection(detector, people, test.images, test.classes)
        say("nearest training faces")
        figures["memorisation"] = memorisation(labelled[0], test.images, train.images)
        figures["gan_train"] = gan_train(
            sampler,
            sorted({truncation, 1.0}),
            emotions,
            (train.images, train.classes),
            (test.images, test.classes),
            device=device,
            say=say,
        )
    return figures
