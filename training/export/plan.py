"""Which faces a data set holds, in which order: decided before one is drawn, so that it can be gone on with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.emotions import NEUTRAL, EmotionMix, canonical_emotion
from model.sampler import DEFAULT_TRUNCATION, MAX_INTENSITY
from model.seeds import MAX_SEED
from training.data.errors import DataError

#: Parts of a data set, by the names that Hugging Face's loaders know.
SPLITS: Final = ("train", "validation", "test")

#: Faces a part has unless said otherwise: what is lost at most when the program is stopped.
PART: Final = 1000

_MAX_FACES: Final = 10_000_000
_ROOM: Final = 2**40  # seeds kept free above the first one, for faces that are tried and not kept


@dataclass(frozen=True, slots=True)
class Cell:
    """What is asked for of some of the faces: everything but the person."""

    label: str
    mix: EmotionMix
    intensity: float


@dataclass(frozen=True, slots=True)
class Part:
    """Some faces of one split that stand one behind the other: a shard, and the unit of going on."""

    split: str
    index: int  # among the parts of its split, from 0
    first: int  # the number of its first face in the data set, from 0
    start: int  # the place of its first face in its split, from 0
    size: int

    def __str__(self) -> str:
        return f"{self.split}-{self.index:06d}"


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one face."""

    number: int  # in the data set, from 0
    cell: int  # index into the plan's cells
    rank: int  # among the faces of its cell, over all splits, from 0


