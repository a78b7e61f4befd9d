"""Train recipes on the same data for the same minutes, judge what came of them, and print one table.

    .venv/bin/python benchmarks/recipes.py --data train.zip --test test.zip --minutes 10 dense dcgan fer48

A run that is there is gone on with, so minutes can be added; ``--minutes`` counts all sittings together. Figures are
those of ``emoface evaluate --quick`` with 400 faces of each emotion at truncation 1, by the first judge that ships.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from model import FaceSampler
from training.data.packed import load_packed
from training.evaluate import evaluate
from training.judge import Judge, shipped_judges
from training.loop import train
from training.recipe import Recipe, load_recipe
from training.reference import Reference
from training.snapshot import STATE, saved_images

HEADER = ("recipe", "minutes", "images", "images/s", "emotion accuracy", "Frechet / floor", "KID x 1000", "coverage")


def spent(out: Path) -> float:
    """Return the minutes that the run in ``out`` has trained for."""
    stats = out / "stats.jsonl"
    lines = stats.read_text().splitlines() if stats.exists() else []
    return json.loads(lines[-1])["seconds"] / 60 if lines else 0.0


def row(recipe: Recipe, out: Path, minutes: float, data: Path, reference: Reference) -> list[str]:
    """Train one recipe and judge its newest weights."""
    left = minutes - spent(out)
    if left > 0.5 or not saved_images(out / STATE):
        train(recipe, data, out, minutes=max(left, 0.5), report=lambda line: print(json.dumps(line), flush=True))
    weights = max(out.glob(f"{recipe.name}-*.safetensors"))
    figures = evaluate(FaceSampler.load(weights), reference, truncation=1.0, per_emotion=400, quick=True)
    judged = figures["judges"]["a"]
    seen, took = figures["weights"]["images_seen"], spent(out)
    return [
        recipe.name,
        f"{took:.1f}",
        f"{seen:,}",
        f"{seen / took / 60:.0f}",
        f"{judged['emotion']['generated']['balanced_accuracy']:.3f}",
        f"{judged['distance']['frechet_ratio']:.1f}",
        f"{1000 * judged['distance']['kid']:.2f}",
        f"{judged['distance']['manifold']['coverage']:.3f}",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipes", nargs="+", help="names of recipes that ship, or .toml files")
    parser.add_argument("--data", type=Path, required=True, help="packed training faces")
    parser.add_argument("--test", type=Path, required=True, help="packed test faces")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training for each")
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), help="folder of the runs")
    options = parser.parse_args()
    judge = Judge.load(shipped_judges()[0])
    reference = Reference(load_packed(options.test), load_packed(options.data), {"a": judge})
    rows = []
    for name in options.recipes:
        recipe = load_recipe(name)
        rows.append(row(recipe, options.out / recipe.name, options.minutes, options.data, reference))
    for cells in (HEADER, ["---"] * len(HEADER), *rows):
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
