"""The model card: what the figures of :func:`training.evaluate.evaluate` say, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final, NamedTuple

import numpy as np

from training.evaluate import INTENSITIES


class Aim(NamedTuple):
    """One headline figure: what must hold, and what is aimed for."""

    name: str
    must: float
    aim: float
    more_is_better: bool = True
    percent: bool = False


_AIMS: Final = {
    "emotion": Aim("emotion accuracy, balanced", 0.75, 0.90),
    "lowest": Aim("emotion accuracy of the lowest emotion", 0.50, 0.80),
    "gan_train": Aim("GAN-train accuracy / accuracy when trained on real faces", 0.75, 0.95),
    "frechet": Aim("Frechet distance / its floor", 4.0, 1.5, more_is_better=False),
    "coverage": Aim("coverage", 0.60, 0.85),
    "identity": Aim("one seed across emotions against different seeds, AUC", 0.85, 0.97),
    "memorised": Aim(
        "faces nearer to a training face than the nearest 1 % of honest test faces", 0.02, 0.005, False, True
    ),
}


class Headline(NamedTuple):
    """One line of what the weights must hold."""

    aim: Aim
    values: list[float]  # by each judge, or one
    real: float | None = None  # what real faces give
    intervals: list[list[float]] | None = None  # of each value, 95 %: low and high

    def holds(self) -> bool:
        """Tell whether every value is what it must be."""
        return all(v >= self.aim.must if self.aim.more_is_better else v <= self.aim.must for v in self.values)


def headline(figures: Mapping[str, Any]) -> list[Headline]:
    """Return what the weights must hold, of the figures of :func:`training.evaluate.evaluate`."""
    judges = list(figures["judges"].values())
    drawn = [judge["emotion"]["generated"] for judge in judges]
    real = judges[0]["emotion"]["real"]
    accuracies = [scores["balanced_accuracy"] for scores in drawn]
    lines = [
        Headline(
            _AIMS["emotion"], accuracies, real["balanced_accuracy"], [scores["balanced_interval"] for scores in drawn]
        ),
        Headline(_AIMS["lowest"], [min(scores["recall"]) for scores in drawn], min(real["recall"])),
    ]
    if "gan_train" in figures:
        taught = figures["gan_train"]
        lines.append(Headline(_AIMS["gan_train"], [taught["ratio"]], 1.0, [taught["ratio_interval"]]))
    distances = [judge["distance"] for judge in judges]
    lines.append(Headline(_AIMS["frechet"], [d["frechet_ratio"] for d in distances], 1.0))
    covered = [d["manifold"]["coverage"] for d in distances]
    lines.append(Headline(_AIMS["coverage"], covered, distances[0]["manifold_floor"]["coverage"]))
    if "identity" in figures:
        lines.append(Headline(_AIMS["identity"], [figures["identity"]["auc"]]))
    if "memorisation" in figures:
        lines.append(Headline(_AIMS["memorised"], [figures["memorisation"]["fraction"]], 0.01))
    return lines


def _number(value: float, percent: bool = False) -> str:
    return f"{100 * value:.2f} %" if percent else f"{value:.3g}" if abs(value) >= 10 else f"{value:.3f}"


def _between(interval: Sequence[float]) -> str:
    return f" ({interval[0]:.3f} to {interval[1]:.3f})"


def _accuracies(scores: Mapping[str, Any]) -> list[str]:
    """Return the accuracy and the balanced one of :func:`training.metrics.classification`, with their intervals."""
    kinds = ("accuracy", "interval"), ("balanced_accuracy", "balanced_interval")
    return [f"{scores[key]:.3f}{_between(scores[interval])}" for key, interval in kinds]


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]) + "\n"


def markdown(figures: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """Write the card's text: ``pictures`` maps a picture's title to its file, in the order shown."""
    protocol = figures["protocol"]
    emotions = protocol["emotions"]
    judges = figures["judges"]
    first = next(iter(judges))
    seen = figures["weights"]["images_seen"]
    parts = [
        f"# {figures['weights']['name']}: report\n",
        f"Weights `{figures['weights']['sha256'][:16]}`, {seen or 0:,} images seen. {len(emotions)} emotions x "
        f"{protocol['faces_per_emotion']:,} faces at truncation {protocol['truncation']:g}, against "
        f"{protocol['test']['faces']:,} real test faces and {protocol['train']['faces']:,} training faces.\n",
        "Several values in one cell are those of judges " + ", ".join(f"`{name}`" for name in judges) + ".\n",
    ]
    rows = []
    for line in headline(figures):
        aim, spans = line.aim, line.intervals or []
        told = " / ".join(
            _number(value, aim.percent) + (_between(span) if span else "")
            for value, span in zip_longest(line.values, spans)
        )
        floor = "" if line.real is None else _number(line.real, aim.percent)
        limits = _number(aim.must, aim.percent), _number(aim.aim, aim.percent)
        rows.append([aim.name, told, floor, *limits, "yes" if line.holds() else "**no**"])
    parts.append(_table(["figure", "generated", "real", "must", "aim", "must holds"], rows))
    parts.append(f"\nIntervals in brackets: {protocol['intervals']}.\n")

    parts.append("\n## Emotions\n")
    rows = []
    for k, emotion in enumerate(emotions):
        told = " / ".join(f"{judge['emotion']['generated']['recall'][k]:.2f}" for judge in judges.values())
        floor = " / ".join(f"{judge['emotion']['real']['recall'][k]:.2f}" for judge in judges.values())
        kinds = judges[first]["distance"]["emotions"][emotion]
        rows.append(
            [emotion, told, floor, f"{kinds['kid'] * 1e3:.2f}", f"{kinds['kid_floor'] * 1e3:.2f}"]
            + [f"{kinds['diversity']:.3f}", f"{kinds['diversity_real']:.3f}"]
        )
    header = ["emotion", "accuracy", "real", "KID x 1000", "real", "diversity", "real"]
    parts.append(_table(header, rows))
    parts.append(f"\nWhat judge `{first}` says (columns) of generated faces of each emotion (rows), parts of 1:\n")
    matrix = np.asarray(judges[first]["emotion"]["generated"]["confusion"], float)
    matrix /= matrix.sum(axis=1, keepdims=True)
    rows = [[f"**{name}**", *(f"{value:.2f}" for value in row)] for name, row in zip(emotions, matrix, strict=True)]
    parts.append(_table(["", *emotions], rows))

    parts.append("\n## Distances\n")
    rows = []
    for name, judge in judges.items():
        d = judge["distance"]
        rows.append([f"`{name}`: Frechet distance", _number(d["frechet"]), _number(d["frechet_floor"])])
        rows.append(
            [f"`{name}`: Frechet distance, extrapolated to infinitely many faces"]
            + [_number(d["frechet_infinity"]), _number(d["frechet_infinity_floor"])]
        )
        rows.append([f"`{name}`: KID x 1000", _number(1e3 * d["kid"]), _number(1e3 * d["kid_floor"])])
        for key in ("precision", "recall", "density", "coverage"):
            rows.append([f"`{name}`: {key}", _number(d["manifold"][key]), _number(d["manifold_floor"][key])])
    parts.append(_table(["figure", "generated", "real"], rows))
    d = judges[first]["distance"]
    parts.append(
        f"\n{d['faces']:,} faces in the test set's mix of emotions against {d['reference']:,} training faces; the "
        f"floor is {d['faces']:,} test faces against the same. Manifolds: {d['faces']:,} test faces, k = 5; their "
        "floor is as many training faces. Features: the judge's last layer, each face averaged with its mirror image. "
        "The floor of the Frechet distance falls as 1 / faces, so the ratio to it grows with them; the extrapolated "
        f"distance does not, and its floor is 0 but for noise ({protocol['frechet_infinity']}).\n"
    )
    parts.append("\n## Judges\n")
    rows = []
    for name, judge in judges.items():
        own, given = judge["emotion"]["real"], judge["emotion"].get("fer2013", {}).get("accuracy")
        told = f"{given:.3f}" if given is not None else ""
        rows.append([f"`{name}`", *_accuracies(own), told])
    parts.append(_table(["judge", "real faces, majority of votes", "balanced", "real faces, FER-2013's labels"], rows))
    if "gan_train" in figures:
        parts.append("\n## What generated faces teach\n")
        g = figures["gan_train"]
        rows = []
        for key in ("real", "generated", "both"):
            scores = g[key]
            f1 = [f"{value:.2f}" for value in scores["f1"]]
            rows.append([key, *_accuracies(scores), *f1])
        parts.append(_table(["learned from", "accuracy", "balanced", *(f"F1 {e}" for e in emotions)], rows))
        parts.append(f"\n{g['protocol']}; GAN-test accuracy {g['gan_test']['accuracy']:.3f}.\n")
    for title, rest in (("Inception", "inception"), ("Identity", "identity"), ("Memorisation", "memorisation")):
        if rest in figures:
            parts.append(f"\n## {title}\n")
            rows = [[key, _number(v) if isinstance(v, float) else v] for key, v in figures[rest].items()]
            parts.append(_table(["figure", "value"], rows))
    parts.append("\n## Intensity\n")
    rows = []
    for emotion, response in judges[first]["intensity"].items():
        if emotion != "intensities":
            curve = [f"{value:.2f}" for value in response["curve"]]
            rows.append([emotion, *curve, f"{response['spearman']:.2f}"])
    parts.append(_table(["emotion", *(f"{level:g}" for level in INTENSITIES), "rank correlation"], rows))
    parts.append(f"\nMean probability that judge `{first}` gives the emotion, by intensity.\n")
    for title, file in pictures.items():
        parts.append(f"\n## {title}\n\n![{title}]({file})\n")
    return "\n".join(parts)
