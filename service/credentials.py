"""C2PA content credentials, behind the extra ``c2pa``: every picture is signed with a certificate of the operator's.

The manifest says what the picture's own text says to those who look there: a trained model made it, and which. A signed
picture is other bytes each time, for signatures hold random numbers and a date; entity tags name what was signed.
"""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from model.encode import encode_face
from model.provenance import DIGITAL_SOURCE_TYPE, model_tag
from service.settings import Settings

if TYPE_CHECKING:
    from fastapi import Request


_CONTAINERS: Final = {"image/apng": "image/png"}  # C2PA knows containers, and an APNG is a PNG


class CredentialsError(ValueError):
    """Pictures cannot be signed; the text is one sentence for the user."""


class Signer:
    """Signs pictures. :meth:`sign` may be called from several threads.

    Args:
        certificate: PEM file of the chain, the signing certificate first and the root left out.
        key: PEM file of its private key (PKCS #8).
        algorithm: of the signature, which must fit the key (C2PA 2.2, section 13.2.1): es256, ps256, ed25519...
        model: the weights' name and tag.
        timestamps: address of an RFC 3161 timestamp authority; None asks nobody.

    Raises:
        CredentialsError: the package is not installed, or a picture signed to try it is refused.
    """

    def __init__(self, certificate: Path, key: Path, algorithm: str, model: str, timestamps: str | None = None) -> None:
        try:
            import c2pa  # type: ignore[import-untyped]
        except ImportError:
            raise CredentialsError("content credentials need c2pa-python: pip install 'emoface[c2pa]'.") from None
        self._c2pa = c2pa
        self._manifest = json.dumps(_manifest(model))
        try:
            chain, secret = certificate.read_bytes(), key.read_bytes()
        except OSError as error:
            raise CredentialsError(f"{error.filename!r} cannot be read: {error.strerror}.") from None
        try:
            self._signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm, chain, secret, timestamps))
            # Without a thumbnail, which would be a hundred kilobytes of a picture that has three.
            self._context = c2pa.Context.from_dict({"builder": {"thumbnail": {"enabled": False}}})
            self.sign(encode_face(np.zeros((8, 8, 1), np.uint8)), "image/png")
        except c2pa.C2paError as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise CredentialsError(
                f"pictures cannot be signed with {str(certificate)!r} and {str(key)!r} ({algorithm}): {reason}."
            ) from None

    def sign(self, picture: bytes, media_type: str) -> bytes:
        """Return a picture with its credentials. Its pixels and its text stay as they are."""
        signed = io.BytesIO()
        media_type = _CONTAINERS.get(media_type, media_type)
        builder = self._c2pa.Builder(self._manifest, self._context)
        builder.sign(self._signer, media_type, io.BytesIO(picture), signed)
        return signed.getvalue()


def read_signer(settings: Settings, name: str, sha256: str) -> Signer | None:
    """Return what signs pictures of the weights ``name`` with this hash as the settings say; None: nothing does.

    Raises:
        CredentialsError: pictures cannot be signed so.
    """
    certificate, key = settings.c2pa_certificate, settings.c2pa_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise CredentialsError("pictures are signed with EMOFACE_C2PA_CERTIFICATE and EMOFACE_C2PA_KEY; give both.")
    return Signer(certificate, key, settings.c2pa_algorithm, model_tag(name, sha256), settings.c2pa_timestamps)


async def signed(request: Request, picture: bytes, media_type: str) -> bytes:
    """Return what a client gets of a picture: signed where this service signs, else as it is."""
    signer: Signer | None = request.app.state.signer
    return picture if signer is None else await asyncio.to_thread(signer.sign, picture, media_type)


def _manifest(model: str) -> dict[str, Any]:
    created = {
        "action": "c2pa.created",
        "digitalSourceType": DIGITAL_SOURCE_TYPE,
        "softwareAgent": {"name": "emoface", "version": model},
    }
    return {
        "claim_generator_info": [{"name": "emoface"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
    }
