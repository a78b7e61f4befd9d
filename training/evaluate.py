"""What a weight file is worth, in figures: each next to what real faces give under the same protocol.

Protocol. ``per_emotion`` faces of each emotion are drawn from seeds 0, 1, 2 ..., the same people in every emotion.
Contempt is left out, because FER+ has too few real faces of it. A real face counts as the emotion that most votes name.
Distances between sets compare the same mix of emotions: of each emotion as many faces are taken, lowest seeds first, as
it has in the test set, all scaled down until there are enough of the most frequent one; the floor is measured with as
many real test faces as there are generated ones, against the same real training faces. The floor falls as 1 / N with N
faces, so the ratio to it grows with N; the extrapolated distance does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.emotions import EmotionMix
from model.sampler import FaceRequest, FaceSampler
from training import metrics
from training.gan_train import draw_faces, gan_train
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


def draw_people(
    sampler: FaceSampler, emotions: Sequence[str], people: int, truncation: float, intensity: float = 1.0
) -> NDArray[np.uint8]:
    """Draw seeds 0 to ``people`` - 1 in every emotion: uint8 ``[E, people, C, H, W]``."""
    mixes = [EmotionMix.parse(emotion, sampler.emotions) for emotion in emotions]
    requests = [FaceRequest(mix, seed, intensity, truncation) for mix in mixes for seed in range(people)]
    faces = sampler.sample(requests).transpose(0, 3, 1, 2)
    return faces.reshape(len(emotions), people, *faces.shape[1:])


def natural_mix(counts: NDArray[np.int64], available: int) -> NDArray[np.int64]:
    """Return how many faces of each emotion to take, ``[E]``, if there are ``available`` of each: as ``counts`` has."""
    return np.maximum(1, np.floor(counts * (available / counts.max()))).astype(np.int64)


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
    features: Sequence[NDArray[np.float32]],
    real_test: NDArray[np.float32],
    real_train: NDArray[np.float32],
    test: Faces,
    train: Faces,
    emotions: Sequence[str],
) -> dict[str, Any]:
    """Measure how far ``features`` of the faces drawn of each emotion, ``[people, D]``, are from those of real ones."""
    rng = np.random.default_rng(_SEED)
    counts = np.bincount(test.classes, minlength=len(emotions))
    take = natural_mix(counts, min(len(features[0]), int(counts.max())))
    fake = np.concatenate([part[:n] for part, n in zip(features, take, strict=True)])
    floor = real_test[rng.permutation(len(real_test))[: len(fake)]]
    figures: dict[str, Any] = {"faces": len(fake), "reference": len(real_train)}
    figures["frechet"] = metrics.frechet_distance(fake, real_train)
    figures["frechet_floor"] = metrics.frechet_distance(floor, real_train)
    figures["frechet_ratio"] = figures["frechet"] / figures["frechet_floor"]
    # No ratio of these two: the floor is 0 but for noise, which is what makes them free of the number of faces.
    figures["frechet_infinity"] = metrics.frechet_distance_infinity(fake, real_train)
    figures["frechet_infinity_floor"] = metrics.frechet_distance_infinity(floor, real_train)
    figures["kid"], figures["kid_std"] = metrics.kernel_distance(fake, real_train)
    figures["kid_floor"], figures["kid_floor_std"] = metrics.kernel_distance(floor, real_train)
    others = real_train[rng.permutation(len(real_train))[: len(fake)]]
    figures["manifold"] = metrics.precision_recall_density_coverage(floor, fake)
    figures["manifold_floor"] = metrics.precision_recall_density_coverage(floor, others)
    figures["emotions"] = {
        emotion: {
            "kid": metrics.kernel_distance_unbiased(features[k], real_train[train.classes == k]),
            "kid_floor": metrics.kernel_distance_unbiased(real_test[test.classes == k], real_train[train.classes == k]),
            "diversity": metrics.diversity(features[k]),
            "diversity_real": metrics.diversity(real_test[test.classes == k]),
        }
        for k, emotion in enumerate(emotions)
    }
    return figures


def inception_figures(
    inception: Inception, sampler: FaceSampler, emotions: Sequence[str], test: Faces, train: Faces, truncation: float
) -> dict[str, Any]:
    """Measure FID and KID as everybody reports them: 50,000 faces in the training set's mix against all of it."""
    parts = np.bincount(train.classes, minlength=len(emotions)) / len(train.classes)
    mix = np.ceil(_INCEPTION_FACES * parts).astype(np.int64)
    drawn, _ = draw_faces(sampler, emotions, mix, truncation)
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
    drawn: NDArray[np.uint8], reference: Reference, judge: str, emotions: tuple[str, ...]
) -> dict[str, Any]:
    """Measure people ``[E, people, C, H, W]`` by the judge called ``judge``: ``emotion`` and ``distance``."""
    test, train = reference.faces(emotions)
    real_test, real_train = reference.said(judge, emotions)
    said = [reference.judges[judge].judge(part) for part in drawn]
    features = [part for part, _, _ in said]
    return {
        "emotion": emotion_figures(said, real_test, reference.columns(emotions), test),
        "distance": distance_figures(features, real_test[0], real_train[0], test, train, emotions),
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
    truncation: float = 1.0,
    per_emotion: int = 1000,
    embedder: Embedder | None = None,
    inception: Inception | None = None,
    quick: bool = False,
    device: str = "cpu",
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure weights against real faces; return JSON-able figures.

    Args:
        embedder: tells people apart; without one identity is not measured.
        inception: for FID as others report it; hours without a GPU.
        quick: leave out what takes minutes: GAN-train, and the nearest training faces.

    Raises:
        DataError: data and weights do not go together.
    """
    emotions = reference.emotions(sampler)
    test, train = reference.faces(emotions)
    say(f"drawing {per_emotion:,} faces of each of {len(emotions)} emotions")
    drawn = draw_people(sampler, emotions, per_emotion, truncation)
    steps = [draw_people(sampler, emotions, len(_INTENSITY_SEEDS), truncation, level) for level in INTENSITIES]
    figures: dict[str, Any] = {
        "weights": {"name": sampler.name, "sha256": sampler.sha256, "images_seen": sampler.card.get("images_seen")},
        "protocol": {
            "emotions": emotions,
            "faces_per_emotion": per_emotion,
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
            **face_figures(drawn, reference, name, emotions),
            "intensity": intensity_figures(judge, steps, emotions, reference.columns(emotions)),
        }
    if embedder is not None:
        say(f"identity: {embedder.name}")
        figures["identity"] = identity_figures(embedder, drawn)
    if inception is not None:
        say(f"Inception: {_INCEPTION_FACES:,} faces")
        figures["inception"] = inception_figures(inception, sampler, emotions, test, train, truncation)
    if not quick:
        say("nearest training faces")
        flat_faces = drawn.reshape(-1, *drawn.shape[2:])
        figures["memorisation"] = memorisation(flat_faces, test.images, train.images)
        figures["gan_train"] = gan_train(
            sampler,
            truncation,
            emotions,
            (train.images, train.classes),
            (test.images, test.classes),
            device=device,
            say=say,
        )
    return figures
