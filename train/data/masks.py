"""Hide parts of a face: under a mask, a band of `recipes.recipe.BANDS`, or a patch that slides.

Input: (N, S, S) uint8 images. Output: the images with a part hidden. A mask is black and is part of
the image: augmentation moves it with the face.
"""

from collections.abc import Iterator

import numpy as np

from train.data.dataset import Pixels
from train.recipes.recipe import BANDS

GREY = 127


def mask_images(images: Pixels, mask: str) -> Pixels:
    """(N, S, S) uint8 with the band of the mask black; the same array for `none`."""
    low, high = (round(share * images.shape[1]) for share in BANDS[mask])
    if low == high:
        return images
    masked = np.array(images)
    masked[:, low:high] = 0
    return masked


def slide_patch(size: int, patch: int, stride: int) -> Iterator[tuple[int, int]]:
    """Upper left corners (row, column) of a square patch, row by row.

    The last patch of each row and column touches the border.
    """
    starts = sorted({*range(0, size - patch + 1, stride), size - patch})
    for row in starts:
        for column in starts:
            yield row, column


def cover(images: Pixels, row: int, column: int, patch: int) -> Pixels:
    """(N, S, S) uint8 with a grey square of `patch` pixels whose upper left corner is given.

    Grey adds less contrast to the face than black or white.
    """
    covered = np.array(images)
    covered[:, row : row + patch, column : column + patch] = GREY
    return covered
