"""What generated faces are held against: real faces of two splits, and what the judges say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from model.sampler import FaceSampler
from training.data.errors import DataError
from training.data.packed import PackedDataset
from training.judge import Judge

RARE: Final = ("contempt",)  # too few real faces to measure anything by

#: What :meth:`training.judge.Judge.judge` says of faces: features, votes, given classes.
Said = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Faces:
    """Real faces of one split, those of the judged emotions only."""

    images: NDArray[np.uint8]  # [N, C, H, W]
    labels: NDArray[np.float32]  # [N, all emotions]
    classes: NDArray[np.int64]  # [N], index into the judged emotions of the one that most votes name
    given: NDArray[np.int64] | None  # [N], the source's own class, an index into all emotions

    @classmethod
    def of(cls, data: PackedDataset, emotions: Sequence[str]) -> Self:
        """Take from ``data`` the faces whose largest vote is one of ``emotions``."""
        index = np.full(len(data.emotions), -1)
        for k, emotion in enumerate(emotions):
            index[data.emotions.index(emotion)] = k
        classes = index[data.labels.argmax(axis=1)]
        kept = classes >= 0
        given = None if data.given is None else data.given[kept]
        return cls(data.images[kept], data.labels[kept], classes[kept], given)


class Reference:
    """Real test and training faces, and judges by name; the first one's figures lead.

    What depends on real faces alone is worked out when it is first asked for, and once for all weights that are held
    against it.

    Raises:
        DataError: a judge does not know the emotions of the data, or not in their order; one sentence.
    """

    def __init__(self, test: PackedDataset, train: PackedDataset, judges: Mapping[str, Judge]) -> None:
        for name, judge in judges.items():
            if judge.config.emotions != test.emotions:
                raise DataError(
                    f"judge {name!r} knows {', '.join(judge.config.emotions)}, and the data set other emotions."
                )
        self.test, self.train, self.judges = test, train, judges
        self._faces: dict[tuple[str, ...], tuple[Faces, Faces]] = {}
        self._said: dict[tuple[str, tuple[str, ...]], tuple[Said, Said]] = {}

    def emotions(self, sampler: FaceSampler) -> tuple[str, ...]:
        """Return the emotions that the weights and both data sets know, without the too rare ones.

        Raises:
            DataError: there are fewer than two, or the images are not of the weights' size; one sentence.
        """
        size = (sampler.resolution, sampler.channels)
        for part in (self.test, self.train):
            if (part.resolution, part.channels) != size:
                raise DataError(
                    f"the data set's images are {part.resolution}x{part.resolution} with {part.channels} channels, "
                    f"but the weights draw {size[0]}x{size[0]} with {size[1]}."
                )
        both = [e for e in self.test.emotions if e in self.train.emotions and e not in RARE]
        known = [e for e in sampler.emotions if e in both]
        if len(known) < 2:
            raise DataError(f"the weights know {', '.join(sampler.emotions)}; the data sets know hardly any of them.")
        return tuple(known)

    def columns(self, emotions: Sequence[str]) -> list[int]:
        """Return where ``emotions`` stand in a judge's answers."""
        return [self.test.emotions.index(emotion) for emotion in emotions]

    def faces(self, emotions: tuple[str, ...]) -> tuple[Faces, Faces]:
        """Return the test and the training faces of ``emotions``."""
        if emotions not in self._faces:
            self._faces[emotions] = Faces.of(self.test, emotions), Faces.of(self.train, emotions)
        return self._faces[emotions]

    def said(self, judge: str, emotions: tuple[str, ...]) -> tuple[Said, Said]:
        """Return what the judge called ``judge`` says of each of :meth:`faces`."""
        if (judge, emotions) not in self._said:
            test, train = (self.judges[judge].judge(faces.images) for faces in self.faces(emotions))
            self._said[judge, emotions] = test, train
        return self._said[judge, emotions]
