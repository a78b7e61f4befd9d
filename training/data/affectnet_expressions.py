"""AffectNet's expressions (Mollahosseini et al. 2017, arXiv:1708.03985, section 3.2) and our emotions."""

from __future__ import annotations

from typing import Final

from model.emotions import FERPLUS, UnknownEmotion, canonical_emotion

#: What the numbers 0 to 10 stand for: eight emotions, then three answers that are none.
EXPRESSIONS: Final = (
    "neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt", "none", "uncertain", "non-face",
)  # fmt: skip


def read_expression(text: str) -> str:
    """Return the one of ``EXPRESSIONS`` that a number or a name in any case means; ValueError says why not."""
    key = text.strip().lower()
    if key in EXPRESSIONS:
        return key
    if key.isascii() and key.isdecimal():
        if int(key) >= len(EXPRESSIONS):
            raise ValueError(f"expression {key[:20]} is not one of 0 to {len(EXPRESSIONS) - 1}")
        return EXPRESSIONS[int(key)]
    try:
        return canonical_emotion(key, FERPLUS)
    except UnknownEmotion:
        raise ValueError(f"{text.strip()[:20]!r} is not an expression of AffectNet") from None


def why_left_out(expression: str) -> str | None:
    """Return why a face with that one of ``EXPRESSIONS`` is left out, or None if it is an emotion."""
    return None if expression in FERPLUS else f"AffectNet: {expression}"


def label_of(emotion: str) -> list[float]:
    """Return the label ``[8]`` over ``FERPLUS``, one-hot."""
    return [float(name == emotion) for name in FERPLUS]
