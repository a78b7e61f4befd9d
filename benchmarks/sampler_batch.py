"""Faces a second and time for a lone face, by the sampler's fixed batch shape: the ground for ``model.sampler._BATCH``.

Run: ``python benchmarks/sampler_batch.py [WEIGHTS] [--device cpu] [--rounds 7]``. Prints medians with their spread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from model import EmotionMix, FaceRequest, FaceSampler


def timed(work: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of each of ``rounds`` calls, after one that does not count."""
    work()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", nargs="?", default=None)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{'batch':>5} {'faces/s, median':>16} {'min..max':>16} {'lone face, ms':>14} {'min..max':>14}")
    for batch in (1, 2, 4, 8, 16, 32, 64):
        sampler = FaceSampler.load(args.weights, args.device, batch_size=batch)
        happy = EmotionMix.parse("happy", sampler.emotions)
        many = [FaceRequest(happy, seed) for seed in range(256)]
        rates = [len(many) / s for s in timed(lambda s=sampler, m=many: s.sample(m), args.rounds)]  # type: ignore[misc]
        lone = [1000 * s for s in timed(lambda s=sampler, m=many: s.sample(m[:1]), 5 * args.rounds)]  # type: ignore[misc]
        print(
            f"{batch:>5} {statistics.median(rates):>16.0f} {f'{min(rates):.0f}..{max(rates):.0f}':>16} "
            f"{statistics.median(lone):>14.2f} {f'{min(lone):.1f}..{max(lone):.1f}':>14}"
        )


if __name__ == "__main__":
    main()
