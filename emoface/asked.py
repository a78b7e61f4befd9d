"""What ``emoface generate`` is asked for: people, emotions, and the names of the files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from model import EmotionMix, FaceRequest

#: All emotions that the weights know.
ALL: Final = "all"
#: More faces than this are a data set.
MOST: Final = 100_000

_NUMBER: Final = r"(0|[1-9][0-9]*)"
_FIELDS: Final = ("emotion", "seed", "intensity", "index")


def read_seed(text: str) -> int | str:
    """Return the seed that ``text`` spells; a number out of range is a mistake, not a name."""
    return int(text) if re.fullmatch(f"-?{_NUMBER}", text) else text


def read_seeds(text: str) -> list[int | str]:
    """Read seeds with commas between them, ``0-7,12,Ada``; two numbers with a dash are all from one to the other.

    Raises:
        ValueError: a range runs backwards, or there are more than :data:`MOST`, or none; one sentence.
    """
    seeds: list[int | str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        ends = re.fullmatch(f"{_NUMBER}-{_NUMBER}", part)
        if ends is None:
            seeds.append(read_seed(part))
            continue
        first, last = int(ends[1]), int(ends[2])
        if last < first:
            raise ValueError(f"the range {part!r} runs backwards; write {last}-{first}.")
        if last - first >= MOST:
            raise ValueError(f"the range {part!r} has more than {MOST:,} seeds; ask for fewer at a time.")
        seeds += range(first, last + 1)
    if not seeds:
        raise ValueError("--seeds names nobody; write seeds like 0-7,12,Ada.")
    return seeds


def read_moments(
    texts: Sequence[str], intensity: float, vocabulary: Sequence[str]
) -> list[tuple[str, EmotionMix, float]]:
    """Read emotions: as they were written, their mixes, and their intensities.

    Each is a name, a mix (``happy=0.7,surprise=0.3``) or ``all``; ``@0.5`` after it is an intensity of its own.

    Raises:
        EmotionError: an emotion is not known, or a mix is none; one sentence.
    """
    from model import EmotionMix
    from model.emotions import read_mix

    moments = []
    for text in texts:
        emotion, at, own = text.rpartition("@")
        try:
            strength = float(own) if at else intensity
        except ValueError:  # somebody's weights may have an at sign in a name
            strength, at = intensity, ""
        emotion = emotion if at else text
        names = vocabulary if emotion.strip().lower() == ALL else [emotion]
        for name in names:
            label = f"{name}@{own}" if at else name
            moments.append((label, EmotionMix.parse(read_mix(name), vocabulary), strength))
    return moments


def file_names(out: Path, faces: Sequence[FaceRequest], format: str) -> list[Path]:
    """Return a file for each face: in the folder ``out``, or as the pattern that ``out`` is says.

    A pattern has fields in braces: ``{emotion}``, ``{seed}``, ``{intensity}`` and ``{index}``, which counts from 0 and
    takes a width, as in ``{index:04d}``.

    Raises:
        ValueError: the pattern has other fields, or two faces would be one file; one sentence.
    """
    from model.encode import file_name, safe_names

    paths: dict[Path, None] = {}
    for index, face in enumerate(faces):
        path = out / file_name(face, format)
        if "{" in str(out):
            emotion, seed = safe_names(face)
            try:
                path = Path(str(out).format(emotion=emotion, seed=seed, intensity=face.intensity, index=index))
            except (KeyError, IndexError, ValueError, AttributeError):
                known = ", ".join(f"{{{field}}}" for field in _FIELDS)
                raise ValueError(f"{str(out)!r} is no pattern of file names; known are {known}.") from None
        if path in paths:
            raise ValueError(
                f"two faces would be the file {str(path)!r}; give -o a pattern with {{index}} or {{intensity}}."
            )
        paths[path] = None
    return list(paths)
