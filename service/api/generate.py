"""POST /generate: one face."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Body, Depends, Request
from starlette.responses import Response

from model import EmotionError
from model.emotions import FER2013
from model.encode import FORMATS
from model.provenance import model_tag
from service.api.deps import EngineDep, SamplerDep, json_only
from service.api.errors import documented, invalid
from service.api.schemas import EXAMPLES, FieldError, GenerateRequest
from service.api.validation import emotion_error

router = APIRouter(tags=["faces"])

_HEADERS = {
    "X-Seed": {
        "description": "The face's seed, percent-encoded (RFC 3986): decoded, a `seed` for the same person.",
        "schema": {"type": "string"},
        "example": "7",
    },
    "X-Model": {
        "description": "The weights that drew it: their name, percent-encoded, and the start of their hash.",
        "schema": {"type": "string"},
        "example": "fer48@0123456789ab",
    },
}
_UNKNOWN = f"Unknown emotion 'hapy'; did you mean 'happy'? Known: {', '.join(FER2013)}."
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The face.",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in FORMATS.values()},
        "headers": _HEADERS,
    },
    **documented(400, "The body could not be read as JSON."),
    **documented(413, "The body may have at most 65536 bytes."),
    **documented(415, "Send the body as JSON, with the header 'Content-Type: application/json'."),
    **documented(
        422,
        _UNKNOWN,
        [
            FieldError(
                pointer="#/emotion",
                detail=_UNKNOWN,
                allowed=list(FER2013),
            )
        ],
    ),
    **documented(500, "Something went wrong in the service; the request may be sent again."),
    **documented(503, "Too many faces are waiting; try again in a second.", Retry_After="Seconds to wait, if known."),
}


@router.post(
    "/generate",
    response_class=Response,
    responses=_RESPONSES,
    dependencies=[Depends(json_only)],
    summary="Draw a face that shows an emotion",
    operation_id="generate",
)
async def generate(
    request: Request,
    wish: Annotated[GenerateRequest, Body(openapi_examples=EXAMPLES)],
    engine: EngineDep,
    sampler: SamplerDep,
) -> Response:
    """Answer with the picture of a face that belongs to nobody. The same request gets the same bytes."""
    try:
        face = wish.face(sampler.emotions)
    except EmotionError as error:
        raise invalid([emotion_error(error, wish.emotion, sampler.emotions)]) from None
    image = await _unless_gone(request, engine.face(face, wish.encoding))
    if image is None:
        return Response(status_code=499)  # nobody reads it; the number is nginx's, for the log
    headers = {
        "X-Seed": quote(str(face.seed), safe=""),
        "X-Model": quote(model_tag(sampler.name, sampler.sha256), safe="@"),
    }
    return Response(image, headers=headers, media_type=FORMATS[wish.format])


async def _unless_gone(request: Request, work: Coroutine[Any, Any, bytes]) -> bytes | None:
    """Await ``work``, but cancel it and return None as soon as the client has left."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    # The body has been read, so the only thing still to come on this connection is its end.
    while (await request.receive())["type"] != "http.disconnect":
        pass
