"""The command line of emoface, in whose service a seed can do harm that no request can do to the real one.

- ``wait``, ``wait-...``: its batch waits until the file exists that the environment variable ``FAULTS_GATE`` names; one
  of the same name with the suffix ``.reached`` tells that it does.
- ``exit``, ``exit-...``: it raises SystemExit in the inference thread.
- ``hang``, ``hang-...``: encoding it never ends.

Faces with other seeds are drawn as they should be. There is one inference thread, so that who waits holds all, or as
many as the environment variable ``FAULTS_CALLERS`` says.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emoface.cli import main
from model import FaceRequest, FaceSampler, encode_face
from service.engine import encoder

_sample = FaceSampler.sample


def _sample_or_fail(self: FaceSampler, requests: Sequence[FaceRequest]) -> NDArray[np.uint8]:
    faults = {str(request.seed).partition("-")[0] for request in requests}
    if "wait" in faults:
        gate = Path(os.environ["FAULTS_GATE"])
        gate.with_suffix(".reached").touch()
        while not gate.exists():
            time.sleep(0.005)
    if "exit" in faults:
        raise SystemExit("out of the blue")
    return _sample(self, requests)


def _encode_or_hang(
    pixels: NDArray[np.uint8], size: int | None = None, format: str = "png", text: Mapping[str, str] | None = None
) -> bytes:
    if text is not None and text["emoface:seed"].partition("-")[0] == "hang":
        threading.Event().wait()
    return encode_face(pixels, size, format, text)


if __name__ == "__main__":
    FaceSampler.sample = _sample_or_fail  # type: ignore[method-assign]
    FaceSampler.callers = int(os.environ.get("FAULTS_CALLERS", "1"))  # type: ignore[assignment, method-assign]
    encoder.encode_face = _encode_or_hang  # type: ignore[attr-defined]
    main()
