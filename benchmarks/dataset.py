"""How fast a data set is written, next to drawing and encoding alone: the ground for ``training.export``.

Run: ``python benchmarks/dataset.py [--faces 2000] [--rounds 3]``. The bare loop draws batches with
``FaceSampler.sample`` and encodes them in as many threads as the sampler takes, with all the text that a face carries,
and keeps nothing. Formats and loop take turns, so that what disturbs one disturbs all. Prints faces/s, the median with
its spread, and the ratio to the bare loop.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from model import EmotionMix, FaceRequest, FaceSampler
from model.encode import encode_face
from model.provenance import describe
from training.export.export import export
from training.export.formats import FORMATS, layout_of
from training.export.plan import make_plan

_BATCH = 64  # faces; larger ones are no faster


def bare(sampler: FaceSampler, requests: Sequence[FaceRequest]) -> float:
    """Draw and encode every request once, and return the seconds it took."""

    def make(start: int) -> int:
        batch = requests[start : start + _BATCH]
        faces = sampler.sample(batch)
        return sum(len(encode_face(face, text=describe(sampler, r))) for r, face in zip(batch, faces, strict=True))

    began = time.perf_counter()
    with ThreadPoolExecutor(sampler.callers) as pool:
        list(pool.map(make, range(0, len(requests), _BATCH)))
    return time.perf_counter() - began


def written(sampler: FaceSampler, faces: int, format: str, folder: Path) -> tuple[int, float]:
    """Write a data set of about so many faces, and return how many they were and the seconds it took."""
    emotions = layout_of(format).emotions(sampler.emotions)
    plan = make_plan(sampler.emotions, per_emotion=-(-faces // len(emotions)), emotions=emotions)
    began = time.perf_counter()
    export(sampler, plan, folder, format=format)
    return plan.faces, time.perf_counter() - began


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--faces", type=int, default=2000, help="in each data set")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    sampler = FaceSampler.load(device=options.device)
    mixes = [EmotionMix.parse(emotion, sampler.emotions) for emotion in sampler.emotions]
    requests = [FaceRequest(mixes[n % len(mixes)], n) for n in range(options.faces)]
    bare(sampler, requests[: 2 * _BATCH])  # the first faces are slower
    rates: dict[str, list[float]] = {name: [] for name in ("bare", *FORMATS)}
    for _ in range(options.rounds):
        rates["bare"].append(len(requests) / bare(sampler, requests))
        for name in FORMATS:
            with tempfile.TemporaryDirectory() as folder:
                count, seconds = written(sampler, options.faces, name, Path(folder) / "set")
            rates[name].append(count / seconds)
    print("| | faces/s, median | min..max | of bare |\n| --- | --- | --- | --- |")
    whole = statistics.median(rates["bare"])
    for name, own in rates.items():
        median = statistics.median(own)
        print(f"| {name} | {median:.0f} | {min(own):.0f}..{max(own):.0f} | {median / whole:.2f} |")


if __name__ == "__main__":
    main()
