"""The report on a weight file: ``report.json``, a model card in Markdown, and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from model.emotions import EmotionMix
from model.sampler import FaceRequest, FaceSampler, latent
from training.data.atomic import atomic_file
from training.evaluate import INTENSITIES, Faces, draw_people
from training.neighbours import nearest_training_faces
from training.pictures import curves, sheet

_PEOPLE: Final = range(8)


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


def headline(figures: Mapping[str, Any]) -> list[tuple[Aim, list[float], float | None]]:
    """Return what the weights must hold: (aim, value by each judge or one value, what real faces give)."""
    judges = list(figures["judges"].values())
    rows: list[tuple[Aim, list[float], float | None]] = []

    def add(key: str, values: Sequence[float], real: float | None) -> None:
        rows.append((_AIMS[key], list(values), real))

    add(
        "emotion",
        [judge["emotion"]["generated"]["balanced_accuracy"] for judge in judges],
        judges[0]["emotion"]["real"]["balanced_accuracy"],
    )
    add(
        "lowest",
        [min(judge["emotion"]["generated"]["recall"]) for judge in judges],
        min(judges[0]["emotion"]["real"]["recall"]),
    )
    if "gan_train" in figures:
        add("gan_train", [figures["gan_train"]["ratio"]], 1.0)
    add("frechet", [judge["distance"]["frechet_ratio"] for judge in judges], 1.0)
    add(
        "coverage",
        [judge["distance"]["manifold"]["coverage"] for judge in judges],
        judges[0]["distance"]["manifold_floor"]["coverage"],
    )
    if "identity" in figures:
        add("identity", [figures["identity"]["auc"]], None)
    if "memorisation" in figures:
        add("memorised", [figures["memorisation"]["fraction"]], 0.01)
    return rows


def _number(value: float, percent: bool = False) -> str:
    return f"{100 * value:.2f} %" if percent else f"{value:.3g}" if abs(value) >= 10 else f"{value:.3f}"


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
    for aim, values, real in headline(figures):
        holds = all(value >= aim.must if aim.more_is_better else value <= aim.must for value in values)
        told = " / ".join(_number(value, aim.percent) for value in values)
        floor = "" if real is None else _number(real, aim.percent)
        limits = _number(aim.must, aim.percent), _number(aim.aim, aim.percent)
        rows.append([aim.name, told, floor, *limits, "yes" if holds else "**no**"])
    parts.append(_table(["figure", "generated", "real", "must", "aim", "must holds"], rows))

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
        rows.append([f"`{name}`: KID x 1000", _number(1e3 * d["kid"]), _number(1e3 * d["kid_floor"])])
        for key in ("precision", "recall", "density", "coverage"):
            rows.append([f"`{name}`: {key}", _number(d["manifold"][key]), _number(d["manifold_floor"][key])])
    parts.append(_table(["figure", "generated", "real"], rows))
    d = judges[first]["distance"]
    parts.append(
        f"\n{d['faces']:,} faces in the test set's mix of emotions against {d['reference']:,} training faces; the "
        f"floor is {d['faces']:,} test faces against the same. Manifolds: {d['faces']:,} test faces, k = 5; their "
        "floor is as many training faces. Features: the judge's last layer, each face averaged with its mirror image.\n"
    )
    parts.append("\n## Judges\n")
    rows = []
    for name, judge in judges.items():
        own, given = judge["emotion"]["real"], judge["emotion"].get("fer2013", {}).get("accuracy")
        told = f"{given:.3f}" if given is not None else ""
        rows.append([f"`{name}`", f"{own['accuracy']:.3f}", f"{own['balanced_accuracy']:.3f}", told])
    parts.append(_table(["judge", "real faces, majority of votes", "balanced", "real faces, FER-2013's labels"], rows))
    if "gan_train" in figures:
        parts.append("\n## What generated faces teach\n")
        g = figures["gan_train"]
        rows = []
        for key in ("real", "generated", "both"):
            scores = g[key]
            f1 = [f"{value:.2f}" for value in scores["f1"]]
            rows.append([key, f"{scores['accuracy']:.3f}", f"{scores['balanced_accuracy']:.3f}", *f1])
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


def draw_pictures(
    sampler: FaceSampler, emotions: Sequence[str], truncation: float, train: Faces | None, out: Path
) -> dict[str, str]:
    """Draw the report's pictures into ``out``; return their titles and file names."""
    shown: dict[str, str] = {}

    def keep(title: str, name: str, picture: Any) -> None:
        picture.save(out / name)
        shown[title] = name

    def face(mix: Any, seed: int, intensity: float = 1.0, psi: float = truncation) -> FaceRequest:
        return FaceRequest(EmotionMix.parse(mix, sampler.emotions), seed, intensity, psi)

    def rows(requests: Sequence[Sequence[FaceRequest]]) -> list[list[Any]]:
        return [list(sampler.sample(row)) for row in requests]

    names = [f"seed {seed}" for seed in _PEOPLE]
    keep(
        "People and emotions",
        "grid.png",
        sheet(rows([[face(e, s) for e in emotions] for s in _PEOPLE]), emotions, names),
    )
    felt = [emotion for emotion in emotions if emotion != "neutral"]
    steps = [*INTENSITIES, 1.25, 1.5]
    if "neutral" in emotions:
        strip = rows([[face(emotion, 2, level) for level in steps] for emotion in felt])
        keep("Intensity", "intensity.png", sheet(strip, [f"{level:g}" for level in steps], felt))
    half = [[face({a: 0.5, b: 0.5} if a != b else a, 2) for b in felt] for a in felt]
    keep("Mixes of two emotions", "mixes.png", sheet(rows(half), felt, felt))
    keep("From one person to the next", "interpolation.png", sheet(_interpolation(sampler, emotions)))
    if train is not None:
        people = draw_people(sampler, emotions, 4, truncation)
        flat = people.reshape(-1, *people.shape[2:])
        index, _ = nearest_training_faces(flat, train.images)
        pairs = [
            [part.transpose(1, 2, 0) for k in range(4) for part in (people[e, k], train.images[index[4 * e + k]])]
            for e in range(len(emotions))
        ]
        keep(
            "Generated faces and their nearest training faces",
            "neighbours.png",
            sheet(pairs, ["drawn", "nearest"] * 4, emotions),
        )
    return shown


