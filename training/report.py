"""The report on a weight file: ``report.json`` with all figures, ``report.md`` with the main ones, and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from model.emotions import EmotionMix
from model.sampler import FaceRequest, FaceSampler
from model.sheet import sheet
from training.curves import curves
from training.data.atomic import atomic_file
from training.drawing import draw_people
from training.evaluate import INTENSITIES
from training.headline import details, emotions_table, figures_table, headline, protocol_text
from training.neighbours import nearest_training_faces
from training.reference import Faces

_PEOPLE: Final = range(8)
_WALL: Final = 48  # neutral faces, seeds 0 and up
_WALL_COLUMNS: Final = 8


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
    if "neutral" in emotions:
        wall = rows([[face("neutral", s) for s in range(r, r + _WALL_COLUMNS)] for r in range(0, _WALL, _WALL_COLUMNS)])
        keep(f"Seeds 0 to {_WALL - 1}, neutral", "wall.png", sheet(wall))
    felt = [emotion for emotion in emotions if emotion != "neutral"]
    steps = [*INTENSITIES, 1.25, 1.5]
    if "neutral" in emotions:
        strip = rows([[face(emotion, 2, level) for level in steps] for emotion in felt])
        keep("Intensity", "intensity.png", sheet(strip, [f"{level:g}" for level in steps], felt))
    half = [[face({a: 0.5, b: 0.5} if a != b else a, 2) for b in felt] for a in felt]
    keep("Mixes of two emotions", "mixes.png", sheet(rows(half), felt, felt))
    keep("From one person to the next", "interpolation.png", sheet(_interpolation(sampler, emotions, truncation)))
    if train is not None:
        people = draw_people(sampler, emotions, 4, 1.0)  # the truncation at which near-copies are counted
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


def _interpolation(sampler: FaceSampler, emotions: Sequence[str], truncation: float, steps: int = 9) -> list[list[Any]]:
    """Walk from seed 0 to 1, 1 to 2 ... on the arc between their latents, where normal latents lie (White 2016)."""
    psi = np.full(steps, truncation, np.float32)
    rows = []
    for seed, emotion in zip(_PEOPLE, emotions, strict=False):
        a, b = (sampler.latent(s) for s in (seed, seed + 1))
        arc = float(np.arccos(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1)))
        way = np.linspace(0, 1, steps)[:, None]
        latents = (np.sin((1 - way) * arc) * a + np.sin(way * arc) * b) / np.sin(arc)
        mix = np.asarray(EmotionMix.parse(emotion, sampler.emotions).vector(sampler.emotions, 1.0), np.float32)
        rows.append(list(sampler.draw(latents.astype(np.float32), np.tile(mix, (steps, 1)), psi)))
    return rows


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _add_scores(path: Path, figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Add the headline figures, by the first judge, to a file of lines, one a snapshot; return them all."""
    seen = figures["weights"]["images_seen"]
    scores = [line for line in _lines(path) if line["images_seen"] != seen]
    scores.append({"images_seen": seen, **{line.name: line.generated[0] for line in headline(figures)}})
    scores.sort(key=lambda line: line["images_seen"])
    with atomic_file(path) as file:
        file.write("".join(json.dumps(line) + "\n" for line in scores).encode())
    return scores


def report_text(figures: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """Return the report's Markdown: ``pictures`` maps a picture's title to its file, in the order shown."""
    weights = figures["weights"]
    return "\n".join(
        [
            f"# {weights['name']}: report\n",
            f"Weights `{weights['sha256'][:16]}`, {weights['images_seen'] or 0:,} images seen. Every figure, with "
            "intervals, confusions and intensity curves, is in [`report.json`](report.json).\n",
            figures_table(headline(figures)),
            protocol_text(figures),
            figures_table(details(figures)),
            emotions_table(figures),
            *(f"## {title}\n\n![{title}]({file})\n" for title, file in pictures.items()),
        ]
    )


def write_report(
    figures: dict[str, Any],
    sampler: FaceSampler,
    out: Path,
    *,
    train: Faces | None = None,
    run: Path | None = None,
) -> Path:
    """Write ``report.json``, ``report.md`` and the pictures into the folder ``out``; return the path of ``report.md``.

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
        ("report.md", report_text(figures, pictures)),
    ):
        with atomic_file(out / name) as file:
            file.write(content.encode())
    return out / "report.md"
