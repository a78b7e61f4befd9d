"""POST /v1/images/generations: faces for clients that speak OpenAI's Images API.

The prompt is an emotion, a mix, or words among which one emotion is named ("a surprised face"). What a client of a
painter would choose beside it (quality, style, background...) has no meaning here and is taken without effect, so that
clients that always send it work; ``seed``, ``intensity`` and ``truncation`` are ours (``extra_body`` in the official
Python client).
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, cast
from urllib.parse import quote

from fastapi import APIRouter, Body, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from model import EmotionError, EmotionMix, FaceRequest
from model.emotions import ALIASES, read_mix
from model.encode import FORMATS
from model.sampler import DEFAULT_TRUNCATION
from model.seeds import drawn_seed
from service.access.gate import charge
from service.api.answer import model_header, unless_gone
from service.api.deps import EngineDep, SamplerDep, json_only
from service.api.errors import invalid
from service.api.generate import DRAWS, READS_JSON
from service.api.schemas import (
    MAX_SIZE,
    MIN_SIZE,
    OPENAI_RULES,
    FieldError,
    Intensity,
    Model,
    Seed,
    Truncation,
)
from service.api.stills import draw_all
from service.api.validation import emotion_error
from service.api.wish import check_model
from service.credentials import signed
from service.engine import Encoding, ImageFormat

router = APIRouter(tags=["OpenAI"])

_THEIRS: Final = ("dall-e", "gpt-image")  # names of theirs, fixed in many a program, mean what is loaded
_DEFAULT: Final = 256  # pixels a side, where none is asked for, or "auto"


class ImagesRequest(BaseModel):
    """What OpenAI's clients send."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    prompt: Annotated[str, Field(min_length=1, max_length=4000, description=f"{OPENAI_RULES['prompt']}.")]
    model: Model = None
    n: Annotated[int | None, Field(ge=1, le=10, description=f"{OPENAI_RULES['n']}.")] = 1
    size: Annotated[str | None, Field(max_length=16, description=f"{OPENAI_RULES['size']}.")] = None
    response_format: Annotated[
        Literal["url", "b64_json"] | None, Field(description=f"{OPENAI_RULES['response_format']}.")
    ] = None
    output_format: Annotated[
        Literal["png", "webp", "jpeg"] | None, Field(description=f"{OPENAI_RULES['output_format']}.")
    ] = None
    user: Annotated[str | None, Field(max_length=256, description="Taken without effect, as all that is unknown.")] = (
        None
    )
    seed: Annotated[
        Seed | None, Field(description=f"Who the first one is: {OPENAI_RULES['seed']}; the others are drawn.")
    ] = None
    intensity: Intensity = 1.0
    truncation: Truncation = DEFAULT_TRUNCATION


class Image(BaseModel):
    """A face."""

    b64_json: Annotated[str | None, Field(description="The file, base64.")] = None
    url: Annotated[str | None, Field(description="The face's address at this service.")] = None
    revised_prompt: Annotated[str, Field(description="The emotion that was drawn, and the seed.")]


class Images(BaseModel):
    """What OpenAI's clients read."""

    created: Annotated[int, Field(description="Seconds since 1970.")]
    output_format: str
    size: str
    data: list[Image]


_RESPONSES: dict[int | str, dict[str, Any]] = {
    **{status: DRAWS[status] for status in (422, 500, 503)},
    **READS_JSON,
}


@router.post(
    "/v1/images/generations",
    response_model_exclude_none=True,
    responses=_RESPONSES,
    dependencies=[Depends(json_only)],
    summary="Faces in the shape of OpenAI's Images API",
    operation_id="images_generations",
)
async def images_generations(
    request: Request,
    wish: Annotated[ImagesRequest, Body(openapi_examples={"two": {"value": {"prompt": "a surprised face", "n": 2}}})],
    engine: EngineDep,
    sampler: SamplerDep,
    response: Response,
) -> Images:
    """Answer with faces of the emotion that the prompt names, each of another person."""
    if not (wish.model or "").startswith(_THEIRS):
        check_model(wish.model, sampler)
    try:
        mix = EmotionMix.parse(read_mix(named_emotion(wish.prompt, sampler.emotions)), sampler.emotions)
    except EmotionError as error:
        raise invalid([emotion_error(error, wish.prompt, sampler.emotions, name="prompt")]) from None
    size = _side(wish.size)
    form = cast(ImageFormat, wish.output_format or "png")
    seeds = [drawn_seed() if wish.seed is None else wish.seed, *(drawn_seed() for _ in range((wish.n or 1) - 1))]
    faces = [FaceRequest(mix, seed, wish.intensity, wish.truncation) for seed in seeds]
    files: list[bytes] = []
    if wish.response_format != "url":
        charge(request, len(faces))
        drawn = await unless_gone(request, draw_all(engine, faces, Encoding(size, form)))
        files = [await signed(request, file, FORMATS[form]) for file in drawn]
    response.headers["X-Model"] = model_header(sampler)
    return Images(
        created=int(time.time()),
        output_format=form,
        size=f"{size}x{size}",
        data=[
            Image(
                b64_json=base64.b64encode(files[k]).decode() if files else None,
                url=None if files else _address(request, face, size, form),
                revised_prompt=f"{face.mix}, seed {face.seed}",
            )
            for k, face in enumerate(faces)
        ],
    )


def named_emotion(prompt: str, vocabulary: Sequence[str]) -> str:
    """Return the emotion, or the mix, that a prompt is or names.

    Raises:
        EmotionError: it names none, or several; one sentence.
    """
    if "=" in prompt or prompt.strip().lower() in {*vocabulary, *ALIASES}:
        return prompt
    words: list[str] = re.findall(r"[^\W\d_]+", prompt.lower())
    found = dict.fromkeys(
        word if word in vocabulary else ALIASES[word] for word in words if word in {*vocabulary, *ALIASES}
    )
    if len(found) == 1:
        return next(iter(found))
    if found:
        raise EmotionError(f"the prompt names several emotions, {', '.join(found)}: mix them as {'=1,'.join(found)}=1.")
    raise EmotionError(f"the prompt names no emotion that is known: {', '.join(vocabulary)}.")


def _side(size: str | None) -> int:
    if size in (None, "auto"):
        return _DEFAULT
    match = re.fullmatch(r"([0-9]{2,4})x([0-9]{2,4})", str(size))
    if match is None or match[1] != match[2] or not MIN_SIZE <= int(match[1]) <= MAX_SIZE:
        rule = OPENAI_RULES["size"]
        raise invalid([FieldError(pointer="#/size", detail=f"size must be {rule}.", allowed=rule)])
    return int(match[1])


def _address(request: Request, face: FaceRequest, size: int, form: str) -> str:
    emotion, seed = quote(str(face.mix), safe="=,"), quote(str(face.seed), safe="")
    query = f"size={size}&intensity={face.intensity}&truncation={face.truncation}"
    return f"{request.base_url}faces/{emotion}/{seed}.{form}?{query}"
