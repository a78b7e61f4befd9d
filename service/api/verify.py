"""POST /verify: whether a picture is a face that these weights drew, found out by drawing it again."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from model.encode import FORMATS
from model.provenance import Claim, NoPicture, read_claim
from model.verify import Verdict as Judgement
from model.verify import claimed_face, judged
from service.api.answer import unless_gone
from service.api.deps import EngineDep, SamplerDep, media_type
from service.api.errors import Problem, documented
from service.api.schemas import MAX_SIZE
from service.api.validation import as_sentence
from service.engine import Encoding, ImageFormat

router = APIRouter(tags=["provenance"])

#: Bytes; the largest face, as PNG, takes about half of it.
MAX_PICTURE: Final = 2 * 2**20
_KINDS: Final = (*FORMATS.values(), "application/octet-stream")


class Verdict(BaseModel):
    """Whether the picture is a face of these weights, and what it says of itself."""

    verified: Annotated[bool, Field(description="The picture is the face that it says it is, drawn by these weights.")]
    reason: Annotated[str, Field(description="One sentence that says why, or why not.")]
    exact: Annotated[bool | None, Field(description="Not one pixel differs. Null where nothing was compared.")] = None
    difference: Annotated[
        int | None, Field(description="Grey levels, 0 to 255, by which the most different pixel differs.")
    ] = None
    model: Annotated[str | None, Field(description="The weights that the picture names.")] = None
    emotion: str | None = None
    seed: str | None = None
    intensity: str | None = None
    truncation: str | None = None
    size: Annotated[list[int], Field(description="Width and height in pixels.")]
    format: str


_RESPONSES: dict[int | str, dict[str, Any]] = {
    **documented(400, "The bytes are no whole picture; known are png, webp, jpeg, avif."),
    **documented(413, f"The body may have at most {MAX_PICTURE} bytes."),
    **documented(415, f"Send the picture itself, with a Content-Type of {', '.join(_KINDS)}."),
    **documented(500, "Something went wrong in the service; the request may be sent again."),
    **documented(503, "Too many faces are waiting; try again in 2 seconds.", Retry_After="Seconds to wait, if known."),
}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "The picture itself.",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _KINDS},
    }
}


@router.post(
    "/verify",
    responses=_RESPONSES,
    openapi_extra=_BODY,
    summary="Ask whether a picture came from this model",
    operation_id="verify",
)
async def verify(request: Request, engine: EngineDep, sampler: SamplerDep) -> Verdict:
    """Read what the picture says of itself, draw that face again, and compare pixel by pixel.

    A picture that was resized, cropped or retouched is not the face any more; one whose text was removed cannot be
    traced.
    """
    if media_type(request) not in _KINDS:
        raise Problem(
            415, f"Send the picture itself, with a Content-Type of {', '.join(_KINDS)}.", headers={"Accept": _KINDS[0]}
        )
    try:
        claim = await asyncio.to_thread(read_claim, await request.body(), MAX_SIZE)
    except NoPicture as error:
        raise Problem(400, as_sentence(error)) from None
    face = claimed_face(claim, sampler)
    if isinstance(face, Judgement):
        return _verdict(claim, face)
    size = claim.pixels.shape[0]
    encoding = Encoding(None if size == sampler.resolution else size, cast(ImageFormat, claim.format))
    picture = await unless_gone(request, engine.face(face, encoding))
    return _verdict(claim, await asyncio.to_thread(judged, claim, picture.content))


def _verdict(claim: Claim, found: Judgement) -> Verdict:
    return Verdict(
        verified=found.verified,
        reason=found.reason,
        exact=None if found.difference is None else found.difference == 0,
        difference=found.difference,
        size=list(claim.size),
        format=claim.format,
        **claim.told,
    )
