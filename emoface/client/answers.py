"""What the service answers with, as values."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path


@dataclass(frozen=True, slots=True)
class _Picture:
    content: bytes  # the file
    seed: int | str  # who it is: given again, the same person
    model: str  # the weights that drew it, "fer48@0123456789ab"
    format: str

    def save(self, path: str | PathLike[str]) -> None:
        """Write the file, whatever ``path`` ends in: whole, or not at all.

        Raises:
            OSError: the folder is missing, the disk is full, or the like.
        """
        from model.files import write_whole

        write_whole(Path(path), self.content)


@dataclass(frozen=True, slots=True)
class Face(_Picture):
    """A face: ``format`` is png, webp, jpeg or avif."""


@dataclass(frozen=True, slots=True)
class Animation(_Picture):
    """A face that moves: ``format`` is webp, apng or gif."""

    frames: int


@dataclass(frozen=True, slots=True)
class Emotion:
    """A word of the vocabulary."""

    name: str
    aliases: tuple[str, ...]  # what else it may be called
    known: bool  # whether the loaded weights can draw it


@dataclass(frozen=True, slots=True)
class Model:
    """A set of weights that the service has loaded."""

    name: str
    tag: str  # name and start of the hash: what the option ``model`` takes
    sha256: str
    emotions: tuple[str, ...]
    resolution: int  # pixels a side of a face as it is drawn
    channels: int  # 1 grey, 3 colour
    device: str
    batch_size: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a picture is a face of these weights, and what it says of itself (None: it does not say)."""

    verified: bool
    reason: str  # one sentence
    exact: bool | None  # not one pixel differs; None: nothing was compared
    difference: int | None  # grey levels of the most different pixel
    model: str | None
    emotion: str | None
    seed: str | None
    intensity: str | None
    truncation: str | None
    size: tuple[int, int]  # width and height, pixels
    format: str
