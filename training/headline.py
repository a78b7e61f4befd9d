"""The figures that a report and a model card show, beside their floors and what must hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    generated: list[float]  # one value, or one by each judge
    real: list[float] = field(default_factory=list)  # what real faces give under the same protocol, if that is known
    must: float | None = None
    aim: float | None = None
    more_is_better: bool = True
    percent: bool = False

    def holds(self) -> bool:
        """Tell whether every value is what it must be."""
        if self.must is None:
            return True
        return all(value >= self.must if self.more_is_better else value <= self.must for value in self.generated)


#: Names of the figures that a run's curves show, and others look up.
ACCURACY: Final = "emotion accuracy, balanced"
COVERAGE: Final = "coverage"


def headline(figures: Mapping[str, Any]) -> list[Figure]:
    """Return what the weights must hold, of the figures of :func:`training.evaluate.evaluate`."""
    judges = list(figures["judges"].values())
    drawn, real = ([judge["emotion"][kind] for judge in judges] for kind in ("generated", "real"))
    distances = [judge["distance"] for judge in judges]
    balanced = [[scores["balanced_accuracy"] for scores in part] for part in (drawn, real)]
    lowest = [[min(scores["recall"]) for scores in part] for part in (drawn, real)]
    covered = [[d[key]["coverage"] for d in distances] for key in ("manifold", "manifold_floor")]
    far = [d["frechet_ratio"] for d in distances]
    lines = [
        Figure(ACCURACY, balanced[0], balanced[1], 0.85, 0.92),
        Figure("accuracy of the lowest emotion", lowest[0], lowest[1], 0.6, 0.8),
        Figure("Frechet distance / its floor", far, [1.0], 3.5, 1.8, more_is_better=False),
        Figure(COVERAGE, covered[0], covered[1], 0.92, 0.95),
    ]
    if "gan_train" in figures:
        best = figures["gan_train"]["best"]
        name = f"GAN-train accuracy / accuracy when trained on real faces (truncation {best['truncation']:g})"
        lines.append(Figure(name, [best["ratio"]], [1.0], 0.9, 0.97))
    if "identity" in figures:
        lines.append(Figure("one seed across emotions, AUC", [figures["identity"]["auc"]], [], 0.89, 0.95))
    if "memorisation" in figures:
        copies = figures["memorisation"]["fraction"]
        lines.append(
            Figure("near-copies of training faces", [copies], [0.01], 0.005, 0.001, more_is_better=False, percent=True)
        )
    if "detection" in figures:
        found = figures["detection"]
        lines.append(Figure("a detector finds a face, generated / real", [found["ratio"]], [1.0], 1.0, 1.15))
    return lines


def details(figures: Mapping[str, Any]) -> list[Figure]:
    """Return the figures that explain the headline ones, with no limit of their own."""
    judges = list(figures["judges"].values())
    distances = [judge["distance"] for judge in judges]
    lines = [
        Figure("Frechet distance", [d["frechet"] for d in distances], [d["frechet_floor"] for d in distances]),
        Figure("KID x 1000", [1e3 * d["kid"] for d in distances], [1e3 * d["kid_floor"] for d in distances]),
    ]
    for key in ("precision", "recall", "density"):
        values = [[d[kind][key] for d in distances] for kind in ("manifold", "manifold_floor")]
        lines.append(Figure(key, values[0], values[1]))
    if "inception" in figures:
        far = figures["inception"]
        lines.append(Figure("FID (Inception, 50,000 faces)", [far["frechet"]], [far["frechet_floor"]]))
        lines.append(Figure("KID x 1000 (Inception)", [1e3 * far["kid"]], [1e3 * far["kid_floor"]]))
    if "gan_train" in figures:
        taught = figures["gan_train"]
        real = [taught["real"]["accuracy"]]
        for scores in taught["generated"]:
            lines.append(Figure(f"GAN-train accuracy, truncation {scores['truncation']:g}", [scores["accuracy"]], real))
        for key in ("accuracy", "balanced_accuracy"):
            name = f"{key.replace('_', ' ')} when rare emotions are filled up with generated faces"
            lines.append(Figure(name, [taught["both"][key]], [taught["real"][key]]))
    if "detection" in figures:
        lines.append(
            Figure("a detector finds a face", [figures["detection"]["generated"]], [figures["detection"]["real"]])
        )
    responses = [
        min(response["spearman"] for emotion, response in judge["intensity"].items() if emotion != "intensities")
        for judge in judges
    ]
    lines.append(Figure("rank correlation of intensity and emotion, lowest emotion", responses))
    return lines


def number(value: float, percent: bool = False) -> str:
    """Write a figure with three digits or so."""
    return f"{100 * value:.2f} %" if percent else f"{value:.3g}" if abs(value) >= 10 else f"{value:.3f}"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write a table in Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]) + "\n"


def figures_table(lines: Sequence[Figure]) -> str:
    """Write figures beside their floors, and beside their limits where any of them has one."""
    limited = any(line.must is not None for line in lines)
    rows = []
    for line in lines:
        cells = [" / ".join(number(value, line.percent) for value in part) for part in (line.generated, line.real)]
        if limited:
            cells += ["" if value is None else number(value, line.percent) for value in (line.must, line.aim)]
            cells.append("yes" if line.holds() else "**no**")
        rows.append([line.name, *cells])
    return table(["figure", "generated", "real faces", *(["must", "aim", "holds"] if limited else [])], rows)


def emotions_table(figures: Mapping[str, Any]) -> str:
    """Write accuracy, detected faces and diversity by emotion, each beside that of real faces."""
    judges = list(figures["judges"].values())
    header = ["emotion", "accuracy", "real faces"]
    detected = figures.get("detection")
    header += (["face detected", "real faces"] if detected else []) + ["diversity / real"]
    rows = []
    for k, emotion in enumerate(figures["protocol"]["emotions"]):
        cells = [
            " / ".join(f"{judge['emotion'][kind]['recall'][k]:.2f}" for judge in judges)
            for kind in ("generated", "real")
        ]
        if detected:
            cells += [f"{detected[f'{kind}_by_emotion'][k]:.2f}" for kind in ("generated", "real")]
        cells.append(" / ".join(f"{diversity(judge, emotion):.2f}" for judge in judges))
        rows.append([emotion, *cells])
    return table(header, rows)


def diversity(judge: Mapping[str, Any], emotion: str) -> float:
    """Return how much generated faces of an emotion vary in a judge's features, in parts of what real ones do."""
    figures = judge["distance"]["emotions"][emotion]
    return float(figures["diversity"] / figures["diversity_real"]) if figures["diversity_real"] else float("nan")


