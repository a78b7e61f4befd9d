"""POST /verify: whether a picture is a face that these weights drew, found out by drawing it again."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final, cast

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from model.encode import FORMATS
from model.provenance import Claim, NoPicture, model_tag, read_claim
from service.api.answer import unless_gone
from service.api.deps import EngineDep, SamplerDep, media_type
from service.api.errors import Problem, documented
from service.api.schemas import MAX_SIZE
from service.api.validation import as_sentence
from service.engine import Encoding, ImageFormat, Sampler

router = APIRouter(tags=["provenance"])

#: Bytes; the largest face, as PNG, takes about half of it.
MAX_PICTURE: Final = 2 * 2**20
# Grey levels. Another host or device may round a level differently, and what loses detail makes more of that.
_TOLERANCE: Final = {"png": 2, "webp": 2, "jpeg": 16, "avif": 16}
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
    refused = _refused(claim, sampler)
    if refused is not None:
        return _verdict(claim, False, refused)
    try:
        face = claim.request(sampler.emotions)
    except ValueError as error:
        return _verdict(claim, False, f"What the picture says of itself is no face of these weights: {error}")
    size = claim.pixels.shape[0]
    encoding = Encoding(None if size == sampler.resolution else size, cast(ImageFormat, claim.format))
    picture = await unless_gone(request, engine.face(face, encoding))
    again = await asyncio.to_thread(read_claim, picture.content, MAX_SIZE)
    if again.pixels.shape != claim.pixels.shape:
        return _verdict(claim, False, "The picture is in colour and the face is not, or the other way round.")
    difference = int(np.abs(again.pixels.astype(np.int16) - claim.pixels).max())
    same = difference <= _TOLERANCE[claim.format]
    reason = "Drawn again, it is the same face." if same else "It is not the face that it says it is: pixels differ."
    return _verdict(claim, same, reason, difference)


def _refused(claim: Claim, sampler: Sampler) -> str | None:
    """Say why a picture need not be drawn again, if so."""
    if not claim.facts:
        return "The picture does not say which face it is: it never did, or its text was removed."
    if claim.facts["sha256"] != sampler.sha256:
        loaded = model_tag(sampler.name, sampler.sha256)
        return f"The picture names other weights, {claim.facts['model'][:80]}; this service has {loaded}."
    if claim.pixels.shape[0] != claim.pixels.shape[1]:
        return "The picture is not square; every face is."
    return None


def _verdict(claim: Claim, verified: bool, reason: str, difference: int | None = None) -> Verdict:
    told = {name: claim.facts.get(name) for name in ("model", "emotion", "seed", "intensity", "truncation")}
    return Verdict(
        verified=verified,
        reason=reason,
        exact=None if difference is None else difference == 0,
        difference=difference,
        size=[claim.pixels.shape[1], claim.pixels.shape[0]],
        format=claim.format,
        **told,
    )
