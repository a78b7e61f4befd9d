"""Pictures: lossless where promised, of the size asked for, and saying what they are."""

from __future__ import annotations

import io
from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

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


keywords = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=79)
texts = st.dictionaries(
    keywords, st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=4
)
shapes = st.tuples(st.integers(1, 60), st.integers(1, 60), st.sampled_from([1, 3]))


@settings(deadline=None)
@given(pixels=shapes.flatmap(lambda shape: arrays(np.uint8, shape)), text=texts)
def test_every_png_is_read_by_others_as_it_was(pixels, text):
    content = encode_face(pixels, text=text)
    with _open(content) as image:
        image.verify()  # all of its checksums
    image = _open(content)
    assert isinstance(image, PngImageFile)
    assert image.mode == ("L" if pixels.shape[2] == 1 else "RGB")
    np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)
    assert image.text == text
    read = import_module("torchvision.io").decode_png(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    np.testing.assert_array_equal(read.permute(1, 2, 0).numpy(), pixels)


def test_a_face_takes_little_more_than_pillow_makes_of_it_with_all_its_effort():
    y, x = np.mgrid[:48, :48]
    face = np.rint(128 + 60 * np.sin(x / 9) * np.cos(y / 7) + np.random.default_rng(2).normal(0, 4, (48, 48)))
    pixels = face.clip(0, 255).astype(np.uint8)[:, :, None]
    best = io.BytesIO()
    Image.fromarray(pixels[:, :, 0]).save(best, "PNG", optimize=True)
    assert len(encode_face(pixels)) < 1.15 * len(best.getvalue())
    flat = encode_face(np.full((1024, 1024, 1), 77, np.uint8))
    assert len(flat) < 8192


def test_text_travels_in_the_png():
    image = _open(encode_face(GREY, text={"emoface:seed": "Zoë ☺"}))
    assert image.info["emoface:seed"] == "Zoë ☺"


def test_an_unknown_format_is_named():
    with pytest.raises(ValueError, match="tiff"):
        encode_face(GREY, format="tiff")
