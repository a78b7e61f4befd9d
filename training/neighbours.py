"""Whether generated faces are copies of training faces.

A face is compared as a photograph, not by what a network says of it: brightness and contrast are evened out around
every pixel, 16x16 cells remain, and mirrored and shifted versions are tried, because training mirrors and shifts.

The nearest training face alone says little: a smooth face is near to many. So its distance is divided by that to the
50th nearest one (Carlini et al. 2023, arXiv:2301.13188, section 5): about 0.9 for a new face, far less for a copy.

Real test faces say what is normal. FER-2013 was gathered by a web search, and its splits share photographs: of the
private test faces 8 % are, pixel for pixel, a training face, and 13 % more are the same photograph, cut or marked
differently. :func:`honest_faces` leaves out such near-copies first. In pictures, all of 70 pairs found so were one
photograph; of 42 faces kept, four or five still had theirs in training, cut too differently to be found. So the 1 %
limit is rather lenient.

What it finds, of 200 altered training faces: all that are mirrored, blurred, noisy, lit differently or moved by a
pixel; 98 % turned by 6 degrees; 85 % shrunk and 55 % enlarged by a tenth; 96 % moved by 3 pixels both ways, but 49 %
moved by 2, and 5 % moved by 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

GRID: Final = 16  # cells along a side of a descriptor
CROWD: Final = 50  # the neighbour whose distance is the yardstick
_BLUR, _LOCAL = 1 / 48, 1 / 12  # standard deviations in parts of the width: before all else, and of "around a pixel"
_FLOOR = 8.0  # grey levels: contrast below is noise and not raised
_IMAGES = 4096  # described at once
_QUERIES = 256  # compared at once: 256 x 28,709 floats, twice, are 60 MB


@dataclass(frozen=True, eq=False, slots=True)
class Neighbours:
    """For each of N queries: ``index`` int64 ``[N]`` of the nearest in the gallery, its ``distance`` float64 ``[N]``,
    and ``ratio`` float64 ``[N]``, that distance / the one to the 50th nearest, 0..1."""

    index: NDArray[np.int64]
    distance: NDArray[np.float64]
    ratio: NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Honest:
    """Test faces told apart from near-copies of training faces.

    ``threshold``: ratios below it are near-copies; ``kept`` bool ``[N]``, the honest ones; ``quantile``: the ratio that
    the nearest 1 % of those are below.
    """

    threshold: float
    kept: NDArray[np.bool_]
    quantile: float


def _blurring(width: int, sigma: float) -> NDArray[np.float32]:
    """Gaussian blur along one side as a matrix ``[width, width]``; the image goes on mirrored beyond its border."""
    reach = min(int(np.ceil(3 * sigma)), width - 1)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * np.square(offsets / sigma))
    weights /= weights.sum()
    matrix = np.zeros((width, width))
    rows = np.arange(width)
    for offset, weight in zip(offsets, weights, strict=True):
        columns = np.abs(rows + offset)
        np.add.at(matrix, (rows, np.minimum(columns, 2 * (width - 1) - columns)), weight)
    return matrix.astype(np.float32)


def _pooling(width: int) -> NDArray[np.float32]:
    """Mean over the pixels of each cell, as a matrix ``[GRID, width]``; a pixel on an edge counts for both in part."""
    edges = np.arange(GRID + 1) * (width / GRID)
    left, right = edges[:-1, None], edges[1:, None]
    pixels = np.arange(width)
    overlap = np.clip(np.minimum(right, pixels + 1) - np.maximum(left, pixels), 0, None)
    return (overlap / (width / GRID)).astype(np.float32)


def _along(matrix: NDArray[np.float32], images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Apply a matrix ``[V, W]`` to both sides of images ``[N, W, W]`` -> ``[N, V, V]``."""
    once = np.ascontiguousarray((images @ matrix.T).swapaxes(1, 2))
    return (once @ matrix.T).swapaxes(1, 2)


