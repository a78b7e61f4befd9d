"""What every server and every limit here does for a face: the same sampler, the same encoder, the same text."""

from __future__ import annotations

import os
from collections.abc import Sequence

from model import EmotionMix, FaceRequest, FaceSampler, encode_face
from model.provenance import describe


class Faces:
    """Draws and encodes."""

    def __init__(self, device: str | None = None) -> None:
        self.sampler = FaceSampler.load(
            None,
            device or os.environ.get("SERVING_DEVICE", "cpu"),
            precision=os.environ.get("SERVING_PRECISION", "float32"),
        )
        self.draw([self.asked("neutral", 0)])  # pays for what torch sets up at the first face, as our service does

    def asked(self, emotion: str, seed: int) -> FaceRequest:
        """Return what a body asks for."""
        return FaceRequest(EmotionMix.parse(emotion, self.sampler.emotions), seed)

    def draw(self, requests: Sequence[FaceRequest]) -> list[bytes]:
        """Return PNG files."""
        pixels = self.sampler.sample(requests)
        return [
            encode_face(face, text=describe(self.sampler, request))
            for face, request in zip(pixels, requests, strict=True)
        ]
