"""GET /faces/{emotion}/{seed}.{format}: a face as an address, for ``<img src>``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Path, Query, Request
from pydantic import ValidationError
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.responses import Response

from model import EmotionError
from model.emotions import read_mix
from model.encode import SUFFIXES
from service.api.answer import HEADERS, caching, face_response
from service.api.deps import EngineDep, SamplerDep, SettingsDep
from service.api.errors import Problem, invalid
from service.api.generate import DRAWS
from service.api.schemas import RULES, FaceOptions, GenerateRequest
from service.api.validation import emotion_error, field_errors
from service.api.wish import wished_face
from service.engine import Encoding, ImageFormat

router = APIRouter(tags=["faces"])

_CACHING = {
    "Cache-Control": {
        "description": "How long the face may be kept: it never changes, as long as the weights are the same.",
        "schema": {"type": "string"},
        "example": "public, max-age=31536000, immutable",
    }
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    **DRAWS,
    200: {**DRAWS[200], "headers": {**HEADERS, **_CACHING}},
    304: {"description": "The client has this very face: If-None-Match named its ETag."},
}


class _AnyText(PathConvertor):
    """A part of a path that may hold slashes and line breaks."""

    regex = "(?s:.+)"


register_url_convertor("any_text", _AnyText())
_ADDRESS = "/faces/{emotion}/{seed:any_text}.{format}"


@router.head(_ADDRESS, include_in_schema=False)
@router.get(
    _ADDRESS,
    response_class=Response,
    responses=_RESPONSES,
    summary="A face as an address, for <img src>",
    operation_id="face",
)
async def face(
    request: Request,
    emotion: Annotated[str, Path(description="A name, happy, or a mix, happy=0.7,surprise=0.3.", max_length=1024)],
    seed: Annotated[str, Path(description=f"Who it is: {RULES['seed']}, a name or the hash of an e-mail say.")],
    format: Annotated[Literal["png", "webp", "jpg", "jpeg", "avif"], Path(description="Of the picture.")],
    options: Annotated[FaceOptions, Query()],
    engine: EngineDep,
    sampler: SamplerDep,
    settings: SettingsDep,
) -> Response:
    """Answer with the picture of a face that belongs to nobody; browsers and proxies may keep it."""
    try:
        wish = GenerateRequest.model_validate({"emotion": read_mix(emotion), "seed": seed, **options.model_dump()})
    except ValidationError as error:
        raise _in_the_path(error) from None
    except EmotionError as error:
        raise invalid([emotion_error(error, emotion, sampler.emotions, where="path")]) from None
    asked = wished_face(wish, sampler, where="path")
    encoding = Encoding(wish.size, cast(ImageFormat, SUFFIXES[format]))
    kept = caching(settings.face_max_age)
    return await face_response(request, engine, sampler, asked, encoding, Cache_Control=kept)


def _in_the_path(error: ValidationError) -> Problem:
    return invalid(field_errors([{**found, "loc": ("path", *found["loc"])} for found in error.errors()]))
