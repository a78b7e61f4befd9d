"""Labels and sampling weights for training, from the raw votes that a packed data set keeps.

The labels in the file are for evaluation and follow the code that FER+ was published with
(:mod:`training.data.ferplus`). For training, FER-2013's own label is used as well: it
tells an outlier from a lone voter who is right, and adds to the votes where a voter confirms it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.emotions import UnknownEmotion, canonical_emotion
from training.data.errors import DataError
from training.data.packed import PackedDataset

#: Columns of votes that name no emotion.
_UNKNOWN: Final = "unknown"
_NO_FACE: Final = "NF"

#: An image that at least so many of the ten voters call no face is not shown.
_NO_FACE_VOTES: Final = 5

#: How many voters FER-2013's label counts for where a voter agrees with it.
_SOURCE_VOTES: Final = 2


def training_labels(data: PackedDataset) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the label vectors of N images for training, and which images may be shown.

    The rule, for the votes of FER+ (Barsoum et al. 2016, arXiv:1608.01041) beside FER-2013's own label:

    1. An emotion with a single vote is dropped, unless it is FER-2013's label. (FER+'s own code drops every single
       vote.)
    2. Where at least one voter names FER-2013's label, that label counts as two more votes.
    3. What is left is divided by its sum.

    An image is not shown where five or more voters answer "no face" (NF), where "unknown" or "no face" has more votes
    than every emotion (as counted by the voters, before step 2), or where step 1 leaves nothing; in the last case its
    vector is the label of the file.

    Args:
        data: N images with E emotions. Without votes, the labels of the file are returned and every image may be
            shown. Votes without ``given`` are counted as if FER-2013's label never agreed.

    Returns:
        float32 ``[N, E]``, rows sum to 1 in the order of ``data.emotions``; and bool ``[N]``, True where the image
        may be shown.

    Raises:
        DataError: a column of the votes is neither one of the emotions nor "unknown" nor "NF".
    """
    if data.votes is None:
        return data.labels, np.ones(len(data), np.bool_)
    raw = np.zeros(data.labels.shape, np.int64)
    unknown = np.zeros(len(data), np.int64)
    no_face = np.zeros(len(data), np.int64)
    for name, column in zip(data.vote_names, data.votes.T, strict=True):
        if name == _UNKNOWN:
            unknown += column
        elif name == _NO_FACE:
            no_face += column
        else:
            try:
                raw[:, data.emotions.index(canonical_emotion(name, data.emotions))] += column
            except UnknownEmotion:
                raise DataError(f"the column {name!r} of the votes is not one of the data's emotions.") from None
    own = np.zeros(raw.shape, np.bool_)
    if data.given is not None:
        own[np.arange(len(data)), data.given] = True
    counts = np.where((raw > 1) | (own & (raw > 0)), raw, 0)
    counts += _SOURCE_VOTES * (own & (raw > 0))
    total = counts.sum(axis=1, keepdims=True)
    labels = np.where(total > 0, counts / np.maximum(total, 1), data.labels).astype(np.float32)
    shown = (no_face < _NO_FACE_VOTES) & (np.maximum(unknown, no_face) <= raw.max(axis=1)) & (total[:, 0] > 0)
    return labels, shown


def sampling_weights(labels: NDArray[np.float32], rarity: float, agreement: float) -> NDArray[np.float64]:
    """Return how often each of N images is drawn: rare emotions more often, and images that voters agree on.

    The weight is ``frequency ** -rarity * share ** agreement``, divided by the sum of all N: ``frequency`` is the
    number of images with the same largest emotion (ties count for the first), and ``share`` is that emotion's entry.

    Args:
        labels: ``[N, E]``, rows sum to 1; N is at least 1. Only images that may be drawn belong here, because every
            other one counts for the frequencies.
        rarity: 0 draws emotions as often as they occur, 1 all equally often (for equal shares).
        agreement: 0 ignores the shares.

    Returns:
        float64 ``[N]``, greater than 0, with the sum 1.
    """
    largest = labels.argmax(axis=1)
    frequency = np.bincount(largest, minlength=labels.shape[1])[largest].astype(np.float64)
    share = labels.max(axis=1).astype(np.float64)
    weights = frequency**-rarity * share**agreement
    return weights / weights.sum()