def _interpolation(sampler: FaceSampler, emotions: Sequence[str], steps: int = 9) -> list[list[Any]]:
    """Walk from seed 0 to 1, 1 to 2 ... on the arc between their latents, where normal latents lie (White 2016)."""
    rows = []
    for seed, emotion in zip(_PEOPLE, emotions, strict=False):
        a, b = (latent(s, sampler.config.latent_dim) for s in (seed, seed + 1))
        arc = float(np.arccos(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1)))
        way = np.linspace(0, 1, steps)[:, None]
        latents = (np.sin((1 - way) * arc) * a + np.sin(way * arc) * b) / np.sin(arc)
        mix = EmotionMix.parse(emotion, sampler.emotions).vector(sampler.emotions, 1.0)
        rows.append(list(sampler.draw(latents.astype(np.float32), np.tile(np.asarray(mix, np.float32), (steps, 1)))))
    return rows


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _add_scores(path: Path, figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Add the headline figures, by the first judge, to a file of lines, one a snapshot; return them all."""
    seen = figures["weights"]["images_seen"]
    scores = [line for line in _lines(path) if line["images_seen"] != seen]
    scores.append({"images_seen": seen, **{aim.name: values[0] for aim, values, _ in headline(figures)}})
    scores.sort(key=lambda line: line["images_seen"])
    with atomic_file(path) as file:
        file.write("".join(json.dumps(line) + "\n" for line in scores).encode())
    return scores


def write_report(
    figures: dict[str, Any],
    sampler: FaceSampler,
    out: Path,
    *,
    train: Faces | None = None,
    run: Path | None = None,
) -> Path:
    """Write ``report.json``, ``report.md`` and the pictures into the folder ``out``; return the card.

    Args:
        train: real faces, for the picture of nearest neighbours; it shows training faces, so mind where it goes.
        run: folder of the run that made the weights, for the curves. The headline figures are added to its
            ``scores.jsonl``, so that judging one snapshot after the other shows how they grew.
    """
    out.mkdir(parents=True, exist_ok=True)
    protocol = figures["protocol"]
    pictures = draw_pictures(sampler, protocol["emotions"], protocol["truncation"], train, out)
    if run is not None:
        curves(out / "curves.png", _lines(run / "stats.jsonl"), _add_scores(run / "scores.jsonl", figures))
        pictures["The run"] = "curves.png"
    for name, content in (
        ("report.json", json.dumps(figures, indent=1, sort_keys=True)),
        ("report.md", markdown(figures, pictures)),
    ):
        with atomic_file(out / name) as file:
            file.write(content.encode())
    return out / "report.md"
