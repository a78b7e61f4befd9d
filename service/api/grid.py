"""GET /grid.png: people in rows, emotions in columns."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import ConfigDict, Field
from starlette.responses import Response

from model import EmotionError, EmotionMix, FaceRequest
from model.emotions import read_mix
from model.provenance import describe_many
from model.sheet import encode_grid
from service.access.gate import charge
from service.api.answer import HEADERS, caching, client_has, entity_tag, model_header, unless_gone
from service.api.deps import EngineDep, SamplerDep, SettingsDep
from service.api.errors import invalid
from service.api.generate import DRAWS
from service.api.schemas import GRID_RULES, MAX_FACES, FaceOptions, FieldError
from service.api.stills import draw_stills
from service.api.validation import as_sentence, emotion_error
from service.api.wish import check_model
from service.credentials import signed

router = APIRouter(tags=["faces"])

_MAX_SIDE: Final = 256  # pixels of one face
_PEOPLE: Final = ("0", "1", "2", "3")


class GridOptions(FaceOptions):
    """What a grid shows, as a query has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    emotions: Annotated[
        list[str],
        Field(
            default_factory=list,
            max_length=64,
            description=f"{GRID_RULES['emotions']}. All without it.",
        ),
    ]
    seeds: Annotated[
        list[str],
        Field(
            default_factory=list,
            max_length=MAX_FACES,
            description=f"{GRID_RULES['seeds']}. Without it {', '.join(_PEOPLE)}.",
        ),
    ]
    labels: Annotated[bool, Field(description=f"{GRID_RULES['labels']}.")] = False


_RESPONSES: dict[int | str, dict[str, Any]] = {
    **DRAWS,
    200: {
        "description": "The faces, each as GET /faces has it.",
        "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        "headers": {name: HEADERS[name] for name in ("X-Model", "ETag")},
    },
    304: {"description": "The client has this very picture: If-None-Match named its ETag."},
}


@router.head("/grid.png", include_in_schema=False)
@router.get(
    "/grid.png",
    response_class=Response,
    responses=_RESPONSES,
    summary="People in rows, emotions in columns",
    operation_id="grid",
)
async def grid(
    request: Request,
    options: Annotated[GridOptions, Query()],
    engine: EngineDep,
    sampler: SamplerDep,
    settings: SettingsDep,
) -> Response:
    """Answer with up to 256 faces in one picture, of at most 256 pixels a side each."""
    check_model(options.model, sampler, where="query")
    emotions = _listed(options.emotions, mixes=True) or list(sampler.emotions)
    seeds = _listed(options.seeds) or list(_PEOPLE)
    if options.size is not None and options.size > _MAX_SIDE:
        rule = f"at most {_MAX_SIDE} pixels in a grid"
        raise invalid([FieldError(parameter="size", detail=f"size must be {rule}.", allowed=rule)])
    if len(emotions) * len(seeds) > MAX_FACES:
        rule = f"at most {MAX_FACES} faces: emotions times seeds"
        raise invalid([FieldError(parameter="seeds", detail=f"A grid has {rule}.", allowed=rule)])
    faces = []
    for seed in seeds:
        for emotion in emotions:
            try:
                mix = EmotionMix.parse(read_mix(emotion), sampler.emotions)
            except EmotionError as error:
                raise invalid(
                    [emotion_error(error, emotion, sampler.emotions, where="query", name="emotions")]
                ) from None
            try:
                faces.append(FaceRequest(mix, seed, options.intensity, options.truncation))
            except ValueError as error:
                raise invalid([FieldError(parameter="seeds", detail=as_sentence(error))]) from None
    headers = {
        "ETag": entity_tag(sampler, ("grid", faces, len(seeds), options.size, options.labels)),
        "X-Model": model_header(sampler),
        "Cache-Control": caching(settings.face_max_age),
    }
    if client_has(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    charge(request, len(faces))
    stills = await unless_gone(request, draw_stills(engine, faces, options.size))
    content = await asyncio.to_thread(
        encode_grid, stills, emotions, seeds, labels=options.labels, text=describe_many(sampler)
    )
    content = await signed(request, content, "image/png")
    return Response(content, headers=headers, media_type="image/png")


def _listed(values: list[str], *, mixes: bool = False) -> list[str]:
    """Return what a query lists: several values as they are, one split at its commas; a mix has commas of its own."""
    if len(values) != 1 or (mixes and "=" in values[0]):
        return values
    return [part.strip() for part in values[0].split(",") if part.strip()]
