"""Pydantic's errors as sentences that name the field and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from model import EmotionError, UnknownEmotion
from service.api.schemas import BRANCHES, FORMATS, RULES, WEIGHT_RULE, FieldError

#: More than this many wrong fields are not reported: a mix may have thousands.
_MOST: Final = 20


def field_errors(errors: Sequence[Mapping[str, Any]]) -> list[FieldError]:
    """Translate what pydantic found wrong with a body of :class:`~service.api.schemas.GenerateRequest`."""
    return [_field_error(error) for error in errors[:_MOST]]


def emotion_error(error: EmotionError, emotion: str | Mapping[str, float], vocabulary: Sequence[str]) -> FieldError:
    """Translate what the model found wrong with an emotion."""
    sentence = str(error)
    inside = isinstance(error, UnknownEmotion) and not isinstance(emotion, str)
    path = ("emotion", error.name) if inside and isinstance(error, UnknownEmotion) else ("emotion",)
    return FieldError(pointer=_pointer(path), detail=sentence[:1].upper() + sentence[1:], allowed=list(vocabulary))


def _field_error(error: Mapping[str, Any]) -> FieldError:
    kind, path = str(error["type"]), _path(error["loc"])
    if kind == "json_invalid":
        reason = str(error["ctx"]["error"])
        return FieldError(
            pointer="#",
            detail=f"The body is not JSON: {reason}, at character {error['loc'][-1]}.",
            allowed="a JSON object",
        )
    if not path:
        return FieldError(pointer="#", detail="The body must be a JSON object with known fields.", allowed=list(RULES))
    field, pointer = str(path[0]), _pointer(path)
    if kind == "extra_forbidden":
        return FieldError(
            pointer=pointer,
            detail=f"Unknown field {field[:40]!r}{_guess(field, RULES)}.",
            allowed=list(RULES),
        )
    if kind == "missing":
        return FieldError(
            pointer=pointer, detail=f"{field} is missing: it must be {RULES[field]}.", allowed=RULES[field]
        )
    if field == "emotion" and len(path) > 1 and path[-1] != "[key]":
        return FieldError(
            pointer=pointer,
            detail=f"The weight of {str(path[1])[:40]!r} must be {WEIGHT_RULE}.",
            allowed=WEIGHT_RULE,
        )
    if field == "format":
        hint = _guess(error["input"], FORMATS) if isinstance(error["input"], str) else ""
        return FieldError(pointer=pointer, detail=f"format must be {RULES[field]}{hint}.", allowed=list(FORMATS))
    return FieldError(pointer=_pointer(path[:1]), detail=f"{field} must be {RULES[field]}.", allowed=RULES[field])


def _path(loc: Sequence[str | int]) -> tuple[str | int, ...]:
    """Drop ``body`` and the branch of a union, which always follows the field's name."""
    path = tuple(loc[1:])
    return path[:1] + path[2:] if len(path) > 1 and path[1] in BRANCHES else path


def _pointer(path: Sequence[str | int]) -> str:
    tokens = (str(token)[:64].replace("~", "~0").replace("/", "~1") for token in path)
    return "#" + "".join("/" + quote(token, errors="replace") for token in tokens)


def _guess(name: str, known: Sequence[str] | Mapping[str, str]) -> str:
    close = difflib.get_close_matches(name[:64].lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
