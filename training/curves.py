"""Curves: what single figures do not tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def curves(path: Path, lines: Sequence[Mapping[str, Any]], scores: Sequence[Mapping[str, Any]] = ()) -> None:
    """Draw a run's ``stats.jsonl`` lines, and the scores of its snapshots where there are, over images seen.

    Each of ``scores`` holds ``images_seen`` and any figures. Axes at the top tell the minutes.
    """
    from matplotlib.figure import Figure  # here, because a run that only trains does without it

    panels = [
        ("losses", ["loss_d", "loss_g"]),
        ("balance: sigmoid of the logits", ["real_is_real", "fake_is_real"]),
        ("emotion head: cross-entropy", ["emotion_real", "emotion_fake"]),
        ("augmentation p", ["augment_p"]),
    ]
    panels = [(title, [key for key in keys if any(key in line for line in lines)]) for title, keys in panels]
    panels = [(title, keys) for title, keys in panels if keys]
    shown = sorted({key for score in scores for key in score} - {"images_seen"})
    figure = Figure(figsize=(10, 2.6 * (len(panels) + len(shown)) / 2 + 1), layout="constrained")
    axes = list(figure.subplots(-(-(len(panels) + len(shown)) // 2), 2, squeeze=False).flat)
    seen = [line["cur_nimg"] / 1000 for line in lines]
    for axis, (title, keys) in zip(axes, panels, strict=False):
        for key in keys:
            points = [(x, line[key]) for x, line in zip(seen, lines, strict=True) if key in line]
            axis.plot(*zip(*points, strict=True), label=key, linewidth=1)
        _name(axis, title, "thousand images seen")
        axis.legend(fontsize=7)
        if len(lines) > 1:
            minutes = np.array([line["seconds"] / 60 for line in lines])
            top = axis.secondary_xaxis(
                "top",
                functions=(
                    lambda x, m=minutes: np.interp(x, seen, m),
                    lambda m, t=minutes: np.interp(m, t, seen),
                ),
            )
            top.tick_params(labelsize=6)
            top.set_xlabel("minutes", fontsize=6)
    for axis, key in zip(axes[len(panels) :], shown, strict=False):
        points = sorted((score["images_seen"] / 1000, score[key]) for score in scores if key in score)
        axis.plot(*zip(*points, strict=True), marker="o", markersize=3)
        _name(axis, key, "thousand images seen")
    for axis in axes[len(panels) + len(shown) :]:
        axis.remove()
    figure.savefig(path, dpi=100)


def comparison(
    path: Path, runs: Mapping[str, Sequence[Mapping[str, float]]], titles: Mapping[str, str], real: Mapping[str, float]
) -> None:
    """Draw how ``runs`` grow, by name: each figure in ``titles`` over minutes (upper row) and images seen (lower row).

    A run's points hold ``minutes``, ``images_seen`` and the figures, in the order of time; a point may lack a figure.
    ``real`` is what real faces give, a dashed line.
    """
    from matplotlib.figure import Figure  # here, because a run that only trains does without it

    figure = Figure(figsize=(4.2 * len(titles), 7), layout="constrained")
    axes = figure.subplots(2, len(titles), sharey="col", squeeze=False)
    for row, (along, label, scale) in zip(
        axes, (("minutes", "minutes of training", 1), ("images_seen", "thousand images seen", 1000)), strict=True
    ):
        for axis, (key, title) in zip(row, titles.items(), strict=True):
            for name, points in runs.items():
                known = [point for point in points if key in point]
                x, y = [point[along] / scale for point in known], [point[key] for point in known]
                axis.plot(x, y, marker="o", markersize=3, linewidth=1, label=name)
            if key in real:
                axis.axhline(real[key], color="grey", linestyle="--", linewidth=1, label="real faces")
            _name(axis, title, label)
    axes[0, 0].legend(fontsize=7)
    figure.savefig(path, dpi=100)


def _name(axis: Any, title: str, along: str) -> None:
    axis.set_title(title, fontsize=9)
    axis.set_xlabel(along, fontsize=7)
    axis.tick_params(labelsize=7)
