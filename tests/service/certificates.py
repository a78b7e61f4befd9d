"""Certificates to sign pictures with, and what a signed picture says."""

from __future__ import annotations

import datetime
import io
import json
from pathlib import Path
from typing import Any

import c2pa  # type: ignore[import-untyped]
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


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


def manifest(picture: bytes, media_type: str) -> dict[str, Any]:
    """Return the active manifest of a picture, whose signature and hashes must be right."""
    told = json.loads(c2pa.Reader(media_type.replace("apng", "png"), io.BytesIO(picture)).json())
    assert told["validation_state"] == "Valid"
    wrong = {failure["code"] for failure in told["validation_results"]["activeManifest"]["failure"]}
    assert wrong <= {"signingCredential.untrusted"}, "our root is in nobody's list"
    found: dict[str, Any] = told["manifests"][told["active_manifest"]]
    return found
