"""``python -m training RECIPE --data X.zip --out FOLDER``: trains with torch, numpy, Pillow and safetensors alone.

It is for hosts that lack the packages of the command line and the service; elsewhere ``emoface train`` says more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from training.loop import train
from training.recipe import load_recipe


def main() -> None:
    """Parse the command line, train, and print a line of statistics per tick."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("recipe", help="a recipe that ships, or a .toml file")
    parser.add_argument("--data", type=Path, required=True, help="packed data set")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--start", type=Path, help="pair of networks to begin with")
    parser.add_argument("--minutes", type=float, help="stop in time to be done after so many minutes")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    options = parser.parse_args()
    result = train(
        load_recipe(options.recipe),
        options.data,
        options.out,
        minutes=options.minutes,
        device=options.device,
        start=options.start,
        report=lambda line: print(line, flush=True),
        warn=lambda sentence: print(sentence, flush=True),
    )
    print(f"{result.reason}: {result.cur_nimg:,} images, {result.weights}")


if __name__ == "__main__":
    main()
