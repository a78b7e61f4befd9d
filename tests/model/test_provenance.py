"""A picture says that it is synthetic, in every format, whatever its seed."""

from __future__ import annotations

import io
from types import SimpleNamespace
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model.emotions import FER2013, EmotionMix
from model.encode import FORMATS, encode_face
from model.provenance import describe, model_tag
from model.sampler import FaceRequest

SAMPLER = SimpleNamespace(name="small", sha256="0123456789abcdef" * 4)
FACE = np.zeros((48, 48, 1), np.uint8)
MIX = EmotionMix.parse({"happy": 0.7, "surprise": 0.3}, FER2013)


def _open(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def _packet(image: Image.Image, format: str) -> bytes:
    return str(image.info["XML:com.adobe.xmp"]).encode() if format == "png" else image.info["xmp"]


@pytest.mark.parametrize("format", FORMATS)
@given(seed=st.one_of(st.integers(0, 2**63 - 1), st.text(min_size=1, max_size=256)))
def test_every_format_is_marked_as_made_by_a_model_and_names_its_seed(format, seed):
    request = FaceRequest(MIX, seed, intensity=0.5)
    image = _open(encode_face(FACE, None, format, describe(SAMPLER, request)))
    (description,) = ElementTree.fromstring(_packet(image, format)).iter(
        "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
    )
    source = description.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
    assert source == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    facts = {key: description.get(f"{{urn:emoface:1}}{key}") for key in ("model", "emotion", "intensity")}
    assert facts == {"model": model_tag("small", SAMPLER.sha256), "emotion": str(MIX), "intensity": "0.5"}
    assert unquote(description.get("{urn:emoface:1}seed") or "") == str(request.seed)


def test_a_png_says_so_in_plain_text_too():
    info = _open(encode_face(FACE, text=describe(SAMPLER, FaceRequest(MIX, "Zo\u00eb")))).info
    assert info["emoface:seed"] == "Zo\u00eb"
    assert info["emoface:emotion"] == "happy=0.7,surprise=0.3"
    assert "synthetic" in info["Description"]
