"""Train recipes on the same data for the same minutes, and show what comes of them on the way.

    .venv/bin/python benchmarks/recipes.py --data train.zip --test test.zip --minutes 20 dense dcgan hinge fer48

Each recipe is trained in as many slices as there are points; after each slice its newest weights are judged, which does
not count as training. ``--out`` then holds a run for each recipe, in it ``points.jsonl`` (a line for each judged
weights), and ``comparison.json`` (all points) and ``comparison.png`` (against minutes and against images seen); printed
is a table of the last point of each. A run that is there is gone on with, so minutes and points can be added: what is
trained and judged is not trained or judged again, and a run of ``emoface train`` is judged at the snapshots it has.

Protocol: that of ``training/evaluate.py`` with 400 faces of each emotion, by one judge. A slice ends
about 20 seconds early, to have saved everything in time; minutes are those of the weights, and reading the data at the
beginning of each slice is in them. The fraction is of the better of the rates of matrix products and convolutions that
torch reaches on the device, in the recipe's precision, measured just before the table is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from model import FaceSampler
from model.sampler import DEFAULT_TRUNCATION, choose_device
from model.weights import read_weights
from training.curves import comparison
from training.data.atomic import atomic_file
from training.data.packed import load_packed
from training.drawing import draw_labelled, draw_people
from training.evaluate import face_figures, identity_figures
from training.identity import Embedder, load_embedder
from training.judge import Judge, shipped_judges
from training.loop import train
from training.memory import keep_freed_memory
from training.recipe import Recipe, load_recipe
from training.reference import Reference
from training.snapshot import STATE, saved_images
from training.speed import matrix_rates, training_flops

Point = dict[str, Any]

POINTS: Final = "points.jsonl"
TITLES: Final = {
    "emotion_accuracy": "emotion accuracy, balanced",
    "frechet_ratio": "Frechet distance / its floor",
    "coverage": "coverage",
    "identity_auc": "identity: AUC of one seed against others",
}
HEADER = ["recipe", "minutes", "images", "images/s", "of matrix rate", "emotion accuracy", "Frechet / floor"]
HEADER += ["Frechet, extrapolated", "KID x 1000", "coverage"]
_SHORTEST: Final = 0.5  # minutes: less is not worth a start


@dataclass(frozen=True)
class Bench:
    """What weights are judged by."""

    reference: Reference  # with one judge
    protocol: Mapping[str, Any]  # points of another one are other points
    embedder: Embedder | None = None
    device: str = "cpu"

    @classmethod
    def load(cls, test: Path, train: Path, judge: Path, faces: int, identity: bool, device: str) -> Bench:
        """Read real faces and the judge."""
        reference = Reference(load_packed(test), load_packed(train), {"judge": Judge.load(judge, device)})
        protocol = {
            "judge": hashlib.sha256(judge.read_bytes()).hexdigest(),
            "test": reference.test.sha256,
            "train": reference.train.sha256,
            "faces_per_emotion": faces,
            "truncation": DEFAULT_TRUNCATION,
            "distances": "label vectors of training faces, truncation 1",
        }
        return cls(reference, protocol, load_embedder() if identity else None, device)

    def lacks(self, point: Point) -> bool:
        """Tell whether a figure that is asked for is not in ``point``."""
        return "emotion_accuracy" not in point or (self.embedder is not None and "identity_auc" not in point)

    def knows(self, point: Point, out: Path) -> bool:
        """Tell whether ``point`` has all that is asked for, or the weights in ``out`` to measure it by."""
        path = out / point["weights"]
        return not self.lacks(point) or (path.exists() and read_weights(path).sha256 == point["sha256"])

    def measure(self, weights: Path, point: Point) -> Point:
        """Return ``point`` with the figures of ``weights`` that it lacks."""
        sampler = FaceSampler.load(weights, self.device)
        emotions = self.reference.emotions(sampler)
        count = self.protocol["faces_per_emotion"]
        people = draw_people(sampler, emotions, count, self.protocol["truncation"])
        if "emotion_accuracy" not in point:
            train = self.reference.faces(emotions)[1]
            labelled = draw_labelled(sampler, train, self.reference.train.emotions, len(emotions) * count)
            figures = face_figures(people, labelled, self.reference, "judge", emotions)
            told, distance = figures["emotion"], figures["distance"]
            point = point | {
                "emotion_accuracy": told["generated"]["balanced_accuracy"],
                "emotion_interval": told["generated"]["balanced_interval"],
                "coverage": distance["manifold"]["coverage"],
                **{key: value for key, value in distance.items() if key.startswith(("frechet", "kid"))},
                "real": {
                    "emotion_accuracy": told["real"]["balanced_accuracy"],
                    "frechet_ratio": 1.0,
                    "coverage": distance["manifold_floor"]["coverage"],
                },
            }
        if self.embedder is not None and "identity_auc" not in point:
            point = point | {"identity_auc": identity_figures(self.embedder, people)["auc"]}
        return point


def snapshots(out: Path, recipe: Recipe) -> list[tuple[float, Path]]:
    """Return the weights in a run's folder with the minutes that each was trained for, in this order."""
    files = out.glob(f"{recipe.name}-*.safetensors")
    return sorted((float(read_weights(path).card["training_minutes"]), path) for path in files)


