"""The vocabulary of emotions, its aliases, and the mix of them that conditions a face.

The condition is a *soft* vector over the vocabulary that sums to 1: one-hot is a special case, the crowd votes of
FER+ train it (Barsoum et al. 2016, section 3), and ``{"happy": 0.7, "surprise": 0.3}`` asks for it.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Class order of FER-2013's labels 0..6 (Goodfellow et al. 2013, "Challenges in Representation Learning").
FER2013: Final = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

#: FER-2013's classes and the one that FER+ added.
FERPLUS: Final = (*FER2013, "contempt")

#: The point from which intensity is measured.
NEUTRAL: Final = "neutral"

#: Other names that data sets and people use. Keys are lower case.
ALIASES: Final[Mapping[str, str]] = {
    "anger": "angry",
    "annoyed": "angry",
    "mad": "angry",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "scared": "fear",
    "joy": "happy",
    "happiness": "happy",
    "joyful": "happy",
    "sadness": "sad",
    "unhappy": "sad",
    "surprised": "surprise",
    "contemptuous": "contempt",
    "calm": "neutral",
}


class EmotionError(ValueError):
    """An emotion or a mix of emotions that cannot be drawn; its text is one sentence for the user."""


class UnknownEmotion(EmotionError):
    """A name that is neither in the vocabulary nor an alias of something in it."""

    def __init__(self, name: str, allowed: Sequence[str]) -> None:
        self.name = name
        self.allowed = tuple(allowed)
        known = {alias: canonical for alias, canonical in ALIASES.items() if canonical in self.allowed}
        candidates = [*self.allowed, *known]
        close = difflib.get_close_matches(name.strip().lower(), candidates, n=1, cutoff=0.6)
        self.suggestion: str | None = known.get(close[0], close[0]) if close else None
        hint = f"; did you mean {self.suggestion!r}?" if self.suggestion else "."
        super().__init__(f"unknown emotion {name[:40]!r}{hint} Known: {', '.join(self.allowed)}.")


def canonical_emotion(name: str, vocabulary: Sequence[str]) -> str:
    """Return the vocabulary's own name for ``name`` (any case, surrounding blanks, alias).

    Raises:
        UnknownEmotion: nothing in ``vocabulary`` is called so.
    """
    key = name.strip().lower()
    if key not in vocabulary:  # a vocabulary's own names come first: somebody's weights may be called by our aliases
        key = ALIASES.get(key, key)
    if key not in vocabulary:
        raise UnknownEmotion(name, vocabulary)
    return key


def aliases_of(name: str) -> list[str]:
    """Return the other names of an emotion, in alphabetical order; none if it is not FER+'s."""
    return sorted(alias for alias, meaning in ALIASES.items() if meaning == name)


def read_mix(text: str) -> str | dict[str, float]:
    """Read ``happy`` or ``happy=0.7,surprise=0.3``, as :class:`EmotionMix` writes itself, for :meth:`EmotionMix.parse`.

    Raises:
        EmotionError: a part is no name with a weight; one sentence.
    """
    if "=" not in text:
        return text
    mix: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = part.partition("=")
        try:
            mix[name.strip()] = mix.get(name.strip(), 0.0) + float(weight)
        except ValueError:
            raise EmotionError(
                f"{part[:40]!r} is no emotion=weight; write a mix like happy=0.7,surprise=0.3."
            ) from None
    return mix


@dataclass(frozen=True, slots=True)
class EmotionMix:
    """Weights over emotions that sum to 1, in the vocabulary's order, without zeros. Hashable.

    Build it with :meth:`parse`; the constructor does not check.
    """

    weights: tuple[tuple[str, float], ...]

    @classmethod
    def parse(cls, emotion: str | Mapping[str, float], vocabulary: Sequence[str]) -> EmotionMix:
        """Turn a name or a mapping of name to weight (any scale, >= 0) into a mix.

        Aliases are resolved; names of the same emotion are added up.

        Raises:
            UnknownEmotion: a name is not known.
            EmotionError: a weight is negative or not finite, or they sum to nothing.
        """
        if isinstance(emotion, str):
            return cls(((canonical_emotion(emotion, vocabulary), 1.0),))
        for name, weight in emotion.items():
            if isinstance(weight, bool) or not math.isfinite(weight) or weight < 0:
                raise EmotionError(f"the weight of {name[:40]!r} must be a finite number of at least 0.")
        largest = max(emotion.values(), default=0.0)
        scaled: dict[str, float] = {}
        for name, weight in emotion.items():
            key = canonical_emotion(name, vocabulary)
            # Divided before anything is added, so that weights near the ends of a double's range do not overflow.
            scaled[key] = scaled.get(key, 0.0) + (weight / largest if largest > 0 else 0.0)
        if largest <= 0:
            raise EmotionError("the mix sums to nothing: give at least one emotion a weight above 0.")
        norm = math.fsum(scaled.values())
        return cls(tuple((name, scaled[name] / norm) for name in vocabulary if scaled.get(name, 0.0) / norm > 0))

    def vector(self, vocabulary: Sequence[str], intensity: float = 1.0) -> NDArray[np.float32]:
        """Return the condition, float32 ``[len(vocabulary)]``, which sums to 1.

        ``intensity`` is the line from neutral: 0 is neutral, 1 the mix itself, above 1 extrapolates (entries then
        leave 0..1 but still sum to 1).

        Raises:
            UnknownEmotion: the mix names an emotion that ``vocabulary`` lacks.
            EmotionError: ``vocabulary`` has no neutral to measure an intensity other than 1 from.
        """
        if intensity != 1 and NEUTRAL not in vocabulary:
            raise EmotionError(f"these weights know no {NEUTRAL!r} to measure intensity from: it must be 1.")
        mix = dict(self.weights)
        for name in mix:
            if name not in vocabulary:
                raise UnknownEmotion(name, vocabulary)
        neutral = {NEUTRAL: 1.0}
        values = [
            neutral.get(name, 0.0) + intensity * (mix.get(name, 0.0) - neutral.get(name, 0.0)) for name in vocabulary
        ]
        return np.asarray(values, dtype=np.float32)

    def towards(
        self, other: EmotionMix, part: float, intensities: tuple[float, float], vocabulary: Sequence[str]
    ) -> tuple[EmotionMix, float]:
        """Return the mix, and its intensity, on the straight line from this condition to another.

        Args:
            other: where the line ends.
            part: 0 (here) to 1 (there).
            intensities: here and there.
            vocabulary: of both.

        The condition of what is returned is the weighted mean of both conditions (:meth:`vector`).
        """
        here, there = (1 - part) * intensities[0], part * intensities[1]
        if here + there <= 0:
            return (self if part < 0.5 else other), 0.0
        share = there / (here + there)  # and not the products themselves, which may be too small to be told from 0
        parts = [(name, weight * (1 - share)) for name, weight in self.weights]
        parts += [(name, weight * share) for name, weight in other.weights]
        total = math.fsum(weight for _, weight in parts)
        sums = {known: math.fsum(weight for name, weight in parts if name == known) / total for known in vocabulary}
        mix = EmotionMix(tuple((name, weight) for name, weight in sums.items() if weight > 0))
        return mix, min(here + there, max(intensities))  # the sum may round to more than both

    def __str__(self) -> str:
        """The mix as the command line reads it, exact: ``happy``, or ``happy=0.7,surprise=0.3``."""
        if len(self.weights) == 1:
            return self.weights[0][0]
        return ",".join(f"{name}={weight!r}" for name, weight in self.weights)
