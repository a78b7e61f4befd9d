"""Everything that can be asked of the service: the request, and how its answer is read. No network here."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any, Final, Generic, Literal, NotRequired, Required, TypedDict, TypeVar
from urllib.parse import unquote

import httpx

from emoface.client.answers import Animation, Emotion, Face, Model, Verdict
from emoface.client.errors import ProblemError, problem_error
from model.seeds import canonical_seed, drawn_seed

T = TypeVar("T")

#: An emotion's name, or a mix of several with their weights.
Mix = str | Mapping[str, float]
_FORMATS: Final = {
    "image/png": "png",
    "image/webp": "webp",
    "image/jpeg": "jpeg",
    "image/avif": "avif",
    "image/apng": "apng",
    "image/gif": "gif",
}


class FaceOptions(TypedDict, total=False):
    """What a face has beside its emotion; what is left out is the service's default, and the seed is drawn."""

    seed: int | str  # 0..2^63-1, or a text of 1 to 256 characters
    intensity: float  # 0 (neutral)..1 (the emotion)..1.5
    truncation: float  # 0 (the average person)..1 (the full variety)
    size: int  # pixels a side, 48..1024
    format: Literal["png", "webp", "jpeg", "avif"]
    model: str  # name or tag of the weights: no others will draw


class Wish(FaceOptions):
    """One face of a batch."""

    emotion: Required[Mix]


class KeyFrame(TypedDict):
    """What a face that moves shows at one moment."""

    emotion: Mix
    intensity: NotRequired[float]


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and what its answer means. It may be sent again: seeds are drawn here, so it asks for the same."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]  # of a successful answer; KeyError, TypeError or ValueError: it is none of ours
    json: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def generate(emotion: Mix, options: FaceOptions) -> Call[Face]:
    """Ask for a face."""
    return Call("POST", "/generate", _read_face, _seeded({"emotion": _plain(emotion), **options}), headers=_ANY)


def batch(wishes: Sequence[Wish]) -> Call[list[Face | ProblemError]]:
    """Ask for many faces; each fails alone."""
    requests = [_seeded({**wish, "emotion": _plain(wish["emotion"])}) for wish in wishes]
    return Call("POST", "/generate/batch", _read_batch, {"requests": requests, "output": "json"})


def morph(keyframes: Sequence[Mix | KeyFrame], options: Mapping[str, Any]) -> Call[Animation]:
    """Ask for a face that moves; ``options`` of None are left out."""
    keys = [_key(key) for key in keyframes]
    given = {name: value for name, value in options.items() if value is not None}
    return Call("POST", "/morph", _read_animation, _seeded({"keyframes": keys, **given}))


def emotions() -> Call[list[Emotion]]:
    """Ask for the vocabulary."""

    def read(response: httpx.Response) -> list[Emotion]:
        found = response.json()["emotions"]
        return [Emotion(str(one["name"]), tuple(one["aliases"]), bool(one["known"])) for one in found]

    return Call("GET", "/emotions", read)


def models() -> Call[list[Model]]:
    """Ask for the loaded weights."""

    def read(response: httpx.Response) -> list[Model]:
        return [_made(Model, {**one, "emotions": tuple(one["emotions"])}) for one in response.json()["models"]]

    return Call("GET", "/models", read)


def verify(picture: bytes | str | PathLike[str]) -> Call[Verdict]:
    """Ask whether a picture, its bytes or its file, came from these weights.

    Raises:
        OSError: the file cannot be read.
    """
    content = picture if isinstance(picture, bytes) else Path(picture).read_bytes()

    def read(response: httpx.Response) -> Verdict:
        found = response.json()
        return _made(Verdict, {**found, "size": tuple(found["size"])})

    return Call("POST", "/verify", read, content=content, headers={"Content-Type": "application/octet-stream"})


# Any picture, and PNG where no format is named: what the service gives to whoever does not say.
_ANY: Final = {"Accept": "*/*"}


def _plain(emotion: Mix) -> str | dict[str, float]:
    return emotion if isinstance(emotion, str) else dict(emotion)


def _key(key: Mix | KeyFrame) -> dict[str, Any]:
    if isinstance(key, Mapping) and "emotion" in key:
        return dict(key)
    return {"emotion": key if isinstance(key, str) else dict(key)}


def _seeded(body: dict[str, Any]) -> dict[str, Any]:
    return body if body.get("seed") is not None else {**body, "seed": drawn_seed()}


def _made(kind: type[T], found: Mapping[str, Any]) -> T:
    """Make a dataclass of what was answered; what a newer service says besides is left out."""
    return kind(**{one.name: found[one.name] for one in fields(kind)})  # type: ignore[arg-type]


def _who(response: httpx.Response) -> tuple[int | str, str, str]:
    """Return seed, model and format of an answer with a picture."""
    headers = response.headers
    kind = headers["content-type"].partition(";")[0].strip().lower()
    return canonical_seed(unquote(headers["x-seed"])), unquote(headers["x-model"]), _FORMATS[kind]


def _read_face(response: httpx.Response) -> Face:
    return Face(response.content, *_who(response))


def _read_animation(response: httpx.Response) -> Animation:
    return Animation(response.content, *_who(response), frames=int(response.headers["x-frames"]))


def _read_batch(response: httpx.Response) -> list[Face | ProblemError]:
    body = response.json()
    return [_read_outcome(one, str(body["model"])) for one in body["faces"]]


def _read_outcome(one: Mapping[str, Any], model: str) -> Face | ProblemError:
    if one["status"] != 200:
        return problem_error(int(one["status"]), one.get("problem") or {})
    return Face(base64.b64decode(one["image"]), canonical_seed(one["seed"]), model, str(one["format"]))
