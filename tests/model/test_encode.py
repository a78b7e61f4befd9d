"""Pictures: lossless where promised, of the size asked for, and saying what they are."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from model.encode import FORMATS, encode_face

GREY = np.random.default_rng(0).integers(0, 256, (48, 48, 1), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (48, 48, 3), dtype=np.uint8)


def _open(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("face", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("format", ["png", "webp"])
def test_lossless_formats_keep_every_pixel(face, format):
    mode = "L" if face.shape[2] == 1 else "RGB"
    back = np.asarray(_open(encode_face(face, format=format)).convert(mode)).reshape(face.shape)
    np.testing.assert_array_equal(back, face)


@pytest.mark.parametrize("format", FORMATS)
def test_size_format_and_repeatability(format):
    content = encode_face(GREY, 200, format)
    image = _open(content)
    assert (image.size, f"image/{(image.format or '').lower()}") == ((200, 200), FORMATS[format])
    assert content == encode_face(GREY, 200, format)


def test_text_travels_in_the_png():
    image = _open(encode_face(GREY, text={"emoface:seed": "Zoë ☺"}))
    assert image.info["emoface:seed"] == "Zoë ☺"


def test_an_unknown_format_is_named():
    with pytest.raises(ValueError, match="tiff"):
        encode_face(GREY, format="tiff")
