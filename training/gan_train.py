"""What generated faces teach: the GAN-train and GAN-test protocol (Shmelkov et al. 2018, section 3).

One small classifier, always trained in the same way, learns from real faces, from as many generated ones of the same
classes, and from the real ones with generated ones where a class has few. Its accuracy on real test faces, which no
training has seen, tells what the faces it learned from are worth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.sampler import FaceSampler
from training.drawing import FIRST_SEED, draw_faces
from training.judge import Judge, JudgeConfig
from training.judge_training import train_judge
from training.metrics import bootstrap_interval, classification


def gan_train(
    sampler: FaceSampler,
    truncations: Sequence[float],
    emotions: Sequence[str],
    real: tuple[NDArray[np.uint8], NDArray[np.int64]],
    test: tuple[NDArray[np.uint8], NDArray[np.int64]],
    *,
    fill_to: int = 4000,
    epochs: float = 8.0,
    device: str = "cpu",
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Train the classifier on real faces, on generated ones of each truncation, and on both; test each on real faces.

    Args:
        truncations: of the generated faces; each costs one training.
        real: training faces uint8 ``[N, C, H, W]`` and their classes ``[N]``, indices into ``emotions``.
        test: the same of faces that no training has seen.
        fill_to: the last training gets generated faces, of the best truncation, until every emotion has so many.
        epochs: of every training, counted in ``real``'s size: the last one takes no more steps than the others.

    Returns:
        ``real`` and ``both``: the scores of :func:`training.metrics.classification` on ``test``; ``generated``: a list,
        for each truncation the same scores with ``truncation``, ``ratio`` (its accuracy / that of ``real``),
        ``ratio_interval`` and ``gan_test``, the scores of the classifier that learned from real faces, on these
        generated ones; ``best``: the one of ``generated`` with the highest ratio; ``faces``: how many of each emotion
        were generated; ``protocol``: in words.
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

    teacher, from_real = learn("real", images, classes)
    generated = []
    for truncation in truncations:
        drawn, asked = draw_faces(sampler, emotions, counts, truncation)
        _, from_drawn = learn(f"generated at truncation {truncation:g}", drawn, asked)
        # Both classifiers are tested on the same faces, so these are resampled in pairs: what is hard for both cancels.
        hits = np.stack([from_drawn == test[1], from_real == test[1]], axis=1)
        generated.append(
            {
                "truncation": truncation,
                **classification(test[1], from_drawn, len(emotions)),
                "ratio": _ratio(hits),
                "ratio_interval": list(bootstrap_interval(hits, _ratio)),
                "gan_test": classification(asked, teacher.judge(drawn)[1].argmax(1), len(emotions)),
            }
        )
    best = max(generated, key=lambda scores: scores["ratio"])
    more = np.maximum(fill_to - counts, 0)
    extra, extra_asked = draw_faces(sampler, emotions, more, best["truncation"], FIRST_SEED + len(images))
    together = np.concatenate([images, extra]), np.concatenate([classes, extra_asked])
    _, from_both = learn("real and generated", *together)
    return {
        "real": classification(test[1], from_real, len(emotions)),
        "generated": generated,
        "best": best,
        "both": classification(test[1], from_both, len(emotions)),
        "faces": {"generated": counts.tolist(), "added": more.tolist()},
        "protocol": f"{config.widths} residual classifier, {epochs:g} epochs of {len(images):,} faces, each once; "
        "intervals: 95 %, percentile bootstrap of the faces judged, 1,000 rounds; another training differs besides",
    }


def _ratio(hits: NDArray[np.bool_]) -> float:
    """Accuracy of the first column of ``hits`` ``[N, 2]`` / accuracy of the second; NaN if that is 0."""
    first, second = hits.sum(axis=0)
    return float(first / second) if second else float("nan")
