"""Descriptors of small images, and their small affine changes as linear maps.

Comes in: thumbnails. Goes out: whole numbers of one length, the 8 x 8 lowest DCT coefficients
without the constant one; the tangent plane of each image, the span of its small affine changes; and
the change that a point of the plane means.

Descriptors are whole numbers and their products stay under 2^24, so float32 sums are exact: no
blocking, thread count or machine changes a product.

References
----------
P. Simard et al., "Transformation invariance in pattern recognition: tangent distance and tangent
propagation", 1998
"""

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from curate.duplicates.candidates import Floats
from curate.images.decode import Pixels, halve

SIDE = 48  # pixels of the compared thumbnails
WIDE = 16  # DCT coefficients a side that the maps read; finer detail does not reach the descriptor
LOW = 8  # DCT coefficients a side of the descriptor
# Moves (x, y) in pixels of 48 before a search. Copies moved up instead of down, or mirrored, are
# found from their other side, so half of the diagonals are enough.
STARTS = ((0, 0), (2, 2), (-2, 2))
LENGTH = 4000  # of a descriptor: its square is under 2^24, up to which float32 counts exactly
# Of an affine coefficient in one linear step; beyond it the tangent plane is too far off.
LARGEST_CHANGE = 0.2


def describe(images: Pixels) -> Floats:
    """(N, 48, 48) uint8 -> (N, 64) float32 whole numbers of length `LENGTH`.

    An image without contrast gives zeros.
    """
    return to_length(transform(images), 0)


def transform(images: Pixels) -> Floats:
    """(N, 48, 48) uint8 -> (N, 256) float32, the lowest 16 x 16 of the orthonormal DCT.

    A median of 3 x 3 at half the size first removes the letters of a watermark, which would
    brighten a whole region.
    """
    half = halve(images)
    plain = np.stack([cv2.medianBlur(image, 3) for image in half]) if len(half) else half
    # The basis of the full size, summed over pairs of pixels: as if the images were enlarged again.
    basis = dct_rows(WIDE).reshape(WIDE, SIDE // 2, 2).sum(axis=2).astype(np.float32)
    coefficients = np.asarray(basis @ plain.astype(np.float32) @ basis.T, np.float32)
    return coefficients.reshape(len(images), WIDE * WIDE)


def to_length(wide: Floats, start: int) -> Floats:
    """(N, 64) descriptors of the images moved to one start."""
    # In double precision, so that the other rows of a block cannot change how a value is rounded.
    low: npt.NDArray[np.float64] = wide.astype(np.float64) @ _maps()[start, 0].T
    length = np.linalg.norm(low, axis=1, keepdims=True)
    whole: npt.NDArray[np.float64] = np.rint(low / np.maximum(length, 1e-3) * LENGTH)
    return whole.astype(np.float32)


def tangent_plane(wide: Floats, start: int) -> tuple[Floats, Floats]:
    """An orthonormal basis (N, 7, 64) of each image's tangent plane.

    Also its coefficients (N, 7, 7) in the vectors that span the plane: the image and its
    derivatives under the six affine parameters.
    """
    exact = wide.astype(np.float64) @ _maps()[start].reshape(-1, WIDE * WIDE).T
    spanning: Floats = exact.astype(np.float32).reshape(-1, 7, LOW * LOW)
    length = np.linalg.norm(spanning, axis=2, keepdims=True) + np.float32(1e-3)
    spanning = spanning / length
    gram = spanning @ spanning.transpose(0, 2, 1) + np.float32(1e-3) * np.eye(7, dtype=np.float32)
    lower: Floats = np.linalg.inv(np.linalg.cholesky(gram))
    return lower @ spanning, lower / length.transpose(0, 2, 1)


def to_affine(inside: Floats, steps: Floats, start: int) -> Floats:
    """Coordinates in the orthonormal basis (P, 7) -> the affine map of `Candidates`."""
    parts: Floats = (inside[:, None, :] @ steps)[:, 0]
    gain = np.where(np.abs(parts[:, :1]) > 1e-12, parts[:, :1], np.float32(1e-12))
    change: Floats = (parts[:, 1:] / gain / (SIDE / 2)).astype(np.float32)
    change /= np.maximum(1, np.abs(change).max(axis=1, keepdims=True) / LARGEST_CHANGE)
    moved = np.zeros((2, 3), np.float32)
    moved[:, 2] = np.array(STARTS[start]) / (SIDE / 2)
    affine: Floats = np.eye(2, 3, dtype=np.float32) + change.reshape(-1, 2, 3) - moved
    return affine


@cache
def mirror_signs() -> Floats:
    """(64,) the sign that each coefficient gets when the image is mirrored left to right."""
    return np.tile(np.where(np.arange(LOW) % 2, -1, 1), LOW).astype(np.float32)


@cache
def _maps() -> npt.NDArray[np.float64]:
    """(starts, 7, 64, 256): from `transform` to the moved image's descriptor and six derivatives.

    The derivatives are by the coefficients of x, y and 1 in the new x, then in the new y; x and y
    in half widths, differences in pixels.
    """
    low, wide = dct_rows(LOW), dct_rows(WIDE)
    same: npt.NDArray[np.float64] = np.eye(SIDE)
    slope: npt.NDArray[np.float64] = np.gradient(same, axis=0)
    place: npt.NDArray[np.float64] = np.diag((np.arange(SIDE) - (SIDE - 1) / 2) / (SIDE / 2))
    stretch = place @ slope
    along_y: npt.NDArray[np.float64] = np.stack([same, same, place, same, slope, stretch, slope])
    along_x: npt.NDArray[np.float64] = np.stack([same, stretch, slope, slope, place, same, same])
    maps = np.zeros((len(STARTS), len(along_x), LOW * LOW, WIDE * WIDE))
    for k, (dx, dy) in enumerate(STARTS):
        for part, (y, x) in enumerate(zip(along_y, along_x, strict=True)):
            rows, columns = low @ y @ _move(dy) @ wide.T, low @ x @ _move(dx) @ wide.T
            maps[k, part] = np.kron(rows, columns)
    maps[:, :, 0] = 0  # brightness is no pattern
    return maps


def dct_rows(count: int) -> npt.NDArray[np.float64]:
    """(count, 48) the lowest rows of the orthonormal DCT-II of 48 samples."""
    frequency, sample = np.arange(count)[:, None], np.arange(SIDE)[None]
    angle = np.pi * frequency * (2 * sample + 1) / (2 * SIDE)
    rows: npt.NDArray[np.float64] = np.sqrt(2 / SIDE) * np.cos(angle)
    rows[0] /= np.sqrt(2)
    return rows


def _move(pixels: int) -> npt.NDArray[np.float64]:
    """(48, 48) a move along one axis, the edge repeated."""
    matrix = np.zeros((SIDE, SIDE))
    matrix[np.arange(SIDE), np.clip(np.arange(SIDE) - pixels, 0, SIDE - 1)] = 1
    return matrix
