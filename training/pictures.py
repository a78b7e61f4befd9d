"""Sheets of faces and curves: what figures alone do not tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Face = NDArray[np.uint8]  # [H, W] or [H, W, C]


def sheet(
    rows: Sequence[Sequence[Face] | NDArray[np.uint8]],
    columns: Sequence[str] = (),
    names: Sequence[str] = (),
    scale: int = 2,
) -> Image.Image:
    """Put equally large faces into one picture: a row each, titles above the columns and left of the rows.

    ``scale`` enlarges each face's sides (Lanczos). A row may be shorter than the first one.
    """
    height, width = rows[0][0].shape[:2]
    grey = rows[0][0].ndim == 2 or rows[0][0].shape[2] == 1
    tall, wide = height * scale, width * scale
    top, left = (tall // 4 if columns else 0), (wide if names else 0)
    picture = Image.new("L" if grey else "RGB", (left + len(rows[0]) * wide, top + len(rows) * tall), "white")
    for y, row in enumerate(rows):
        for x, face in enumerate(row):
            tile = Image.fromarray(face[:, :, 0] if face.ndim == 3 and grey else face)
            picture.paste(tile.resize((wide, tall), Image.Resampling.LANCZOS), (left + x * wide, top + y * tall))
    pen = ImageDraw.Draw(picture)
    for x, title in enumerate(columns):
        _write(pen, title, (left + (x + 0.5) * wide, top / 2), wide, top * 0.7)
    for y, name in enumerate(names):
        _write(pen, name, (left / 2, top + (y + 0.5) * tall), left, tall * 0.18)
    return picture


def _write(pen: ImageDraw.ImageDraw, text: str, middle: tuple[float, float], room: float, size: float) -> None:
    """Write ``text`` around ``middle``, smaller than ``size`` where it would not fit into ``room`` pixels."""
    font = ImageFont.load_default(size)
    length = pen.textlength(text, font=font)
    if length > 0.95 * room:
        font = ImageFont.load_default(max(6.0, size * 0.95 * room / length))
    pen.text(middle, text, fill="black", font=font, anchor="mm")


def curves(path: Path, lines: Sequence[Mapping[str, Any]], scores: Sequence[Mapping[str, Any]] = ()) -> None:
    """Draw a run's ``stats.jsonl`` lines, and the scores of its snapshots where there are, over images seen.

    Each of ``scores`` holds ``images_seen`` and any figures. Axes at the top tell the minutes.
    """
    from matplotlib.figure import Figure  # here, because a run that only trains does without it

    panels = [
        ("losses", ["loss_d", "loss_g"]),
        ("balance: sigmoid of the logits", ["real_is_real", "fake_is_real"]),
        ("emotion head: cross-entropy", ["emotion_real", "emotion_fake"]),
        ("augmentation p, latent error", ["augment_p", "latent_error"]),
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
