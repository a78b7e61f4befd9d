"""C2PA content credentials: signed pictures are valid, hold the same pixels, and say that a model made them."""

from __future__ import annotations

import base64
import datetime
import io
import json
import sys
from pathlib import Path
from typing import Any

import c2pa  # type: ignore[import-untyped]
import httpx
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

from model.encode import FORMATS
from service.app import create_app
from service.credentials import CredentialsError
from service.settings import Settings
from tests.service.serving import StubSampler, live

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def issued(folder: Path) -> dict[str, Any]:
    """Write a certificate that a root of ours has issued, and its key."""
    now = datetime.datetime.now(datetime.UTC)
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def certificate(subject: str, public: ec.EllipticCurvePublicKey, ca: bool) -> x509.Certificate:
        own, issuer = (
            x509.Name(
                [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name), x509.NameAttribute(NameOID.COMMON_NAME, name)]
            )
            for name in (subject, "root")
        )
        made = (
            x509.CertificateBuilder()
            .subject_name(own)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
            .add_extension(
                x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        )
        if not ca:
            made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        return made.sign(root_key, hashes.SHA256())

    chain = [certificate("signer", key.public_key(), False), certificate("root", root_key.public_key(), True)]
    files = {"c2pa_certificate": folder / "chain.pem", "c2pa_key": folder / "key.pem"}
    files["c2pa_certificate"].write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain))
    files["c2pa_key"].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return issued(tmp_path_factory.mktemp("c2pa"))


@pytest.fixture(scope="module")
def signing(files: dict[str, Any]) -> Any:
    with live(create_app(Settings(**files), StubSampler())) as client:
        yield client


def manifest(picture: bytes, media_type: str) -> dict[str, Any]:
    """Return the active manifest of a picture, whose signature and hashes must be right."""
    told = json.loads(c2pa.Reader(media_type, io.BytesIO(picture)).json())
    assert told["validation_state"] == "Valid"
    wrong = {failure["code"] for failure in told["validation_results"]["activeManifest"]["failure"]}
    assert wrong <= {"signingCredential.untrusted"}, "our root is in nobody's list"
    found: dict[str, Any] = told["manifests"][told["active_manifest"]]
    return found


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
    for form, kind in (("webp", "image/webp"), ("gif", "image/gif")):
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
