"""What no server can beat: generating and encoding in a loop, with no HTTP. Run by ``__main__.py`` in a process.

python -m benchmarks.serving.limits loop --batch 8 --seconds 5        # faces at a time
python -m benchmarks.serving.limits reference --faces 24              # what servers ought to answer
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import statistics
import sys
import time
from typing import Any

import torch

from benchmarks.serving.faces import Faces
from benchmarks.serving.wire import EMOTIONS
from model import encode_face
from model.provenance import describe


def loop(faces: Faces, batch: int, seconds: float, first_seed: int) -> dict[str, float]:
    """Return faces a second, and the median milliseconds of generating a batch and of encoding one face."""
    seed = first_seed
    generating, encoding = [], []
    clock = time.perf_counter
    begun = clock()
    while clock() - begun < seconds:
        requests = [faces.asked(EMOTIONS[s % len(EMOTIONS)], s) for s in range(seed, seed + batch)]
        seed += batch
        t0 = clock()
        pixels = faces.sampler.sample(requests)
        t1 = clock()
        for face, request in zip(pixels, requests, strict=True):
            encode_face(face, text=describe(faces.sampler, request))
        generating.append(t1 - t0)
        encoding.append((clock() - t1) / batch)
    took = clock() - begun
    return {
        "rate": (seed - first_seed) / took,
        "generate_ms": 1000 * statistics.median(generating),
        "encode_ms": 1000 * statistics.median(encoding),
    }


def reference(faces: Faces, count: int, first_seed: int) -> dict[str, Any]:
    """Return the SHA-256 of the faces that ``wire.face_request`` asks for with ``count`` seeds, the first of them whole
    (base64), and the sampler's batch."""
    seeds = range(first_seed, first_seed + count)
    drawn = faces.draw([faces.asked(EMOTIONS[seed % len(EMOTIONS)], seed) for seed in seeds])
    return {
        "sha256": [hashlib.sha256(png).hexdigest() for png in drawn],
        "first": base64.b64encode(drawn[0]).decode(),
        "batch": faces.sampler.batch_size,
        "weights": f"{faces.sampler.name}@{faces.sampler.sha256[:12]}",
        "torch": torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("loop", "reference"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--faces", type=int, default=24)
    parser.add_argument("--first-seed", type=int, default=0)
    args = parser.parse_args()
    faces = Faces()
    if args.what == "reference":
        print(json.dumps(reference(faces, args.faces, args.first_seed)))
        return
    loop(faces, args.batch, min(1.0, args.seconds / 4), args.first_seed)
    # Several of these run side by side on several cores, and begin together once each has said that it is warm.
    print("warm", flush=True)
    sys.stdin.readline()
    print(json.dumps(loop(faces, args.batch, args.seconds, args.first_seed)))


if __name__ == "__main__":
    main()
