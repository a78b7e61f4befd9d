"""POST /morph: one person whose face moves from one emotion to the next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from model import EmotionError, EmotionMix, FaceRequest
from model.animate import ANIMATED, encode_animation, plan_frames
from model.provenance import describe_many
from model.sampler import DEFAULT_TRUNCATION
from model.seeds import drawn_seed
from service.access.gate import charge
from service.api.answer import HEADERS, model_header, seed_header, unless_gone
from service.api.deps import EngineDep, SamplerDep, json_only
from service.api.errors import invalid
from service.api.generate import DRAWS, READS_JSON
from service.api.schemas import (
    MAX_FACES,
    MIN_SIZE,
    MORPH_RULES,
    Emotion,
    FieldError,
    Intensity,
    Model,
    Seed,
    Truncation,
)
from service.api.stills import draw_stills
from service.api.validation import emotion_error
from service.api.wish import check_model
from service.credentials import signed

router = APIRouter(tags=["faces"])

_MAX_SIDE: Final = 512  # pixels


class KeyFrame(BaseModel):
    """What the face shows at one moment."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    emotion: Annotated[Emotion, Field(description=f"{MORPH_RULES['emotion']}.")]
    intensity: Intensity = 1.0


class MorphRequest(BaseModel):
    """A person and what their face shows, one after the other."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    keyframes: Annotated[list[KeyFrame], Field(min_length=2, max_length=16, description=f"{MORPH_RULES['keyframes']}.")]
    seed: Annotated[
        Seed | None, Field(description=f"Who it is: {MORPH_RULES['seed']}. Without one it is drawn and told in X-Seed.")
    ] = None
    frames: Annotated[int, Field(ge=1, le=60, description=f"{MORPH_RULES['frames']}.")] = 12
    fps: Annotated[int, Field(ge=1, le=50, description=f"{MORPH_RULES['fps']}.")] = 12
    closed: Annotated[bool, Field(description=f"{MORPH_RULES['closed']}.")] = False
    truncation: Truncation = DEFAULT_TRUNCATION
    size: Annotated[
        int | None, Field(ge=MIN_SIZE, le=_MAX_SIDE, description=f"a whole number from {MIN_SIZE} to {_MAX_SIDE}")
    ] = None
    format: Annotated[Literal["webp", "apng", "gif"], Field(description=f"{MORPH_RULES['format']}.")] = "webp"
    model: Model = None

    def stills(self, vocabulary: Sequence[str], seed: int | str) -> list[FaceRequest]:
        """Return the frames, each a face that anybody may ask for; a key frame is one of them.

        Raises:
            EmotionError: ``vocabulary`` has no such emotion.
        """
        keys = [(EmotionMix.parse(key.emotion, vocabulary), key.intensity) for key in self.keyframes]
        moments = plan_frames(keys, self.frames, closed=self.closed, vocabulary=vocabulary)
        return [FaceRequest(mix, seed, intensity, self.truncation) for mix, intensity in moments]


_RESPONSES: dict[int | str, dict[str, Any]] = {
    **DRAWS,
    200: {
        "description": "The animation; its frames are the pixels of the very stills.",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in ANIMATED.values()},
        "headers": {
            **{name: HEADERS[name] for name in ("X-Seed", "X-Model", "Content-Disposition")},
            "X-Frames": {"description": "How many there are.", "schema": {"type": "string"}, "example": "13"},
        },
    },
    **READS_JSON,
}
_EXAMPLE = {"seed": 4, "keyframes": [{"emotion": "neutral"}, {"emotion": "happy"}], "closed": True, "size": 192}


@router.post(
    "/morph",
    response_class=Response,
    responses=_RESPONSES,
    dependencies=[Depends(json_only)],
    summary="A face that moves from emotion to emotion",
    operation_id="morph",
)
async def morph(
    request: Request,
    wish: Annotated[MorphRequest, Body(openapi_examples={"a smile that comes and goes": {"value": _EXAMPLE}})],
    engine: EngineDep,
    sampler: SamplerDep,
) -> Response:
    """Answer with an animation of at most 256 frames; the same request gets the same bytes."""
    check_model(wish.model, sampler)
    try:
        faces = wish.stills(sampler.emotions, drawn_seed() if wish.seed is None else wish.seed)
    except EmotionError as error:
        raise invalid([emotion_error(error, "", sampler.emotions, name="keyframes")]) from None
    if len(faces) > MAX_FACES:
        rule = f"at most {MAX_FACES} frames, all together"
        raise invalid([FieldError(pointer="#/frames", detail=f"An animation has {rule}.", allowed=rule)])
    charge(request, len(faces))
    stills = await unless_gone(request, draw_stills(engine, faces, wish.size))
    content = await asyncio.to_thread(
        encode_animation, stills, wish.format, round(1000 / wish.fps), text=describe_many(sampler)
    )
    headers = {
        "X-Seed": seed_header(faces[0]),
        "X-Model": model_header(sampler),
        "X-Frames": str(len(faces)),
        "Content-Disposition": f'inline; filename="morph.{wish.format}"',
    }
    content = await signed(request, content, ANIMATED[wish.format])
    return Response(content, headers=headers, media_type=ANIMATED[wish.format])