@dataclass(frozen=True, eq=False)
class Plan:
    """Which faces, of whom, in which order.

    Attributes:
        classes: what labels are called, in the order of the vocabulary.
        cells: what is asked for.
        counts: split -> how many faces of each cell, int64 ``[cells]``.
        seed: of the first person.
        truncation: of every face, 0..1.
        crossed: whether the same people are in every cell; otherwise every face is another person.
        part: how many faces a part has at most; in a crossed set it has whole people.
    """

    classes: tuple[str, ...]
    cells: tuple[Cell, ...]
    counts: Mapping[str, NDArray[np.int64]]
    seed: int = 0
    truncation: float = DEFAULT_TRUNCATION
    crossed: bool = False
    part: int = PART

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MAX_SEED - _ROOM:
            raise DataError(f"the first seed must be a whole number from 0 to {MAX_SEED - _ROOM}.")
        if not 0 <= self.truncation <= 1:
            raise DataError("truncation must be from 0 to 1.")
        if self.part < 1:
            raise DataError("a shard must have at least one face.")
        if not 0 < self.faces <= _MAX_FACES:
            raise DataError(f"a data set has from 1 to {_MAX_FACES:,} faces, not {self.faces:,}.")

    @property
    def faces(self) -> int:
        """How many faces there are, all splits together."""
        return sum(int(counts.sum()) for counts in self.counts.values())

    def person(self, cell: int, candidate: int) -> int:
        """Return the seed of a cell's ``candidate``-th face to be tried; no two cells share one, unless crossed."""
        return self.seed + (candidate if self.crossed else candidate * len(self.cells) + cell)

    def parts(self) -> list[Part]:
        """Return all parts in order."""
        size = max(1, self.part // len(self.cells)) * len(self.cells) if self.crossed else self.part
        found, first = [], 0
        for split, counts in self.counts.items():
            total = int(counts.sum())
            for index, start in enumerate(range(0, total, size)):
                found.append(Part(split, index, first + start, start, min(size, total - start)))
            first += total
        return found

    def slots(self, parts: Sequence[Part]) -> Iterator[tuple[Part, list[Slot]]]:
        """Give the places of the faces of each part; parts of one split are best asked for together."""
        order: tuple[str, NDArray[np.int64], NDArray[np.int64]] | None = None
        for part in parts:
            if order is None or order[0] != part.split:
                order = (part.split, *self._order(part.split))
            rows = range(part.start, part.start + part.size)
            yield part, [Slot(part.first + n, int(order[1][row]), int(order[2][row])) for n, row in enumerate(rows)]

    def _order(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return cell and rank of each face of a split: cells in turn, the rarer ones spread evenly."""
        counts = self.counts[split]
        cells = np.repeat(np.arange(len(counts)), counts)
        ranks = np.concatenate([np.arange(count) for count in counts])
        order = np.lexsort((cells, (ranks + 0.5) / counts[cells]))
        before = np.zeros(len(counts), np.int64)
        for earlier, others in self.counts.items():
            if earlier == split:
                break
            before += others
        return cells[order], (ranks + before[cells])[order]

    def described(self) -> dict[str, Any]:
        """Return all that decides about the faces, as JSON values."""
        return {
            "classes": list(self.classes),
            "cells": [[cell.label, str(cell.mix), cell.intensity] for cell in self.cells],
            "counts": {split: counts.tolist() for split, counts in self.counts.items()},
            "seed": self.seed,
            "truncation": self.truncation,
            "crossed": self.crossed,
            "part": self.part,
        }


def make_plan(
    vocabulary: Sequence[str],
    *,
    per_emotion: int | None = None,
    mix: EmotionMix | None = None,
    faces: int | None = None,
    identities: int | None = None,
    emotions: Sequence[str] = (),
    intensities: Sequence[float] = (1.0,),
    splits: Sequence[float] = (1.0,),
    seed: int = 0,
    truncation: float = DEFAULT_TRUNCATION,
    part: int = PART,
) -> Plan:
    """Plan a data set: ``per_emotion`` faces of each emotion, ``faces`` in the shares of ``mix``, or ``identities``
    people in every emotion and intensity; exactly one of the three.

    Args:
        vocabulary: the emotions that the weights know.
        mix: shares of the classes; needs ``faces``.
        emotions: those wanted, by any of their names; none means all of the vocabulary.
        intensities: 0..1.5; each emotion has them in equal numbers. Neutral has no intensity, so it is there once.
        splits: shares of training, validation and test faces, any scale; one share means training alone. Nobody is in
            two of them.

    Raises:
        DataError, EmotionError: what is asked for cannot be; one sentence.
    """
    if [per_emotion, faces, identities].count(None) != 2 or (mix is None) != (faces is None):
        raise DataError(
            "say how many faces: --per-emotion N, or --mix happy=0.5,fear=0.5 with --faces N, or --identities N."
        )
    if mix is not None and emotions:
        raise DataError("the mix names the emotions already; leave out either --emotions or --mix.")
    wanted = [name for name, _ in mix.weights] if mix else [canonical_emotion(name, vocabulary) for name in emotions]
    classes = tuple(name for name in vocabulary if name in wanted or not wanted)
    levels = _checked(intensities)
    if len(splits) not in range(1, len(SPLITS) + 1) or not all(math.isfinite(s) and s >= 0 for s in splits):
        raise DataError("splits are one to three shares of at least 0: of training, validation and test faces.")
    if sum(splits) <= 0:
        raise DataError("the splits sum to nothing; give at least one a share above 0.")
    totals = [identities or per_emotion or 0] * len(classes)
    if mix is not None:
        totals = _apportion(faces or 0, [share for _, share in mix.weights])
    cells: list[Cell] = []
    columns: list[list[int]] = []  # a cell's faces in each split
    for label, total in zip(classes, totals, strict=True):
        own = (1.0,) if label == NEUTRAL else levels
        cells += [Cell(label, EmotionMix.parse(label, vocabulary), level) for level in own]
        parted = _apportion(total, splits)
        columns += [parted] * len(own) if identities is not None else _in_turn(parted, len(own))
    for cell in cells:
        cell.mix.vector(vocabulary, cell.intensity)  # says so if these weights know no neutral to measure it from
    counts = dict(zip(SPLITS, np.array(columns, np.int64).T, strict=False))
    present = {split: column for split, column in counts.items() if column.any()}
    return Plan(classes, tuple(cells), present, seed, truncation, identities is not None, part)


def _checked(intensities: Sequence[float]) -> tuple[float, ...]:
    levels = tuple(dict.fromkeys(float(level) + 0.0 for level in intensities))
    if not levels or not all(0 <= level <= MAX_INTENSITY for level in levels):
        raise DataError(f"intensities must be one or more numbers from 0 to {MAX_INTENSITY}.")
    return levels


def _apportion(total: int, shares: Sequence[float]) -> list[int]:
    """Divide ``total`` in whole numbers that sum to it, by largest remainder; the first of equals gets more."""
    exact = [total * share / sum(shares) for share in shares]
    counts = [math.floor(value) for value in exact]
    by_remainder = sorted(range(len(shares)), key=lambda k: counts[k] - exact[k])
    for k in by_remainder[: total - sum(counts)]:
        counts[k] += 1
    return counts


def _in_turn(parted: Sequence[int], levels: int) -> list[list[int]]:
    """Deal faces out to ``levels`` in turn, on from one split to the next; return how many each has in each split."""
    ends = np.cumsum([0, *parted])
    return [[len(range(a + (k - a) % levels, b, levels)) for a, b in pairwise(ends.tolist())] for k in range(levels)]
