"""What generated faces teach: the GAN-train and GAN-test protocol (Shmelkov et al. 2018, section 3).

One small classifier, always trained in the same way, learns from real faces, from as many generated ones of the same
classes, and from the real ones with generated ones where a class has few; what it then knows of real test faces it has
never seen is what the training faces were worth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.emotions import EmotionMix
from model.sampler import FaceRequest, FaceSampler
from training.judge import Judge, JudgeConfig
from training.judge_training import train_judge
from training.metrics import bootstrap_interval, classification

FIRST_SEED: Final = 1_000_000  # of the faces that teach, so that no face is both taught and judged


def draw_faces(
    sampler: FaceSampler,
    emotions: Sequence[str],
    counts: Sequence[int] | NDArray[np.int64],
    truncation: float,
    first_seed: int = FIRST_SEED,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw ``counts[k]`` faces of ``emotions[k]``, each of a seed of its own.

    Returns:
        uint8 ``[N, C, H, W]`` in the order of the emotions, and the index of each one's emotion, int64 ``[N]``.
    """
    asked = np.repeat(np.arange(len(emotions)), counts)
    mixes = [EmotionMix.parse(emotion, sampler.emotions) for emotion in emotions]
    requests = [FaceRequest(mixes[k], first_seed + n, 1.0, truncation) for n, k in enumerate(asked)]
    return sampler.sample(requests).transpose(0, 3, 1, 2), asked


def gan_train(
    sampler: FaceSampler,
    truncation: float,
    emotions: Sequence[str],
    real: tuple[NDArray[np.uint8], NDArray[np.int64]],
    test: tuple[NDArray[np.uint8], NDArray[np.int64]],
    *,
    fill_to: int = 4000,
    epochs: float = 8.0,
    device: str = "cpu",
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Train the classifier three times and test each on the same real faces.

    Args:
        real: training faces uint8 ``[N, C, H, W]`` and their classes ``[N]``, indices into ``emotions``.
        test: the same of faces that no training has seen.
        fill_to: the third training gets generated faces until every emotion has so many.
        epochs: of every training, counted in ``real``'s size: the third one takes no more steps than the others.

    Returns:
        ``real``, ``generated`` and ``both``: each the scores of :func:`training.metrics.classification` on ``test``;
        ``ratio``: accuracy of ``generated`` / accuracy of ``real``, and its ``ratio_interval``; ``gan_test``: scores of
        the classifier that learned from real faces, on the generated ones; ``faces``: how many of each emotion were
        generated; ``protocol``: in words.
    """
    images, classes = real
    counts = np.bincount(classes, minlength=len(emotions)).astype(np.int64)
    config = JudgeConfig(
        tuple(emotions), images.shape[-1], images.shape[1], (32, 64, 128), depth=1, epochs=epochs, balance=0.0
    )

    def learn(name: str, faces: NDArray[np.uint8], labels: NDArray[np.int64]) -> tuple[Judge, NDArray[np.int64]]:
        say(f"GAN-train: learning from {len(faces):,} faces, {name}")
        one_hot = np.eye(len(emotions), dtype=np.float32)[labels]
        same_steps = replace(config, epochs=epochs * len(images) / len(faces))
        judge = train_judge(faces, one_hot, None, same_steps, device=device)
        return judge, judge.judge(test[0])[1].argmax(1)

    drawn, asked = draw_faces(sampler, emotions, counts, truncation)
    teacher, from_real = learn("real", images, classes)
    _, from_drawn = learn("generated", drawn, asked)
    of_drawn = teacher.judge(drawn)[1].argmax(1)
    more = np.maximum(fill_to - counts, 0)
    extra, extra_asked = draw_faces(sampler, emotions, more, truncation, FIRST_SEED + len(drawn))
    together = np.concatenate([images, extra]), np.concatenate([classes, extra_asked])
    _, from_both = learn("real and generated", *together)
    said = {"real": from_real, "generated": from_drawn, "both": from_both}
    # Both classifiers are tested on the same faces, so these are drawn in pairs: what is hard for both cancels out.
    hits = np.stack([from_drawn == test[1], from_real == test[1]], axis=1)
    return {
        **{name: classification(test[1], answers, len(emotions)) for name, answers in said.items()},
        "ratio": _ratio(hits),
        "ratio_interval": list(bootstrap_interval(hits, _ratio)),
        "gan_test": classification(asked, of_drawn, len(emotions)),
        "faces": {"generated": counts.tolist(), "added": more.tolist()},
        "protocol": f"{config.widths} residual classifier, {epochs:g} epochs of {len(images):,} faces, each once; "
        "intervals: 95 %, percentile bootstrap of the faces judged, 1,000 rounds; another training differs besides",
    }


def _ratio(hits: NDArray[np.bool_]) -> float:
    """Accuracy of the first column of ``hits`` ``[N, 2]`` / accuracy of the second; NaN if that is 0."""
    first, second = hits.sum(axis=0)
    return float(first / second) if second else float("nan")
