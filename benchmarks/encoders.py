"""What writes a face's PNG fastest, with all the text that a face carries: the ground for ``model.encode``.

Run: ``python benchmarks/encoders.py [--seconds 2]``. Compared are ``model.encode``, Pillow, and OpenCV and torchvision,
which write no text: their files get the same chunks put in. OpenCV is left out where it is not installed
(``pip install opencv-python-headless``). Each is timed in a loop, and right after a face was drawn, when the caches
hold little but weights. Prints medians with their spread, in microseconds, and the files' sizes.
"""

from __future__ import annotations

import argparse
import importlib
import io
import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model import EmotionMix, FaceRequest, FaceSampler
from model.encode import as_image, encode_face, png_info, resized, text_chunks
from model.provenance import describe

_HEAD = 33  # bytes of PNG's signature and its IHDR chunk
_LEVEL = 6  # zlib's, the same for all


def with_pillow(face: NDArray[np.uint8], text: Mapping[str, str]) -> bytes:
    """Write a face as a program would that has only Pillow."""
    out = io.BytesIO()
    as_image(face).save(out, "PNG", pnginfo=png_info(text), compress_level=_LEVEL)
    return out.getvalue()


def with_text(png: bytes, text: Mapping[str, str]) -> bytes:
    """Return a PNG with text put in before its pixels."""
    return png[:_HEAD] + text_chunks(text) + png[_HEAD:]


def encoders(text: Mapping[str, str]) -> dict[str, Callable[[NDArray[np.uint8]], bytes]]:
    """Return what can be compared here: each takes uint8 ``[H, W, 1]`` and gives a file with all its text."""
    found = {"model.encode": lambda face: encode_face(face, text=text), "Pillow": lambda face: with_pillow(face, text)}
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
    print("| side | encoder | us, median | min..max | after a face | min..max | bytes |\n|" + " --- |" * 7)
    for side in (48, 128, 512):
        face = resized(own, side).copy()  # torch wants one that it could write to
        compared = encoders(describe(sampler, request))
        spent: dict[str, list[float]] = {name: [] for name in compared}
        cold: dict[str, list[float]] = {name: [] for name in compared}
        for name, encode in compared.items():  # each must have written the very pixels, and the text
            image = Image.open(io.BytesIO(encode(face)))
            assert np.array_equal(np.asarray(image), face[:, :, 0]), name
            assert "emotion" in " ".join(image.text).lower(), name  # type: ignore[attr-defined]
        end = time.perf_counter() + options.seconds * len(compared)
        while time.perf_counter() < end:  # in turns, so that what disturbs one disturbs all
            for name, encode in compared.items():
                encode(face)
                spent[name].append(_microseconds(encode, face))
                sampler.sample([request])
                cold[name].append(_microseconds(encode, face))
        for name, encode in compared.items():
            cells = (f"{statistics.median(t):.0f} | {min(t):.0f}..{max(t):.0f}" for t in (spent[name], cold[name]))
            print(f"| {side} | {name} | {' | '.join(cells)} | {len(encode(face)):,} |")


def _microseconds(encode: Callable[[NDArray[np.uint8]], bytes], face: NDArray[np.uint8]) -> float:
    began = time.perf_counter()
    encode(face)
    return 1e6 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
