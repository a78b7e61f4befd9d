"""POST /verify: faces of these weights are known again; everything else is not, and is told why."""

from __future__ import annotations

import io
import socket
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from model.encode import FORMATS
from service.api.verify import MAX_PICTURE
from service.app import create_app
from service.settings import Settings
from tests.service.serving import StubSampler, live, tiny_sampler, until_now
from tests.service.test_http_problems import problem

SETTINGS = Settings(host="127.0.0.1", port=0, device="cpu")


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with live(create_app(SETTINGS, tiny_sampler())) as client:
        yield client


def verify(client: httpx.Client, content: bytes, kind: str = "image/png") -> dict[str, Any]:
    answer = client.post("/verify", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["reason"].endswith(".")
    return found


def changed(content: bytes, pixels: Any) -> bytes:
    """Write other pixels into a PNG and keep what it says."""
    image = Image.open(io.BytesIO(content))
    info = PngImagePlugin.PngInfo()
    for key, value in image.info.items():
        info.add_itxt(str(key), str(value))
    out = io.BytesIO()
    Image.fromarray(pixels(np.array(image))).save(out, "PNG", pnginfo=info)
    return out.getvalue()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [None, 48, 200])
def test_every_face_is_known_again(client: httpx.Client, format: str, size: int | None) -> None:
    wish = {
        "emotion": {"happy": 0.7, "surprise": 0.3},
        "seed": "Zoë 7%",
        "intensity": 0.3,
        "format": format,
        "size": size,
    }
    face = client.post("/generate", json={**wish, "truncation": 0.9}).content
    found = verify(client, face, FORMATS[format])
    assert (found["verified"], found["exact"], found["difference"]) == (True, True, 0)
    assert (found["seed"], found["emotion"]) == ("Zoë 7%", "happy=0.7,surprise=0.3")
    assert (found["intensity"], found["truncation"], found["format"]) == ("0.3", "0.9", format)
    assert found["size"] == [size or 48] * 2


def test_a_level_of_rounding_is_the_same_face_and_more_is_not(client: httpx.Client) -> None:
    face = client.post("/generate", json={"emotion": "sad", "seed": 7}).content
    near = verify(client, changed(face, lambda a: np.where(a < 255, a + 1, a - 1).astype(np.uint8)))
    assert (near["verified"], near["exact"], near["difference"]) == (True, False, 1)

    def spot(pixels: Any) -> Any:
        pixels[5, 5] ^= 0x40
        return pixels

    far = verify(client, changed(face, spot))
    assert (far["verified"], far["exact"], far["difference"]) == (False, False, 64)


def test_another_face_with_borrowed_words_is_found_out(client: httpx.Client) -> None:
    mine = client.post("/generate", json={"emotion": "sad", "seed": 7}).content
    other = np.array(Image.open(io.BytesIO(client.post("/generate", json={"emotion": "sad", "seed": 8}).content)))
    found = verify(client, changed(mine, lambda _: other))
    assert found["verified"] is False
    assert "not the face" in found["reason"]


def test_pictures_that_cannot_be_ours_are_told_why(client: httpx.Client) -> None:
    face = client.post("/generate", json={"emotion": "sad", "seed": 7}).content
    bare = io.BytesIO()
    Image.open(io.BytesIO(face)).convert("L").save(bare, "PNG", pnginfo=PngImagePlugin.PngInfo())
    assert "does not say" in verify(client, bare.getvalue())["reason"]
    assert "not square" in verify(client, changed(face, lambda a: a[:40]))["reason"]
    assert "in colour" in verify(client, changed(face, lambda a: np.stack([a, a, a], 2)))["reason"]
    with live(create_app(SETTINGS, StubSampler())) as others:
        found = verify(others, face)
    assert found["verified"] is False
    assert "other weights, tiny@" in found["reason"]


def test_words_that_are_no_request_are_told(client: httpx.Client) -> None:
    face = client.post("/generate", json={"emotion": "sad", "seed": 7}).content
    image = Image.open(io.BytesIO(face))
    for old, new in (('emotion="sad"', 'emotion="bored"'), ('intensity="1.0"', 'intensity="9"'), ('="1.0"', '="x"')):
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", image.info["XML:com.adobe.xmp"].replace(old, new))
        out = io.BytesIO()
        image.save(out, "PNG", pnginfo=info)
        found = verify(client, out.getvalue())
        assert (found["verified"], found["exact"]) == (False, None)
        assert "no face of these weights" in found["reason"]


def test_xmp_that_is_a_bomb_or_no_xml_says_nothing(client: httpx.Client) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>'
    for packet in (bomb, "<x", "", "<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"):
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet)
        out = io.BytesIO()
        Image.new("L", (48, 48)).save(out, "PNG", pnginfo=info)
        assert "does not say" in verify(client, out.getvalue())["reason"]


def _png(width: int, height: int) -> bytes:
    """Return a small file that says it is a picture of this size, and holds nothing but its header."""
    header = struct.pack(">II5B", width, height, 8, 0, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_what_is_no_picture_is_a_400(client: httpx.Client) -> None:
    face = client.post("/generate", json={"emotion": "sad", "seed": 7}).content
    animated = io.BytesIO()
    frames = [Image.new("L", (48, 48), grey) for grey in (0, 99)]
    frames[0].save(animated, "PNG", save_all=True, append_images=frames[1:])
    gif = io.BytesIO()
    frames[0].save(gif, "GIF")
    for content, said in (
        (b"", "no whole picture"),
        (b"hello", "no whole picture"),
        (face[: len(face) // 2], "no whole picture"),
        (gif.getvalue(), "no whole picture"),
        (_png(48, 48), "no whole picture"),
        (_png(1025, 48), "at most 1024"),
        (_png(2**31 - 1, 2**31 - 1), "picture"),
        (animated.getvalue(), "animated"),
    ):
        answer = client.post("/verify", content=content, headers={"Content-Type": "image/png"})
        assert said in problem(answer, 400)["detail"], content[:20]


def test_size_and_kind_of_the_body(client: httpx.Client) -> None:
    headers = {"Content-Type": "image/png"}
    assert client.post("/verify", content=b"x" * MAX_PICTURE, headers=headers).status_code == 400
    detail = problem(client.post("/verify", content=b"x" * (MAX_PICTURE + 1), headers=headers), 413)["detail"]
    assert str(MAX_PICTURE) in detail
    for kind in ("application/json", "image/gif", "text/plain"):
        problem(client.post("/verify", content=b"x", headers={"Content-Type": kind}), 415)


def test_the_loaded_weights_are_listed(client: httpx.Client) -> None:
    (found,) = client.get("/models").json()["models"]
    assert found["tag"] == client.get("/emotions").json()["model"]
    assert (found["sha256"], found["device"], found["resolution"]) == (tiny_sampler().sha256, "cpu", 48)
    assert found["emotions"] == list(tiny_sampler().emotions)


def test_a_client_that_leaves_in_the_middle_of_its_picture_is_no_error(client: httpx.Client) -> None:
    head = "POST /verify HTTP/1.1\r\nHost: here\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as connection:
        connection.sendall(head.encode() + b"\x89PNG")
    until_now(lambda: 'route="/verify",status="499"} 1.0' in client.get("/metrics").text)
