"""What a face says about itself: that nobody was photographed, and how to draw it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from model.encode import XMP_KEY
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
    """Return a face's text chunks, keyword to text, as PNG's iTXt has them; one of them is an XMP packet.

    The packet marks the picture as made by a trained model (IPTC's ``DigitalSourceType``, NewsCode
    ``trainedAlgorithmicMedia``) and carries the same facts, because WebP and JPEG have no other text.
    """
    facts = {
        "model": model_tag(sampler.name, sampler.sha256),
        "sha256": sampler.sha256,
        "emotion": str(request.mix),
        "seed": str(request.seed),
        "intensity": repr(request.intensity),
        "truncation": repr(request.truncation),
    }
    return {
        "Software": "emoface",
        "Description": "A synthetic face, drawn by a neural network. It shows nobody.",
        **{f"emoface:{key}": value for key, value in facts.items()},
        XMP_KEY: _packet(facts),
    }


def _packet(facts: Mapping[str, str]) -> str:
    # A seed may hold characters that XML cannot, so it is percent-encoded here, as it is in the service's X-Seed.
    known = {**facts, "seed": quote(facts["seed"], safe="")}
    own = " ".join(f"emoface:{key}={quoteattr(value)}" for key, value in known.items())
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:emoface="urn:emoface:1" '
        'xmp:CreatorTool="emoface" '
        'Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia" '
        f"{own}/></rdf:RDF></x:xmpmeta>"
    )
