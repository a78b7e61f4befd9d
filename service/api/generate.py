"""POST /generate: one face."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Request
from starlette.responses import Response

from model.emotions import FER2013
from model.encode import FORMATS
from service.api.answer import HEADERS, face_response
from service.api.deps import EngineDep, SamplerDep, json_only
from service.api.errors import documented
from service.api.negotiate import accepted_format
from service.api.schemas import EXAMPLES, FieldError, GenerateRequest
from service.api.wish import wished_face

router = APIRouter(tags=["faces"])

_UNKNOWN = f"Unknown emotion 'hapy'; did you mean 'happy'? Known: {', '.join(FER2013)}."
#: What every route that draws faces may answer, beside what is its own.
DRAWS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The face.",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in FORMATS.values()},
        "headers": HEADERS,
    },
    **documented(422, _UNKNOWN, [FieldError(pointer="#/emotion", detail=_UNKNOWN, allowed=list(FER2013))]),
    **documented(500, "Something went wrong in the service; the request may be sent again."),
    **documented(503, "Too many faces are waiting; try again in 2 seconds.", Retry_After="Seconds to wait, if known."),
}
#: What every route that reads JSON may answer.
READS_JSON: dict[int | str, dict[str, Any]] = {
    **documented(400, "The body could not be read as JSON."),
    **documented(413, "The body may have at most 65536 bytes."),
    **documented(415, "Send the body as JSON, with the header 'Content-Type: application/json'."),
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    **DRAWS,
    **READS_JSON,
    **documented(406, f"No format is acceptable to the Accept header; faces are {', '.join(FORMATS.values())}."),
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
    face = wished_face(wish, sampler)
    encoding = wish.encoding("png" if wish.format else accepted_format(request))
    return await face_response(request, engine, sampler, face, encoding, Vary="Accept")
