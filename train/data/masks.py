"""Occlusion: the three masks of the masking study, and a patch that slides over the face.

A mask is black and belongs to the picture: under augmentation it moves with the face.
"""

from collections.abc import Iterator

import numpy as np

from train.data.images import Pixels

# Rows of the image, as shares of its height: forehead, eyes, nose and mouth.
BANDS = {"none": (0.0, 0.0), "forehead": (0.0, 0.25), "eyes": (0.25, 0.5), "lower": (0.5, 1.0)}


def mask_images(images: Pixels, mask: str) -> Pixels:
    """(N, S, S) uint8 with the band of that mask black; the images themselves for `none`."""
    low, high = (round(share * images.shape[1]) for share in BANDS[mask])
    if low == high:
        return images
    masked = np.array(images)
    masked[:, low:high] = 0
    return masked


def slide_patch(size: int, patch: int, stride: int) -> Iterator[tuple[int, int]]:
    """Upper left corners (row, column) of a square patch, row by row; the last of each row touches the border."""
    starts = sorted({*range(0, size - patch + 1, stride), size - patch})
    for row in starts:
        for column in starts:
            yield row, column


def cover(images: Pixels, row: int, column: int, patch: int) -> Pixels:
    """(N, S, S) uint8 with a grey square of `patch` pixels at that corner; grey hides without adding an edge of its own."""
    covered = np.array(images)
    covered[:, row : row + patch, column : column + patch] = 127
    return covered
