"""A face as an HTTP answer: headers, entity tag, what a client that has it already is told, and leaving clients."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Hashable
from functools import cache, lru_cache
from typing import Any, Final, TypeVar
from urllib.parse import quote

from fastapi import Request
from starlette.responses import Response

from model import FaceRequest
from model.encode import ENCODER, FORMATS, file_name
from model.provenance import model_tag
from model.software import installed_version
from service.api.errors import ClientGone
from service.credentials import signed
from service.engine import Encoding, Engine, Picture, Sampler
from service.engine.job import key_of

_T = TypeVar("_T")

_MILLISECONDS: Final = 1000
LOOK_AFTER: Final = 0.2  # seconds until it is worth a look whether a client has left

#: What OpenAPI says of the headers of every face.
HEADERS: Final[dict[str, Any]] = {
    name: {"description": description, "schema": {"type": "string"}, "example": example}
    for name, description, example in (
        ("X-Seed", "The face's seed, percent-encoded (RFC 3986): decoded, a `seed` for the same person.", "7"),
        (
            "X-Model",
            "The weights that drew it: their name, percent-encoded, and the start of their hash.",
            "fer48@0123456789ab",
        ),
        (
            "ETag",
            "Names these very bytes: a function of the request, the weights, and what computes and encodes here.",
            '"5d41402abc4b2a76b9719d911017c592"',
        ),
        (
            "Server-Timing",
            "Milliseconds in the queue, generating its batch, and encoding it; or `cache` if it lay ready.",
            "queue;dur=0.1, generate;dur=6.0, encode;dur=0.3",
        ),
        ("Content-Disposition", "A name to save the face under.", 'inline; filename="happy-7.png"'),
    )
}


async def face_response(
    request: Request, engine: Engine, sampler: Sampler, face: FaceRequest, encoding: Encoding, **headers: str
) -> Response:
    """Answer with a face; with 304 and no body where the client's ``If-None-Match`` names it; 499 to nobody.

    ``headers`` are further ones, with ``_`` for ``-``.
    """
    told = {
        "ETag": entity_tag(sampler, *key_of(face, encoding)),
        "X-Seed": seed_header(face),
        "X-Model": model_header(sampler),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    if client_has(request, told["ETag"]):
        return Response(status_code=304, headers=told)
    picture = await unless_gone(request, engine.face(face, encoding))
    told["Server-Timing"] = _timing(picture)
    told["Content-Disposition"] = f'inline; filename="{file_name(face, encoding.format)}"'
    content = await signed(request, picture.content, FORMATS[encoding.format])
    return Response(content, headers=told, media_type=FORMATS[encoding.format])


def seed_header(face: FaceRequest) -> str:
    """Return X-Seed: a seed may hold anything, a header may not."""
    return str(face.seed) if isinstance(face.seed, int) else quote(face.seed, safe="")


def model_header(sampler: Sampler) -> str:
    """Return X-Model: the weights' name may hold anything, a header may not."""
    return _quoted(model_tag(sampler.name, sampler.sha256))


@cache
def _quoted(tag: str) -> str:
    return quote(tag, safe="@")


def caching(seconds: int) -> str:
    """Return the Cache-Control of an address that always gives the same bytes; 0 seconds: ask every time."""
    return f"public, max-age={seconds}, immutable" if seconds else "no-cache"


def entity_tag(sampler: Sampler, what: object, *how: Hashable) -> str:
    """Return a strong entity tag (RFC 9110, section 8.8.3), which is known before the face is drawn.

    Equal requests give equal bytes as long as the weights, the device, the arithmetic, torch and the encoder stay
    what they are. Of a picture with content credentials it names what was signed. ``how`` is what requests tend to have
    in common.
    """
    tag = _hashed(sampler.sha256, sampler.device, sampler.batch_size, sampler.precision, how).copy()
    tag.update(repr(what).encode())
    return f'"{tag.hexdigest()}"'


@lru_cache(256)
def _hashed(*made: Hashable) -> hashlib.blake2b:
    """Begin a tag with what does not depend on the single request, and what else decides a picture's bytes."""
    software = (f"{name} {installed_version(name)}" for name in ("emoface", "torch", "openvino"))
    return hashlib.blake2b(repr((made, *software, ENCODER)).encode(), digest_size=16)


def client_has(request: Request, tag: str) -> bool:
    """Tell whether the client has what it asks for (RFC 9110, section 13.1.2, weak comparison)."""
    if request.method not in ("GET", "HEAD"):
        return False
    held = request.headers.get("if-none-match", "")
    return held.strip() == "*" or tag in (part.strip().removeprefix("W/") for part in held.split(","))


def _timing(picture: Picture) -> str:
    """Write a picture's timing down (W3C Server Timing)."""
    if picture.timing is None:
        return "cache"
    times = (picture.timing.queue, picture.timing.generate, picture.timing.encode)
    return "queue;dur={:.2f}, generate;dur={:.2f}, encode;dur={:.2f}".format(*(_MILLISECONDS * time for time in times))


async def unless_gone(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """Await ``work``, but cancel it when the client has left, if it takes so long that this is worth a look.

    Raises:
        ClientGone: it has; the handler answers 499, which nobody reads.
    """
    # In this task and not in one of its own, and only after a while: to look at once would cost a fifth of all that a
    # request does beside its face.
    patience = _Patience(request)
    alarm = request.app.state.looks.set(patience.look)
    try:
        return await work
    except asyncio.CancelledError:
        if patience.gone and not patience.working.uncancel():  # nobody else has cancelled it as well
            raise ClientGone from None
        raise
    finally:
        alarm.stop()
        patience.end()


class _Patience:
    """Cancels the task that it was made in when a client has left."""

    def __init__(self, request: Request) -> None:
        working = asyncio.current_task()
        assert working is not None
        self.working = working
        self.gone = False
        self._request = request
        self._leaving: asyncio.Task[None] | None = None
        self._done = False

    def look(self) -> None:
        """Cancel the task as soon as the client has left."""
        self._leaving = asyncio.get_running_loop().create_task(_left(self._request))
        self._leaving.add_done_callback(self._stop)

    def end(self) -> None:
        """Look no longer."""
        self._done = True
        if self._leaving is not None:
            self._leaving.cancel()

    def _stop(self, left: asyncio.Task[None]) -> None:
        if not self._done and not left.cancelled():
            self.gone = True
            self.working.cancel()


async def _left(request: Request) -> None:
    # The body has been read, so the only thing still to come on this connection is its end.
    while (await request.receive())["type"] != "http.disconnect":
        pass
