"""What a face says about itself: that nobody was photographed, and how to draw it again."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote, unquote
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from model.emotions import EmotionMix, read_mix
from model.encode import FORMATS, XMP_KEY
from model.sampler import FaceRequest

#: What IPTC calls a picture that a trained model has made (NewsCodes, digitalsourcetype).
DIGITAL_SOURCE_TYPE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_FACTS: Final = ("model", "sha256", "emotion", "seed", "intensity", "truncation")


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
    """Return a face's text chunks, keyword to text, as PNG's iTXt has them; one of them is an XMP packet.

    The packet marks the picture as made by a trained model (IPTC's ``DigitalSourceType``, NewsCode
    ``trainedAlgorithmicMedia``) and carries the same facts, because WebP, JPEG and AVIF have no other text.
    """
    facts = {
        "emotion": str(request.mix),
        "seed": str(request.seed),
        "intensity": repr(request.intensity),
        "truncation": repr(request.truncation),
    }
    return _texts(sampler, "A synthetic face, drawn by a neural network. It shows nobody.", facts)


def describe_many(sampler: Named) -> dict[str, str]:
    """Return the text chunks of a picture of several faces, or of one that moves: as :func:`describe`'s."""
    return _texts(sampler, "Synthetic faces, drawn by a neural network. They show nobody.", {})


def _texts(sampler: Named, description: str, own: Mapping[str, str]) -> dict[str, str]:
    facts = {"model": model_tag(sampler.name, sampler.sha256), "sha256": sampler.sha256, **own}
    return {
        "Software": "emoface",
        "Description": description,
        **{f"emoface:{key}": value for key, value in facts.items()},
        XMP_KEY: _packet(facts),
    }


def _packet(facts: Mapping[str, str]) -> str:
    # A seed may hold characters that XML cannot, so it is percent-encoded here, as it is in the service's X-Seed.
    known = {name: quote(fact, safe="") if name == "seed" else fact for name, fact in facts.items()}
    own = " ".join(f"emoface:{key}={quoteattr(value)}" for key, value in known.items())
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:emoface="urn:emoface:1" '
        'xmp:CreatorTool="emoface" '
        f'Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE_TYPE}" '
        f"{own}/></rdf:RDF></x:xmpmeta>"
    )


class NoPicture(ValueError):
    """Bytes that are no picture, or one that is not looked at; its text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A picture, and what it says of itself."""

    pixels: NDArray[np.uint8]  # [H, W] grey or [H, W, 3]
    format: str  # a key of model.encode.FORMATS
    facts: Mapping[str, str]  # as describe() wrote them; empty where the picture says nothing, or not all of it

    @property
    def told(self) -> dict[str, str | None]:
        """What it says of itself, for people; None for what it does not say."""
        return {name: self.facts.get(name) for name in _FACTS if name != "sha256"}

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def request(self, vocabulary: Sequence[str]) -> FaceRequest:
        """Return the request that the facts name.

        Raises:
            ValueError: they are no request of these weights; one sentence.
        """
        mix = EmotionMix.parse(read_mix(self.facts["emotion"]), vocabulary)
        try:
            numbers = [float(self.facts[name]) for name in ("intensity", "truncation")]
        except ValueError:
            raise ValueError("intensity and truncation must be numbers.") from None
        return FaceRequest(mix, self.facts["seed"], *numbers)


def read_claim(content: bytes, largest: int) -> Claim:
    """Read a picture of at most ``largest`` pixels a side, and what its XMP packet says of it.

    The size is looked at before a pixel is decompressed.

    Raises:
        NoPicture: the bytes are no picture in one of our formats, damaged, animated or too large.
    """
    try:
        with Image.open(io.BytesIO(content), formats=[name.upper() for name in FORMATS]) as image:
            if max(image.size) > largest:
                raise NoPicture(
                    f"the picture has {image.width}x{image.height} pixels; at most {largest} a side are read."
                )
            if getattr(image, "n_frames", 1) != 1:
                raise NoPicture("the picture is animated; a face is a still.")
            form, facts = str(image.format).lower(), _facts(image)
            pixels = np.asarray(image.convert("L" if image.mode in ("L", "1") else "RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, NoPicture):
            raise
        raise NoPicture(f"the bytes are no whole picture; known are {', '.join(FORMATS)}.") from error
    return Claim(pixels, form, facts)


def _facts(image: Image.Image) -> dict[str, str]:
    try:
        found: Any = image.getxmp()["xmpmeta"]["RDF"]["Description"]
        facts = {name: str(found[name]) for name in _FACTS}
    except (KeyError, TypeError, SyntaxError, ValueError):
        return {}
    return {**facts, "seed": unquote(facts["seed"])}
