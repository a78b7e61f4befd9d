"""What writes a face's PNG fastest, with all the text that a face carries: the ground for ``model.encode``.

Run: ``python benchmarks/encoders.py [--seconds 2]``. Compared are Pillow, as ``model.encode`` uses it, and OpenCV and
torchvision, which write no text: their files get the same chunks put in. OpenCV is left out where it is not installed
(``pip install opencv-python-headless``). Prints medians with their spread, in microseconds, and the files' sizes.
"""

from __future__ import annotations

import argparse
import importlib
import io
import statistics
import struct
import time
import zlib
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model import EmotionMix, FaceRequest, FaceSampler
from model.encode import encode_face
from model.provenance import describe

_HEAD = 33  # bytes of PNG's signature and its IHDR chunk
_LEVEL = 6  # zlib's, the same for all


def with_text(png: bytes, text: Mapping[str, str]) -> bytes:
    """Return a PNG with iTXt chunks, uncompressed (PNG 3rd edition, section 11.3.3.4)."""
    chunks = []
    for keyword, value in text.items():
        body = b"iTXt" + keyword.encode("latin-1") + bytes(5) + value.encode()
        chunks.append(struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)))
    return png[:_HEAD] + b"".join(chunks) + png[_HEAD:]


def encoders(text: Mapping[str, str]) -> dict[str, Callable[[NDArray[np.uint8]], bytes]]:
    """Return what can be compared here: each takes uint8 ``[H, W, 1]`` and gives a file with all its text."""
    found = {"Pillow": lambda face: encode_face(face, text=text)}
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError:
        print("OpenCV is not installed: left out.")
    else:
        cv2.setNumThreads(1)
        level = [cv2.IMWRITE_PNG_COMPRESSION, _LEVEL]
        found["OpenCV + text"] = lambda face: with_text(cv2.imencode(".png", face, level)[1].tobytes(), text)
    try:
        encode_png = importlib.import_module("torchvision.io").encode_png
    except ImportError:
        print("torchvision is not installed: left out.")
    else:
        found["torchvision + text"] = lambda face: with_text(
            encode_png(torch.from_numpy(face).permute(2, 0, 1), _LEVEL).numpy().tobytes(), text
        )
    return found


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each encoder and size")
    options = parser.parse_args()
    sampler = FaceSampler.load(device="cpu")
    request = FaceRequest(EmotionMix.parse("happy", sampler.emotions), seed=2)
    own = sampler.sample([request])[0]
    print("| side | encoder | us, median | min..max | bytes |\n| --- | --- | --- | --- | --- |")
    for side in (48, 128, 512):
        face = np.array(Image.fromarray(own[:, :, 0]).resize((side, side), Image.Resampling.LANCZOS))[:, :, None]
        compared = encoders(describe(sampler, request))
        spent: dict[str, list[float]] = {name: [] for name in compared}
        for name, encode in compared.items():  # each must have written the very pixels, and the text
            image = Image.open(io.BytesIO(encode(face)))
            assert np.array_equal(np.asarray(image), face[:, :, 0]), name
            assert "emotion" in " ".join(image.text).lower(), name  # type: ignore[attr-defined]
        end = time.perf_counter() + options.seconds * len(compared)
        while time.perf_counter() < end:  # in turns, so that what disturbs one disturbs all
            for name, encode in compared.items():
                began = time.perf_counter()
                encode(face)
                spent[name].append(1e6 * (time.perf_counter() - began))
        for name, times in spent.items():
            size = len(compared[name](face))
            print(
                f"| {side} | {name} | {statistics.median(times):.0f} | {min(times):.0f}..{max(times):.0f} | {size:,} |"
            )


if __name__ == "__main__":
    main()
