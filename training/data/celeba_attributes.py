"""CelebA's faces with all their attributes, cut as tightly as FER-2013's: what a guide learns about people from."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.data.celeba import face_square, find_pictures
from training.data.celeba_lists import find_lists
from training.data.errors import DataError
from training.data.pictures import decode_picture, square_pixels
from training.data.report import MAX_BAD
from training.data.trees import Tree

#: Eyes as far apart as in FER-2013's faces, 18 of 48 pixels, and as high; in pixels of CelebA's 178x218.
_MIDDLE: Final = (89.0, 120.5)
_SIDE: Final = 105.0


@dataclass(frozen=True, slots=True)
class AttributedFaces:
    """Faces and what can be said of each."""

    images: NDArray[np.uint8]  # [N, C, H, W]
    values: NDArray[np.float32]  # [N, A], 1 where the face has the attribute, else 0
    names: tuple[str, ...]  # of the A attributes


def read_attributes(source: Path, size: int, channels: int) -> AttributedFaces:
    """Read all faces of CelebA, a folder or a zip as :func:`training.data.celeba.prepare_celeba` takes it.

    Args:
        size: pixels a side.
        channels: 1 grey (luma), 3 RGB.

    Raises:
        DataError: there is no CelebA, its lists are damaged, or more than 1 % of its faces cannot be read.
    """
    images, values, bad = [], [], 0
    with ExitStack() as stack:
        tree = stack.enter_context(Tree(Path(source)))
        lists = find_lists(tree, stack)
        pictures = find_pictures(tree, stack)
        for row in lists.rows():
            try:
                own = [row.value(name) for name in lists.attributes]
                name = pictures.names[PurePosixPath(row.picture).stem]
                picture = decode_picture(pictures.tree.read(name), colour=channels == 3)
                pixels = square_pixels(picture, size, face_square(*picture.size, _MIDDLE, _SIDE))
            except (ValueError, KeyError):
                bad += 1
                continue
            images.append(pixels.reshape(size, size, channels).transpose(2, 0, 1))
            values.append(own)
    if not images or bad > MAX_BAD * lists.count:
        raise DataError(f"{bad:,} of {lists.count:,} faces in {source} cannot be read, or are not listed rightly.")
    return AttributedFaces(np.stack(images), np.array(values, np.float32), lists.attributes)
