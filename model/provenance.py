"""What a face says about itself: that nobody was photographed, and how to draw it again."""

from __future__ import annotations

from typing import Protocol

from model.sampler import FaceRequest


class Named(Protocol):
    """What is needed of a sampler to name it."""

    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...


def model_tag(name: str, sha256: str) -> str:
    """Name a set of weights: its name and 12 digits of its content's hash, ``fer48@0123456789ab``."""
    return f"{name}@{sha256[:12]}"


def describe(sampler: Named, request: FaceRequest) -> dict[str, str]:
    """Return a face's text chunks, keyword to text, as PNG's iTXt has them."""
    return {
        "Software": "emoface",
        "Description": "A synthetic face, drawn by a neural network. It shows nobody.",
        "emoface:model": model_tag(sampler.name, sampler.sha256),
        "emoface:sha256": sampler.sha256,
        "emoface:emotion": str(request.mix),
        "emoface:seed": str(request.seed),
        "emoface:intensity": repr(request.intensity),
        "emoface:truncation": repr(request.truncation),
    }
