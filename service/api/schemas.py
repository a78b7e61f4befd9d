"""What a request for a face may say. Validated here once; behind this door there is only ``FaceRequest``."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from model import EmotionMix, FaceRequest
from model.sampler import DEFAULT_TRUNCATION, MAX_INTENSITY, MAX_SEED, MAX_SEED_TEXT
from service.engine import Encoding, ImageFormat

MIN_SIZE: Final = 48
MAX_SIZE: Final = 1024

#: What each field must be. Said in the documentation and in every error alike.
RULES: Final[Mapping[str, str]] = {
    "emotion": 'a name, such as "happy", or a mix with weights, such as {"happy": 0.7, "surprise": 0.3}',
    "seed": f"a whole number from 0 to {MAX_SEED}, or a text of 1 to {MAX_SEED_TEXT} characters",
    "intensity": f"a number from 0 to {MAX_INTENSITY}",
    "truncation": "a number from 0 to 1",
    "size": f"a whole number of pixels from {MIN_SIZE} to {MAX_SIZE}",
    "format": "one of png, webp, jpeg",
}
WEIGHT_RULE: Final = "a finite number of at least 0"
FORMATS: Final[Sequence[str]] = get_args(ImageFormat)

# Names of a union's branches: pydantic puts them into an error's location, validation.py takes them out.
BRANCHES: Final = frozenset({"name", "mix", "number", "text"})


def _emotion_branch(value: object) -> str | None:
    return "name" if isinstance(value, str) else "mix" if isinstance(value, Mapping) else None


def _seed_branch(value: object) -> str | None:
    return "text" if isinstance(value, str) else "number" if type(value) is int else None


_Name = Annotated[str, Field(min_length=1, max_length=64)]
_Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Emotion = Annotated[
    Annotated[_Name, Tag("name")] | Annotated[dict[_Name, _Weight], Field(min_length=1, max_length=32), Tag("mix")],
    Discriminator(_emotion_branch),
]
_Seed = Annotated[
    Annotated[int, Field(ge=0, le=MAX_SEED), Tag("number")]
    | Annotated[str, Field(min_length=1, max_length=MAX_SEED_TEXT), Tag("text")],
    Discriminator(_seed_branch),
]


class GenerateRequest(BaseModel):
    """One face. Only `emotion` must be given."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    emotion: Annotated[_Emotion, Field(description=f"{RULES['emotion']}. GET /emotions lists the names.")]
    seed: Annotated[
        _Seed | None,
        Field(
            description=(
                f"Who it is: {RULES['seed']}. The same seed is the same person in every emotion. A text that "
                "is such a number means that number. Without a seed, one is drawn and told in X-Seed."
            )
        ),
    ] = None
    intensity: Annotated[
        float,
        Field(
            ge=0,
            le=MAX_INTENSITY,
            allow_inf_nan=False,
            description=f"{RULES['intensity']}: 0 is neutral, 1 the emotion, above 1 exaggerates.",
        ),
    ] = 1.0
    truncation: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            allow_inf_nan=False,
            description=f"{RULES['truncation']}: 0 is the average person, 1 the full variety of people.",
        ),
    ] = DEFAULT_TRUNCATION
    size: Annotated[
        Annotated[int, Field(ge=MIN_SIZE, le=MAX_SIZE)] | None,
        Field(description=f"{RULES['size']} a side (Lanczos); without it, the model's resolution."),
    ] = None
    format: Annotated[ImageFormat, Field(description=f"{RULES['format']}; PNG and WebP are lossless.")] = "png"

    def face(self, vocabulary: Sequence[str]) -> FaceRequest:
        """Convert to what the engine takes, with a seed drawn where none was given.

        Raises:
            EmotionError: ``vocabulary`` has no such emotion, or the mix sums to nothing.
        """
        mix = EmotionMix.parse(self.emotion, vocabulary)
        return FaceRequest(mix, _drawn() if self.seed is None else self.seed, self.intensity, self.truncation)

    @property
    def encoding(self) -> Encoding:
        """How the face is to be written."""
        return Encoding(self.size, self.format)


def _drawn() -> int:
    # Below 2**53, so that a client whose numbers are doubles (JavaScript) can send it back.
    return secrets.randbelow(2**53)


#: The documentation's examples, the first of which is one click away from a face.
EXAMPLES: Final[dict[str, Any]] = {
    "a happy face": {"value": {"emotion": "happy", "seed": 2, "size": 256}},
    "a mix": {
        "value": {"emotion": {"happy": 0.7, "surprise": 0.3}, "seed": 2, "intensity": 1.2, "size": 256},
    },
    "the face of a name": {"value": {"emotion": "sad", "seed": "Ada Lovelace", "size": 256, "format": "webp"}},
    "anybody": {"value": {"emotion": "neutral"}},
}


class KnownEmotion(BaseModel):
    """An emotion, what else it is called, and whether the loaded weights can draw it."""

    name: str
    aliases: list[str]
    known: Annotated[bool, Field(description="Whether the loaded weights can draw it.")]


class Emotions(BaseModel):
    """The vocabulary."""

    model: Annotated[str, Field(description="The loaded weights, as in X-Model.")]
    emotions: list[KnownEmotion]


class Health(BaseModel):
    """The process answers."""

    status: Annotated[str, Field(examples=["alive"])]


class Ready(BaseModel):
    """Faces can be asked for."""

    status: Annotated[str, Field(examples=["ready"])]
    model: str
    device: str


class FieldError(BaseModel):
    """One thing that is wrong with the request's body."""

    pointer: Annotated[str, Field(description="JSON Pointer (RFC 6901) into the body, as a URI fragment.")]
    detail: Annotated[str, Field(description="One sentence that says what is wrong.")]
    allowed: Annotated[
        str | list[str] | None, Field(description="The names that are allowed, or the rule in words.")
    ] = None


class ProblemDetails(BaseModel):
    """RFC 9457. ``type`` is always ``about:blank``: the status says what kind of problem it is."""

    model_config = ConfigDict(title="Problem")

    type: str = "about:blank"
    title: Annotated[str, Field(description="The status in words.")]
    status: int
    detail: Annotated[str, Field(description="What went wrong here, and what to do about it.")]
    errors: Annotated[list[FieldError] | None, Field(description="With 422: every wrong field.")] = None
