"""Whether a picture is a face that these weights drew: found out by drawing it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from model.encode import encode_face
from model.provenance import Claim, Named, describe, model_tag, read_claim
from model.sampler import FaceRequest, FaceSampler

#: Grey levels by which each format's faces may differ. Another host or device may round a level differently, and what
#: loses detail makes more of that.
TOLERANCE: Final[Mapping[str, int]] = {"png": 2, "webp": 2, "jpeg": 16, "avif": 16}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a picture is the face that it says it is, and why."""

    verified: bool
    reason: str  # one sentence
    difference: int | None = None  # grey levels, 0 to 255, of the most different pixel; None: nothing was compared


class Loaded(Named, Protocol):
    """What is needed of a sampler to tell whether it can have drawn a face."""

    @property
    def emotions(self) -> tuple[str, ...]: ...


def claimed_face(claim: Claim, sampler: Loaded) -> FaceRequest | Verdict:
    """Return the face that a picture says it is, or the verdict where it need not be drawn again."""
    if not claim.facts:
        return Verdict(False, "The picture does not say which face it is: it never did, or its text was removed.")
    if claim.facts["sha256"] != sampler.sha256:
        loaded = model_tag(sampler.name, sampler.sha256)
        return Verdict(False, f"The picture names other weights, {claim.facts['model'][:80]}; loaded are {loaded}.")
    if claim.pixels.shape[0] != claim.pixels.shape[1]:
        return Verdict(False, "The picture is not square; every face is.")
    try:
        return claim.request(sampler.emotions)
    except ValueError as error:
        return Verdict(False, f"What the picture says of itself is no face of these weights: {error}")


def judged(claim: Claim, again: bytes) -> Verdict:
    """Compare a picture, pixel by pixel, with the file of the face that it says it is: of its size and format."""
    pixels = read_claim(again, max(claim.pixels.shape)).pixels
    if pixels.shape != claim.pixels.shape:
        return Verdict(False, "The picture is in colour and the face is not, or the other way round.")
    difference = int(np.abs(pixels.astype(np.int16) - claim.pixels).max())
    if difference <= TOLERANCE[claim.format]:
        return Verdict(True, "Drawn again, it is the same face.", difference)
    return Verdict(False, "It is not the face that it says it is: pixels differ.", difference)


def verify(content: bytes, sampler: FaceSampler, largest: int) -> tuple[Claim, Verdict]:
    """Read what a picture of at most ``largest`` pixels a side says of itself, draw that face again, and compare.

    Raises:
        NoPicture: the bytes are no picture in one of our formats, damaged, animated or too large.
    """
    claim = read_claim(content, largest)
    face = claimed_face(claim, sampler)
    if isinstance(face, Verdict):
        return claim, face
    drawn = sampler.sample([face])[0]
    return claim, judged(claim, encode_face(drawn, claim.pixels.shape[0], claim.format, describe(sampler, face)))
