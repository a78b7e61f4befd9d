"""C2PA content credentials: signed pictures are valid, hold the same pixels, and say that a model made them."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path
from typing import Any

import c2pa  # type: ignore[import-untyped]
import httpx
import numpy as np
import pytest
from PIL import Image

from model.animate import ANIMATED
from model.encode import FORMATS
from service.app import create_app
from service.credentials import CredentialsError
from service.settings import Settings
from tests.service.certificates import issued, manifest
from tests.service.serving import StubSampler, live

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return issued(tmp_path_factory.mktemp("c2pa"))


@pytest.fixture(scope="module")
def signing(files: dict[str, Any]) -> Any:
    with live(create_app(Settings(**files), StubSampler())) as client:
        yield client


def pixels(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)))


@pytest.mark.parametrize("form", FORMATS)
def test_a_signed_face_is_valid_and_the_very_face(signing: httpx.Client, form: str) -> None:
    signed = signing.post("/generate", json={"emotion": "happy", "seed": 7, "format": form})
    assert signed.status_code == 200
    with live(create_app(Settings(), StubSampler())) as plain_client:
        plain = plain_client.post("/generate", json={"emotion": "happy", "seed": 7, "format": form})
    assert signed.content != plain.content
    assert len(signed.content) < len(plain.content) + 8000
    np.testing.assert_array_equal(pixels(signed.content), pixels(plain.content))
    assert signed.headers["etag"] == plain.headers["etag"], "it names what was signed"
    own = manifest(signed.content, FORMATS[form])
    (actions,) = [one["data"]["actions"] for one in own["assertions"] if one["label"].startswith("c2pa.actions")]
    assert [(action["action"], action["digitalSourceType"]) for action in actions] == [("c2pa.created", SOURCE)]
    assert "stub@" in json.dumps(own)


def test_one_changed_byte_is_found(signing: httpx.Client) -> None:
    picture = bytearray(signing.get("/faces/happy/7.png").content)
    where = picture.index(b"IDAT") + 8
    picture[where] ^= 1
    told = json.loads(c2pa.Reader("image/png", io.BytesIO(bytes(picture))).json())
    assert told["validation_state"] == "Invalid"


def test_every_route_that_draws_signs(signing: httpx.Client) -> None:
    manifest(signing.get("/faces/happy/7.webp").content, "image/webp")
    manifest(signing.get("/grid.png", params={"seeds": "1", "emotions": "happy,sad"}).content, "image/png")
    for form, kind in ANIMATED.items():
        body = {"seed": 1, "frames": 2, "format": form, "keyframes": [{"emotion": "neutral"}, {"emotion": "happy"}]}
        manifest(signing.post("/morph", json=body).content, kind)
    batch = signing.post("/generate/batch", json={"requests": [{"emotion": "happy"}], "output": "json"}).json()
    theirs = signing.post("/v1/images/generations", json={"prompt": "happy", "response_format": "b64_json"}).json()
    manifest(base64.b64decode(batch["faces"][0]["image"]), "image/png")
    manifest(base64.b64decode(theirs["data"][0]["b64_json"]), "image/png")


def test_a_signed_face_verifies(signing: httpx.Client) -> None:
    picture = signing.get("/faces/happy/7.png").content
    told = signing.post("/verify", content=picture, headers={"Content-Type": "image/png"}).json()
    assert (told["verified"], told["exact"]) == (True, True)


def test_what_cannot_sign_is_one_sentence(files: dict[str, Any], tmp_path: Path) -> None:
    other = issued(tmp_path)

    def refused(**given: Any) -> str:
        with pytest.raises(CredentialsError) as caught:
            create_app(Settings(**given), StubSampler())
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "give both" in refused(c2pa_key=files["c2pa_key"])
    assert "cannot be read: No such file" in refused(**files | {"c2pa_key": tmp_path / "none"})
    assert "cannot be signed" in refused(**files | {"c2pa_certificate": files["c2pa_key"]})
    assert "cannot be signed" in refused(**files, c2pa_algorithm="ps256")
    assert "cannot be signed" in refused(**files | {"c2pa_key": other["c2pa_key"]}), "another one's key"


def test_without_the_extra_it_is_one_sentence(files: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(CredentialsError, match=r"pip install 'emoface\[c2pa\]'"):
        create_app(Settings(**files), StubSampler())