def judged(out: Path) -> list[Point]:
    """Return the points of a run, in the order of time."""
    path = out / POINTS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def point_at(target: float, slice_: float, recipe: Recipe, out: Path, bench: Bench) -> Point:
    """Return the point of the run in ``out`` that stands for ``target`` minutes; judge weights if there is none.

    It is the judged one nearest to ``target``, if less than half of ``slice_`` away, else the last weights before it.
    """
    points = judged(out)
    own = [point for point in points if point["protocol"] == bench.protocol]
    near = [point for point in own if abs(point["minutes"] - target) < slice_ / 2 and bench.knows(point, out)]
    if near:
        point = min(near, key=lambda one: abs(one["minutes"] - target))
    else:
        there = snapshots(out, recipe)
        minutes, path = ([pair for pair in there if pair[0] <= target] or there[:1])[-1]
        weights = read_weights(path)
        seen = {"minutes": minutes, "images_seen": weights.card["images_seen"]}
        seen |= {"weights": path.name, "sha256": weights.sha256}
        new = {"recipe": recipe.name, **seen, "protocol": bench.protocol}
        point = next((one for one in own if one["sha256"] == weights.sha256), new)
    if bench.lacks(point):
        points = [one for one in points if one is not point]
        point = bench.measure(out / point["weights"], point)
        with atomic_file(out / POINTS) as file:
            for one in sorted([point, *points], key=lambda one: one["minutes"]):
                file.write(json.dumps(one).encode() + b"\n")
    return point


def run(recipe: Recipe, data: Path, out: Path, minutes: float, points: int, bench: Bench) -> list[Point]:
    """Train a recipe until it has had ``minutes`` in all, or all its images, and judge it at ``points`` times."""
    slice_ = minutes / points
    reached = []
    for target in (slice_ * (k + 1) for k in range(points)):
        there = snapshots(out, recipe)
        left = target - (there[-1][0] if there else 0.0)
        finished = saved_images(out / STATE) >= recipe.schedule.total_kimg * 1000
        if not there or (left > _SHORTEST and not finished):
            result = train(
                recipe,
                data,
                out,
                minutes=max(left, _SHORTEST),
                device=bench.device,
                report=lambda line: print(json.dumps({"recipe": recipe.name} | line), flush=True),
            )
            if result.reason == "signal":
                sys.exit("stopped: what was trained and judged is kept, and the same command goes on from there.")
        reached.append(point_at(target, slice_, recipe, out, bench))
    return list({point["sha256"]: point for point in reached}.values())


def row(recipe: Recipe, point: Point, bench: Bench, rate: float) -> list[str]:
    """Return a line of the table: ``rate`` is what the machine can do, in floating-point operations a second."""
    data = bench.reference.train
    speed = point["images_seen"] / max(60 * point["minutes"], 1)
    flops = training_flops(recipe, data.resolution, data.channels, data.emotions)
    cells = [
        recipe.name,
        f"{point['minutes']:.1f}",
        f"{point['images_seen']:,}",
        f"{speed:.0f}",
        f"{speed * flops / rate:.0%}",
        f"{point['emotion_accuracy']:.3f}",
        f"{point['frechet_ratio']:.1f}",
        f"{point['frechet_infinity']:.3f}",
        f"{1000 * point['kid']:.2f}",
        f"{point['coverage']:.3f}",
    ]
    return cells + [f"{point['identity_auc']:.3f}"] if bench.embedder is not None else cells


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge, draw, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipes", nargs="+", help="names of recipes that ship, or .toml files")
    parser.add_argument("--data", type=Path, required=True, help="packed training faces")
    parser.add_argument("--test", type=Path, required=True, help="packed test faces")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training for each, all sittings together")
    parser.add_argument("--points", type=int, default=4, help="times at which each is judged, evenly over the minutes")
    parser.add_argument("--faces", type=int, default=400, help="of each emotion that are judged")
    parser.add_argument("--judge", type=Path, default=shipped_judges()[0], help="the judge's file")
    parser.add_argument("--identity", action="store_true", help="measure whether a seed stays one person, too")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), help="folder of the runs")
    options = parser.parse_args(arguments)
    if options.points < 1 or options.minutes / options.points < _SHORTEST:
        parser.error(f"give --minutes for at least {_SHORTEST} a point: {_SHORTEST * options.points:g} or more.")
    keep_freed_memory()
    recipes = [load_recipe(name) for name in options.recipes]
    device = choose_device(options.device)
    bench = Bench.load(options.test, options.data, options.judge, options.faces, options.identity, device)
    runs = {
        recipe.name: run(recipe, options.data, options.out / recipe.name, options.minutes, options.points, bench)
        for recipe in recipes
    }
    rates = {
        precision: max(matrix_rates(device, getattr(torch, precision)).values())
        for precision in {recipe.precision for recipe in recipes}
    }
    told = {"device": device, "matrix_rates": rates, "runs": runs}
    with atomic_file(options.out / "comparison.json") as file:
        file.write(json.dumps(told, indent=1).encode())
    titles = {key: title for key, title in TITLES.items() if key != "identity_auc" or options.identity}
    comparison(options.out / "comparison.png", runs, titles, runs[recipes[0].name][-1]["real"])
    rows = [row(recipe, runs[recipe.name][-1], bench, rates[recipe.precision]) for recipe in recipes]
    header = [*HEADER, "identity AUC"] if options.identity else HEADER
    for cells in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
