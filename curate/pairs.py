"""Pairs of images that show one photograph: candidates by perceptual hash, verified in pixels.

A candidate is a pair within `MAX_DISTANCE_BITS` of each other's `imagehash.phash`. A perceptual hash alone calls 64 bits
of one face equal to those of another, so the pixels decide: the best normalised cross-correlation of the two band-passed
thumbnails over small shifts is the score.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from curate import engine
from curate.errors import SourceError, examples
from curate.images import Pixels, UnreadableImageError, read_grey

MAX_DISTANCE_BITS = 10
SIDE = 48  # pixels of the compared thumbnails
MAX_SHIFT = 2  # pixels of 48, either way: the shifts seen in re-crops of one photograph
# On 60 pairs of FER2013 looked at, all from 0.90 to 0.93 were copies and one in ten from 0.80 to 0.84 was not; two drawn
# photographs of one person in one pose reach 0.92, and such pairs must not be dropped for each other.
SURE = 0.92
LOOK = 0.80
# A thumbnail with less contrast has no pattern to compare; its copies are found by exact pixels only.
MIN_STD = 2.0
BLOCK = 4096  # queries, or pairs, handled at once: about 150 MB

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """Two images (indices, first < second), how alike they are in [0, 1], and the shift in pixels of 48 that aligns them."""

    first: int
    second: int
    score: float
    shift: tuple[int, int]


def find_pairs(
    phashes: Sequence[str], files: Sequence[tuple[Path, str]], *, engine_name: engine.Engine, workers: int | None
) -> list[Pair]:
    """Every verified pair, sorted; bands are left to the caller, nothing under `LOOK` is returned.

    Parameters
    ----------
    phashes : (N,) 16 hex digits each
    files : (N,) (file, box) of the same images
    """
    first, second = near_hashes(phashes, MAX_DISTANCE_BITS)
    wanted = np.unique(np.concatenate([first, second]))
    if not len(wanted):
        return []
    thumbnails = _read_thumbnails([files[k] for k in wanted], engine_name, workers)
    rows = np.searchsorted(wanted, np.stack([first, second]))
    scores, shifts = correlate_pairs(thumbnails, rows[0], rows[1])
    return [
        Pair(int(first[k]), int(second[k]), round(float(scores[k]), 4), (int(shifts[k, 0]), int(shifts[k, 1])))
        for k in np.flatnonzero(scores >= LOOK)
    ]


def near_hashes(phashes: Sequence[str], max_distance_bits: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All pairs (i < j), sorted, whose hashes differ in at most `max_distance_bits` bits (inclusive); exhaustive."""
    import faiss

    words = np.frombuffer(bytes.fromhex("".join(phashes)), np.uint8).reshape(-1, 8)
    index = faiss.IndexBinaryFlat(64)
    index.add(words)
    found = []
    for start in engine.track(range(0, len(words), BLOCK), "hash blocks"):
        # faiss' radius is exclusive
        limits, _, other = index.range_search(words[start : start + BLOCK], max_distance_bits + 1)
        own = np.repeat(np.arange(start, start + len(limits) - 1), np.diff(limits.astype(np.int64)))
        found.append(np.stack([own, other])[:, own < other])
    pairs = np.concatenate(found, axis=1) if found else np.empty((2, 0), np.int64)
    order = np.lexsort((pairs[1], pairs[0]))
    return pairs[0, order], pairs[1, order]


def correlate_pairs(
    thumbnails: Pixels, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Score each pair of thumbnails.

    Parameters
    ----------
    thumbnails : (M, 48, 48) uint8 grey
    first, second : (P,) rows of `thumbnails`

    Returns
    -------
    scores : (P,) float in [0, 1]: the highest normalised cross-correlation over all shifts, 0 if it is negative or an
        image has no contrast
    shifts : (P, 2) the dx, dy of `second` against `first` that gave it, in pixels
    """
    scores = np.zeros(len(first), np.float32)
    shifts = np.zeros((len(first), 2), np.int64)
    flat = thumbnails.reshape(len(thumbnails), -1).std(axis=1) < MIN_STD
    for start in engine.track(range(0, len(first), BLOCK), "pair blocks"):
        part = slice(start, start + BLOCK)
        a, b = _band_pass(thumbnails[first[part]]), _band_pass(thumbnails[second[part]])
        for dx, dy in _SHIFTS:
            score = _correlate(_window(a, -dx, -dy), _window(b, dx, dy))
            better = score > scores[part]
            scores[part][better] = score[better]
            shifts[part][better] = (dx, dy)
    scores[flat[first] | flat[second]] = 0
    return np.minimum(scores, 1), shifts


# Nearest first, so that the smallest of equally good shifts is named.
_SHIFTS = sorted(
    ((dx, dy) for dx in range(-MAX_SHIFT, MAX_SHIFT + 1) for dy in range(-MAX_SHIFT, MAX_SHIFT + 1)),
    key=lambda shift: (abs(shift[0]) + abs(shift[1]), shift),
)


def _band_pass(images: Pixels) -> Floats:
    """(P, 48, 48) uint8 -> float32: noise and re-encoding smoothed away, light and vignetting taken out."""
    # One tall strip an image keeps OpenCV's per-call cost out of the loop.
    values = images.astype(np.float32)
    return np.stack([cv2.GaussianBlur(v, (0, 0), 0.8) - cv2.GaussianBlur(v, (0, 0), 6.0) for v in values])


def _window(images: Floats, dx: int, dy: int) -> Floats:
    """The part of each image that the other one shows too when shifted by (dx, dy), flattened."""
    height, width = images.shape[1:]
    half_x, half_y = abs(dx), abs(dy)
    x, y = (half_x if dx > 0 else 0), (half_y if dy > 0 else 0)
    return images[:, y : height - half_y + y, x : width - half_x + x].reshape(len(images), -1)


def _correlate(a: Floats, b: Floats) -> Floats:
    a = a - a.mean(axis=1, keepdims=True)
    b = b - b.mean(axis=1, keepdims=True)
    norm = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    ratio: Floats = np.divide((a * b).sum(axis=1), norm, out=np.zeros_like(norm), where=norm > 0)
    return ratio


def _read_thumbnails(files: Sequence[tuple[Path, str]], engine_name: engine.Engine, workers: int | None) -> Pixels:
    read: Callable[[tuple[Path, str]], Pixels | None] = partial(_read_thumbnail, size=SIDE)
    images = list(engine.map(read, files, what="images", engine=engine_name, workers=workers, chunk_size=256))
    gone = [str(file) for (file, _), image in zip(files, images, strict=True) if image is None]
    if gone:
        raise SourceError(f"{len(gone)} images cannot be read any more ({examples(gone)}): run `curate build` again")
    return np.stack([image for image in images if image is not None])


def _read_thumbnail(item: tuple[Path, str], size: int) -> Pixels | None:
    try:
        return read_grey(*item, size=size)
    except UnreadableImageError:
        return None
