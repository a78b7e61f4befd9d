"""What a request for a face may say. Validated here once; behind this door there is only ``FaceRequest``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from model import EmotionMix, FaceRequest
from model.sampler import DEFAULT_TRUNCATION, MAX_INTENSITY
from model.seeds import MAX_SEED, MAX_SEED_TEXT, drawn_seed
from service.engine import Encoding, ImageFormat

MIN_SIZE: Final = 48
MAX_SIZE: Final = 1024
MAX_FACES: Final = 256  # of a batch

#: What each field must be. Said in the documentation and in every error alike.
RULES: Final[Mapping[str, str]] = {
    "emotion": 'a name, such as "happy", or a mix with weights, such as {"happy": 0.7, "surprise": 0.3}',
    "seed": f"a whole number from 0 to {MAX_SEED}, or a text of 1 to {MAX_SEED_TEXT} characters",
    "intensity": f"a number from 0 to {MAX_INTENSITY}",
    "truncation": "a number from 0 to 1",
    "size": f"a whole number of pixels from {MIN_SIZE} to {MAX_SIZE}",
    "format": "one of png, webp, jpeg, avif",
    "model": "the name of the loaded weights, or that name with the start of their hash, as GET /models tells them",
}
BATCH_RULES: Final[Mapping[str, str]] = {
    "requests": f"a list of 1 to {MAX_FACES} requests, each an object as for POST /generate",
    "output": "one of zip, json, ndjson",
}
GRID_RULES: Final[Mapping[str, str]] = {
    "emotions": "names or mixes; several with commas between them, or as several parameters",
    "seeds": f"1 to {MAX_FACES} seeds with commas between them, or as several parameters",
    "labels": "true or false, whether emotions are written above and seeds beside the faces",
    **{name: RULES[name] for name in ("intensity", "truncation", "size", "model")},
}
MORPH_RULES: Final[Mapping[str, str]] = {
    "keyframes": "a list of 2 to 16 objects with an emotion and, if it is not 1, an intensity",
    "frames": "a whole number from 1 to 60, of frames from one key frame to the next",
    "fps": "a whole number from 1 to 50, of frames a second",
    "closed": "true or false, whether it leads from the last key frame back to the first",
    "format": "one of webp, apng, gif",
    **{name: RULES[name] for name in ("emotion", "seed", "intensity", "truncation", "size", "model")},
}
OPENAI_RULES: Final[Mapping[str, str]] = {
    "prompt": 'an emotion ("happy"), a mix ("happy=0.7,surprise=0.3"), or words that name one ("a surprised face")',
    "n": "a whole number of faces from 1 to 10",
    "size": f'"auto" (256x256), or a square from "{MIN_SIZE}x{MIN_SIZE}" to "{MAX_SIZE}x{MAX_SIZE}"',
    "response_format": "b64_json (the files, the default) or url (their addresses at this service)",
    "output_format": "png, webp or jpeg",
    "user": "a text of at most 256 characters",
    **{name: RULES[name] for name in ("seed", "intensity", "truncation", "model")},
}
#: Rules of requests that are no single face, by address.
RULES_OF: Final[Mapping[str, Mapping[str, str]]] = {
    "/generate/batch": BATCH_RULES,
    "/grid.png": GRID_RULES,
    "/morph": MORPH_RULES,
    "/v1/images/generations": OPENAI_RULES,
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
Emotion = Annotated[
    Annotated[_Name, Tag("name")] | Annotated[dict[_Name, _Weight], Field(min_length=1, max_length=32), Tag("mix")],
    Discriminator(_emotion_branch),
]
Seed = Annotated[
    Annotated[int, Field(ge=0, le=MAX_SEED), Tag("number")]
    | Annotated[str, Field(min_length=1, max_length=MAX_SEED_TEXT), Tag("text")],
    Discriminator(_seed_branch),
]


Intensity = Annotated[
    float,
    Field(
        ge=0,
        le=MAX_INTENSITY,
        allow_inf_nan=False,
        description=f"{RULES['intensity']}: 0 is neutral, 1 the emotion, above 1 exaggerates.",
    ),
]
Truncation = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        allow_inf_nan=False,
        description=f"{RULES['truncation']}: 0 is the average person, 1 the full variety of people.",
    ),
]
_Size = Annotated[
    Annotated[int, Field(ge=MIN_SIZE, le=MAX_SIZE)] | None,
    Field(description=f"{RULES['size']} a side (Lanczos); without it, the model's resolution."),
]
Model = Annotated[
    Annotated[str, Field(min_length=1, max_length=256)] | None,
    Field(description=f"{RULES['model']}: refuses to draw with any other."),
]


class FaceOptions(BaseModel):
    """What a face has beside emotion, seed and format, as a query has it: numbers are texts there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    intensity: Intensity = 1.0
    truncation: Truncation = DEFAULT_TRUNCATION
    size: _Size = None
    model: Model = None


class GenerateRequest(BaseModel):
    """One face. Only `emotion` must be given."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    emotion: Annotated[Emotion, Field(description=f"{RULES['emotion']}. GET /emotions lists the names.")]
    seed: Annotated[
        Seed | None,
        Field(
            description=(
                f"Who it is: {RULES['seed']}. The same seed is the same person in every emotion. A text that "
                "is such a number means that number. Without a seed, one is drawn and told in X-Seed."
            )
        ),
    ] = None
    intensity: Intensity = 1.0
    truncation: Truncation = DEFAULT_TRUNCATION
    size: _Size = None
    format: Annotated[
        ImageFormat | None,
        Field(
            description=(
                f"{RULES['format']}; PNG and WebP are lossless. Without it the Accept header decides, and where that "
                "leaves the choice it is PNG."
            )
        ),
    ] = None
    model: Model = None

    def face(self, vocabulary: Sequence[str]) -> FaceRequest:
        """Convert to what the engine takes, with a seed drawn where none was given.

        Raises:
            EmotionError: ``vocabulary`` has no such emotion, or the mix sums to nothing.
        """
        mix = EmotionMix.parse(self.emotion, vocabulary)
        return FaceRequest(mix, drawn_seed() if self.seed is None else self.seed, self.intensity, self.truncation)

    def encoding(self, accepted: ImageFormat) -> Encoding:
        """Return how the face is to be written: as asked, or in the format that is ``accepted``."""
        return Encoding(self.size, self.format or accepted)


#: The documentation's examples, the first of which is one click away from a face.
EXAMPLES: Final[dict[str, Any]] = {
    "a happy face": {"value": {"emotion": "happy", "seed": 4, "size": 256}},
    "a mix": {
        "value": {"emotion": {"happy": 0.7, "surprise": 0.3}, "seed": 4, "intensity": 1.2, "size": 256},
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
    """One thing that is wrong with the request: its body's ``pointer`` or its address's ``parameter``."""

    pointer: Annotated[str | None, Field(description="JSON Pointer (RFC 6901) into the body, as a URI fragment.")] = (
        None
    )
    parameter: Annotated[str | None, Field(description="Name of the part of the path, or of the query.")] = None
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
    error: Annotated[
        dict[str, str] | None, Field(description="Under /v1 alone: message and type, as OpenAI's clients read them.")
    ] = None