def _cells(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Even out the contrast of images uint8 ``[N, C, W, W]`` and reduce them to ``[N, GRID, GRID]``."""
    if images.ndim != 4 or images.shape[2] != images.shape[3] or images.shape[2] < GRID:
        raise ValueError(f"expected square images [N, C, H, W] of {GRID} pixels or more, got {images.shape}")
    width = images.shape[-1]
    first, local, pool = _blurring(width, _BLUR * width), _blurring(width, _LOCAL * width), _pooling(width)
    cells = np.empty((len(images), GRID, GRID), np.float32)
    for i in range(0, len(images), _IMAGES):
        grey = _along(first, images[i : i + _IMAGES].mean(axis=1, dtype=np.float32))
        grey -= _along(local, grey)
        contrast = np.sqrt(np.maximum(_along(local, np.square(grey)), 0))
        grey /= contrast + np.float32(_FLOOR)
        cells[i : i + _IMAGES] = _along(pool, grey)
    return cells


def _unit(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Flatten ``[..., GRID, GRID]`` to ``[..., GRID^2]`` of mean 0 and length 1: distances are 0..2, about 1.4 for
    unrelated faces. An even image becomes 0."""
    flat = cells.reshape(*cells.shape[:-2], -1)
    flat = flat - flat.mean(axis=-1, keepdims=True)
    lengths = np.linalg.norm(flat, axis=-1, keepdims=True)
    return np.where(lengths > 1e-4, flat / np.maximum(lengths, 1e-4), np.float32(0)).astype(np.float32)


def describe_faces(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe images uint8 ``[N, C, H, W]`` for comparison as photographs: float32 ``[N, 256]`` of length 1."""
    return _unit(_cells(images))


def describe_views(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe images uint8 ``[N, C, H, W]`` as they are, mirrored, and each shifted by one cell (3 of 48 pixels) in
    the eight directions: float32 ``[18, N, 256]``, unmoved first."""
    cells = _cells(images)
    padded = np.pad(cells, ((0, 0), (1, 1), (1, 1)), "reflect")
    offsets = sorted(((y, x) for y in range(3) for x in range(3)), key=lambda at: at != (1, 1))
    moved = [padded[:, y : y + GRID, x : x + GRID] for y, x in offsets]
    return _unit(np.stack([*moved, *(view[:, :, ::-1] for view in moved)]))


def nearest(
    queries: NDArray[np.floating], gallery: NDArray[np.floating], *, crowd: int = CROWD, chunk: int = _QUERIES
) -> Neighbours:
    """Find the nearest of ``gallery`` ``[M, D]`` to each of ``queries`` ``[N, D]``, or to the nearest view of each,
    ``[V, N, D]``: Euclidean, by brute force, ``chunk`` queries at a time.

    Candidates are found in float32; the distance of the one found is exact. ``crowd``: which neighbour the ratio
    divides by; M if there are fewer.
    """
    views = np.asarray(queries, np.float32)
    views = views[None] if views.ndim == 2 else views
    if views.ndim != 3 or np.ndim(gallery) != 2 or views.shape[2] != gallery.shape[1] or not len(gallery):
        raise ValueError(f"cannot compare queries {np.shape(queries)} with a gallery {np.shape(gallery)}")
    centre = np.mean(gallery, axis=0, dtype=np.float64).astype(np.float32)
    known = np.asarray(gallery, np.float32) - centre
    half = np.square(known).sum(axis=1) / 2
    crowd = min(crowd, len(known))
    count = views.shape[1]
    index, distance, ratio = np.empty(count, np.int64), np.empty(count), np.empty(count)
    for i in range(0, count, chunk):
        part = views[:, i : i + chunk] - centre
        # -d^2 / 2 = x.g - |g|^2 / 2 - |x|^2 / 2, the greatest over all views.
        best: NDArray[np.float32] | None = None
        for view in part:
            score = view @ known.T
            score -= np.square(view).sum(axis=1)[:, None] / 2
            best = score if best is None else np.maximum(best, score, out=best)
        assert best is not None, "there is a view"
        best -= half
        found = best.argmax(axis=1)
        exact = np.linalg.norm(part.astype(np.float64) - known[found].astype(np.float64), axis=-1).min(axis=0)
        far = np.partition(best, len(known) - crowd, axis=1)[:, len(known) - crowd]
        yard = np.maximum(np.sqrt(np.maximum(-2.0 * far.astype(np.float64), 0)), exact)
        index[i : i + chunk], distance[i : i + chunk] = found, exact
        # 0 / 0: more than fifty pixel-identical copies; nothing could be more of a copy.
        ratio[i : i + chunk] = np.divide(exact, yard, out=np.zeros_like(exact), where=yard > 0)
    return Neighbours(index, distance, ratio)


def compare_faces(images: NDArray[np.uint8], training: NDArray[np.uint8]) -> Neighbours:
    """Compare images uint8 ``[N, C, H, W]`` as photographs with training faces ``[M, C, H, W]``: :func:`nearest`."""
    known = describe_faces(training)
    parts = [nearest(describe_views(images[i : i + 1024]), known) for i in range(0, len(images), 1024)]
    if not parts:
        raise ValueError("there are no images to compare")
    return Neighbours(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("index", "distance", "ratio")))


def nearest_training_faces(
    images: NDArray[np.uint8], training: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the index ``[N]`` of the training face that looks most like each image, mirrored or shifted or not, and
    its distance ``[N]``, 0..2: see :func:`compare_faces`."""
    found = compare_faces(images, training)
    return found.index, found.distance


def honest_faces(ratios: NDArray[np.float64], *, clip: float = 5.0, quantile: float = 0.01) -> Honest:
    """Tell test faces with ``ratios`` ``[N]`` from near-copies of training faces.

    Ratios of new faces gather in one peak below 1, those of near-copies lie spread between 0 and it. What is more than
    ``clip`` standard deviations below the median is a near-copy; median and deviation (from the median absolute one)
    are taken again without those until nothing changes. It works while near-copies are the smaller part by far, and
    finds hardly any where there are none.
    """
    ratios = np.asarray(ratios, np.float64)
    if not len(ratios):
        raise ValueError("there are no test faces")
    kept = np.ones(len(ratios), bool)
    while True:
        middle = np.median(ratios[kept])
        deviation = 1.4826 * np.median(np.abs(ratios[kept] - middle))
        threshold = float(middle - clip * deviation)
        fewer = kept & (ratios >= threshold)
        if (fewer == kept).all():
            return Honest(threshold, kept, float(np.quantile(ratios[kept], quantile)))
        kept = fewer


def memorisation(
    generated: NDArray[np.uint8], test: NDArray[np.uint8], training: NDArray[np.uint8]
) -> dict[str, float | int]:
    """Measure how many generated faces are too near to a training face: all images uint8 ``[., C, H, W]``.

    Returns:
        ``fraction`` of the generated faces whose ratio is below ``quantile``, which 1 % of the honest test faces are
        below, so 0.01 is what new faces give; ``copies``: fraction below ``threshold``, which no honest test face is
        below; ``near_copies``: fraction of the test faces that are near-copies and left out; ``median`` and
        ``median_test``: of the ratios of generated and of honest test faces; ``faces`` and ``honest``: how many.
    """
    mine, theirs = compare_faces(generated, training).ratio, compare_faces(test, training).ratio
    honest = honest_faces(theirs)
    return {
        "fraction": float((mine < honest.quantile).mean()),
        "copies": float((mine < honest.threshold).mean()),
        "near_copies": float(1 - honest.kept.mean()),
        "quantile": honest.quantile,
        "threshold": honest.threshold,
        "median": float(np.median(mine)),
        "median_test": float(np.median(theirs[honest.kept])),
        "faces": len(mine),
        "honest": int(honest.kept.sum()),
    }
