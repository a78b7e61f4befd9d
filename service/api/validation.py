"""Pydantic's errors as sentences that name the field and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from model import EmotionError, UnknownEmotion
from model.encode import SUFFIXES
from service.api.schemas import BRANCHES, FORMATS, RULES, WEIGHT_RULE, FaceOptions, FieldError

#: More than this many wrong fields are not reported: a mix may have thousands.
_MOST: Final = 20


def field_errors(errors: Sequence[Mapping[str, Any]], rules: Mapping[str, str] = RULES) -> list[FieldError]:
    """Translate what pydantic found wrong with a request, with its body, path or query; ``rules`` are its fields'."""
    return [_field_error(error, rules) for error in errors[:_MOST]]


def emotion_error(
    error: EmotionError,
    emotion: str | Mapping[str, float],
    vocabulary: Sequence[str],
    *,
    where: str = "body",
    name: str = "emotion",
) -> FieldError:
    """Translate what the model found wrong with an emotion that stood in the ``body``, ``path`` or ``query``."""
    inside = isinstance(error, UnknownEmotion) and not isinstance(emotion, str)
    path = (name, error.name) if inside and isinstance(error, UnknownEmotion) else (name,)
    return FieldError(**_place(where, path), detail=as_sentence(error), allowed=list(vocabulary))


def as_sentence(error: Exception) -> str:
    """Return what an error of ours says, as a sentence of its own."""
    text = str(error)
    return text[:1].upper() + text[1:]


def model_error(model: str, name: str, tag: str, *, where: str = "body") -> FieldError:
    """Say that the weights that were asked for are not those that are loaded, of this ``name`` and ``tag``."""
    detail = f"No weights called {model[:80]!r} are loaded; {tag} are."
    return FieldError(**_place(where, ("model",)), detail=detail, allowed=[name, tag])


def _field_error(error: Mapping[str, Any], rules: Mapping[str, str]) -> FieldError:
    kind, where, path = str(error["type"]), str(error["loc"][0]), _path(error["loc"])
    if kind == "json_invalid":
        reason = str(error["ctx"]["error"])
        return FieldError(
            pointer="#",
            detail=f"The body is not JSON: {reason}, at character {error['loc'][-1]}.",
            allowed="a JSON object",
        )
    if not path:
        return FieldError(pointer="#", detail="The body must be a JSON object with known fields.", allowed=list(rules))
    field = str(path[0])
    if kind == "extra_forbidden":
        known = list(FaceOptions.model_fields if where != "body" and rules is RULES else rules)
        noun = "field" if where == "body" else "parameter"
        return FieldError(
            **_place(where, path), detail=f"Unknown {noun} {field[:40]!r}{_guess(field, known)}.", allowed=known
        )
    if kind == "missing":
        return FieldError(
            **_place(where, path), detail=f"{field} is missing: it must be {rules[field]}.", allowed=rules[field]
        )
    if field == "emotion" and len(path) > 1 and path[-1] != "[key]":
        return FieldError(
            **_place(where, path),
            detail=f"The weight of {str(path[1])[:40]!r} must be {WEIGHT_RULE}.",
            allowed=WEIGHT_RULE,
        )
    if field == "format" and rules is RULES:
        formats = FORMATS if where == "body" else list(SUFFIXES)
        hint = _guess(error["input"], formats) if isinstance(error["input"], str) else ""
        return FieldError(
            **_place(where, path), detail=f"format must be one of {', '.join(formats)}{hint}.", allowed=list(formats)
        )
    return FieldError(**_place(where, path[:1]), detail=f"{field} must be {rules[field]}.", allowed=rules[field])


def _path(loc: Sequence[str | int]) -> tuple[str | int, ...]:
    """Drop where it stands and the branch of a union, which always follows the field's name."""
    path = tuple(loc[1:])
    return path[:1] + path[2:] if len(path) > 1 and path[1] in BRANCHES else path


def _place(where: str, path: Sequence[str | int]) -> dict[str, str]:
    """Name a place in the body by a JSON Pointer, one in the address by its parameter."""
    if where != "body":
        return {"parameter": str(path[0])[:64]}
    tokens = (str(token)[:64].replace("~", "~0").replace("/", "~1") for token in path)
    return {"pointer": "#" + "".join("/" + quote(token, errors="replace") for token in tokens)}


def _guess(name: str, known: Sequence[str] | Mapping[str, str]) -> str:
    close = difflib.get_close_matches(name[:64].lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
