"""Pictures as people have them: orientation, transparency, animation, damage, crops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.training.data.picture_sources import encoded, picture
from training.data.pictures import decode_picture, middle_square, square_around, square_pixels

LOSSLESS = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def test_orientation_is_applied_unless_told_not_to() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side: turned by 90 degrees clockwise to be seen
    stored = picture(1, 40, 20)
    content = encoded(stored, "PNG", exif=exif)
    np.testing.assert_array_equal(decode_picture(content, colour=True), np.rot90(np.asarray(stored), -1))
    np.testing.assert_array_equal(decode_picture(content, colour=True, upright=False), np.asarray(stored))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_over_white(mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 4, 8))
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    pixels = np.asarray(decode_picture(encoded(image, "PNG"), colour=True))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, 7].tolist() == ([76, 76, 76] if mode == "LA" else [255, 0, 0])


def test_grey_is_luma_and_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ((200, 100, 50), (0, 0, 0))]
    gif = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert set(np.asarray(decode_picture(gif, colour=False)).ravel()) == {round(0.299 * 200 + 0.587 * 100 + 5.7)}
    assert np.asarray(decode_picture(gif, colour=True)).shape == (9, 9, 3)


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr"])
def test_every_mode_becomes_colour_or_grey(mode: str) -> None:
    content = encoded(Image.new("RGB", (5, 5), "white").convert(mode), "TIFF")
    assert np.asarray(decode_picture(content, colour=True)).min() >= 254
    assert decode_picture(content, colour=False).mode == "L"


def test_what_cannot_be_used_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encoded(picture(3), "JPEG")
    for content in (b"", b"no picture", whole[: len(whole) // 2]):
        with pytest.raises(ValueError, match="not a readable image"):
            decode_picture(content, colour=True)
    deep = encoded(Image.fromarray(np.zeros((9, 9), np.uint16)), "PNG")
    with pytest.raises(ValueError, match="more than 8 bits"):
        decode_picture(deep, colour=True)
    for most in (3599, 1700):  # Pillow warns above its limit, and refuses above twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        with pytest.raises(ValueError, match="too many pixels"):
            decode_picture(whole, colour=True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3600)
    decode_picture(whole, colour=True)


WHOLE = [
    encoded(picture(5, 24, 20), "JPEG"),
    encoded(picture(5, 24, 20), "PNG"),
    encoded(picture(5, 24, 20), "GIF"),
    encoded(picture(5, 24, 20), "WEBP"),
    encoded(picture(5, 24, 20), "TIFF"),
    encoded(picture(5, 24, 20), "BMP"),
]


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=8))
def test_damage_is_a_value_error_or_a_picture(content: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(content)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    try:
        image = decode_picture(bytes(damaged), colour=True)
    except ValueError:
        return
    assert image.mode == "RGB"


def test_largest_square_in_the_middle_is_averaged_down() -> None:
    image = picture(2, 100, 60)
    pixels = square_pixels(image, 12)
    cropped = image.crop((20, 0, 80, 60)).resize((12, 12), Image.Resampling.LANCZOS)
    np.testing.assert_allclose(pixels, np.asarray(cropped), atol=1)  # the filter looks a little beyond the crop
    assert middle_square(61, 100) == (0, 19, 61, 80)
    checks = Image.fromarray((np.indices((96, 96)).sum(0) % 2 * 255).astype(np.uint8))
    assert np.abs(square_pixels(checks, 24).astype(int) - 127).max() < 12, "an aliased one would be black or white"
    np.testing.assert_array_equal(square_pixels(image, 60, (30, 0, 90, 60)), np.asarray(image)[:, 30:90])


sides = st.floats(0.5, 300)


@LOSSLESS
@given(st.integers(1, 200), st.integers(1, 200), st.floats(-300, 300), st.floats(-300, 300), sides, sides)
def test_face_square_lies_inside_and_keeps_the_face(
    width: int, height: int, x: float, y: float, across: float, down: float
) -> None:
    box = (x, y, x + across, y + down)
    if x >= width or y >= height or x + across <= 0 or y + down <= 0:
        with pytest.raises(ValueError, match="outside"):
            square_around(box, width, height)
        return
    left, top, right, bottom = square_around(box, width, height)
    assert -1e-6 <= left < right <= width + 1e-6
    assert -1e-6 <= top < bottom <= height + 1e-6
    assert right - left == pytest.approx(bottom - top)
    assert right - left == pytest.approx(min(max(across, down), width, height))
    if max(across, down) <= min(width, height) and x >= 0 and y >= 0 and box[2] <= width and box[3] <= height:
        assert left <= x + 1e-6
        assert right >= box[2] - 1e-6
        assert top <= y + 1e-6
        assert bottom >= box[3] - 1e-6
    Image.new("L", (width, height)).resize((4, 4), box=(left, top, right, bottom))  # Pillow is strict on the edges


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (5, 5, 4, 9), (float("nan"), 0, 5, 5)])
def test_box_without_area_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="no area"):
        square_around(box, 20, 20)