def protocol_text(figures: Mapping[str, Any]) -> str:
    """Say in a paragraph how the figures were measured."""
    protocol, judges = figures["protocol"], figures["judges"]
    distance = next(iter(judges.values()))["distance"]
    parts = [
        f"Accuracy, identity, detector, intensity: seeds 0 to {protocol['faces_per_emotion'] - 1:,} in each of "
        f"{len(protocol['emotions'])} emotions at truncation {protocol['truncation']:g}, beside "
        f"{protocol['test']['faces']:,} real test faces. Distances and near-copies: {protocol['labelled_faces']:,} "
        f"faces at truncation 1 with label vectors of training faces, against {protocol['train']['faces']:,} training "
        f"faces; distances take {distance['faces']:,} of them, and their floors as many real test faces.",
    ]
    if len(judges) > 1:
        parts.append(
            f"Two values are those of the judges {' / '.join(f'`{name}`' for name in judges)}, classifiers of emotions "
            "that trained no generator."
        )
    if "memorisation" in figures:
        parts.append(
            "A near-copy is nearer to a training face than the nearest 1 % of the test faces that are no near-copies "
            "themselves."
        )
    if "detection" in figures:
        parts.append(f"Detector: {figures['detection']['detector']}; the mean over emotions.")
    if "identity" in figures:
        parts.append(f"Identity: {figures['identity']['embedding']}.")
    return " ".join(parts) + "\n"
