"""Augmentation: one affine warp per image, and where a recipe wants it one brightness and one erased box, drawn for all at once.

All transforms of an epoch are drawn before its first batch, so what happens to an image depends on the seed, the epoch and
its row, never on the batch size or on which thread was faster. Images stay uint8; what a warp pulls in from outside repeats
the border.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from train.data.images import Pixels

Transforms = npt.NDArray[np.float32]
Factors = npt.NDArray[np.float32]
Boxes = npt.NDArray[np.int64]
SHIFT = 1 / 24  # two pixels of 48
# Zhong et al.: a box takes 2 to 40 % of an image, and is up to 3.3 times as high as wide or as wide as high.
ERASED_SHARE, LONGEST = (0.02, 0.4), 1 / 0.3
GREY = 127


class Ranges(Protocol):
    """The fields of a recipe that augmentation reads."""

    @property
    def flip(self) -> bool: ...
    @property
    def rotation(self) -> float: ...
    @property
    def shift(self) -> float: ...
    @property
    def zoom(self) -> float: ...
    @property
    def shear(self) -> float: ...
    @property
    def brightness(self) -> tuple[float, ...]: ...
    @property
    def erase(self) -> float: ...


def draw_transforms(count: int, ranges: Ranges, size: int, seed: tuple[int, ...]) -> Transforms:
    """One random affine map per image.

    Parameters
    ----------
    count : N
    ranges : bounds of rotation and shear (degrees), shift (fraction of the side), zoom (relative), and whether to flip
    size : side of the square images, pixels
    seed : any tuple of non-negative numbers, such as (seed, epoch)

    Returns
    -------
    (N, 2, 3) float32: from output to input pixels, about the middle of the image
    """
    random = np.random.default_rng(seed)
    spread = random.uniform(-1.0, 1.0, size=(count, 5))
    mirrored = random.random(count) < 0.5 if ranges.flip else np.zeros(count, bool)
    return _make_transforms(spread, mirrored, ranges, size)


def _make_transforms(
    spread: npt.NDArray[np.float64], mirrored: npt.NDArray[np.bool_], ranges: Ranges, size: int
) -> Transforms:
    """(N, 5) in [-1, 1] for rotation, shift x, shift y, zoom and shear, and (N,) whether mirrored -> (N, 2, 3)."""
    count = len(spread)
    angle = np.deg2rad(spread[:, 0] * ranges.rotation)
    slant = np.tan(np.deg2rad(spread[:, 4] * ranges.shear))
    scale = 1.0 / (1.0 + spread[:, 3] * ranges.zoom)
    sine, cosine = np.sin(angle) * scale, np.cos(angle) * scale
    sign = np.where(mirrored, -1.0, 1.0)
    linear = np.empty((count, 2, 2))  # rotation * scale, times shear, times mirror
    linear[:, 0, 0], linear[:, 0, 1] = cosine * sign, cosine * slant - sine
    linear[:, 1, 0], linear[:, 1, 1] = sine * sign, sine * slant + cosine
    middle = np.full(2, (size - 1) / 2)
    offset = middle - linear @ middle + spread[:, 1:3] * ranges.shift * size
    return np.concatenate([linear, offset[:, :, None]], axis=2).astype(np.float32)


def draw_factors(count: int, ranges: Ranges, seed: tuple[int, ...]) -> Factors | None:
    """(N,) float32: what all pixels of each image are multiplied by; None where brightness stays as it is."""
    low, high = ranges.brightness
    if low == high == 1.0:
        return None
    return np.random.default_rng(seed).uniform(low, high, count).astype(np.float32)


def light_images(images: Pixels, factors: Factors) -> Pixels:
    """(N, S, S) uint8, each image times its factor, rounded and cut off at 255."""
    levels = np.arange(256, dtype=np.float32)
    lit = [
        np.minimum(levels * factor + 0.5, 255).astype(np.uint8)[image]
        for image, factor in zip(images, factors, strict=True)
    ]
    return np.stack(lit)


def draw_boxes(count: int, ranges: Ranges, size: int, seed: tuple[int, ...]) -> Boxes | None:
    """What is erased of each image; None where nothing is of any.

    Parameters
    ----------
    ranges : `erase` is the share of the images that lose a box
    size : side of the square images, pixels

    Returns
    -------
    (N, 4) top, left, height and width in pixels; height and width are 0 where nothing is erased

    References
    ----------
    Z. Zhong et al., Random Erasing Data Augmentation, AAAI 2020 (with one grey, which is theirs with the mean of all pixels)
    """
    if not ranges.erase:
        return None
    random = np.random.default_rng(seed)
    area = random.uniform(*ERASED_SHARE, count) * size**2
    longer = np.exp(random.uniform(-np.log(LONGEST), np.log(LONGEST), count))
    sides = np.clip(np.rint(np.sqrt(np.stack([area * longer, area / longer], axis=1))), 1, size)
    corners = np.floor(random.random((count, 2)) * (size - sides + 1))
    sides[random.random(count) >= ranges.erase] = 0
    return np.hstack([corners, sides]).astype(np.int64)


def erase_images(images: Pixels, boxes: Boxes) -> Pixels:
    """(N, S, S) uint8, each image with its box in one grey."""
    erased = images.copy()
    for image, (top, left, height, width) in zip(erased, boxes.tolist(), strict=True):
        image[top : top + height, left : left + width] = GREY
    return erased


def warp_images(images: Pixels, transforms: Transforms) -> Pixels:
    """Apply one transform to each image.

    Parameters
    ----------
    images : (N, S, S) uint8 grey, 0-255
    transforms : (N, 2, 3) float32, from output to input pixels

    Returns
    -------
    (N, S, S) uint8, bilinear, border repeated
    """
    warped = np.empty_like(images)
    shape = images.shape[2], images.shape[1]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for image, transform, out in zip(images, transforms, warped, strict=True):
        cv2.warpAffine(
            image, transform, shape, dst=out, flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
    return warped


def plan_still(count: int) -> list[Transforms]:
    """One view, the images themselves, which the warp reproduces to the bit."""
    return [_repeat([[1, 0, 0], [0, 1, 0]], count)]


def plan_views(
    keys: Sequence[str], ranges: Ranges, size: int, views: int, seed: int
) -> list[Transforms]:
    """The views of test-time augmentation: the images themselves, then `views - 1` augmented copies.

    Parameters
    ----------
    keys : (N,) what names each image, such as a digest of its pixels: its views follow from that and the seed alone, so
        they depend neither on its place among the images nor on which others there are

    Returns
    -------
    `views` arrays (N, 2, 3); the first is `plan_still`
    """
    drawn = (
        np.stack([_draw_of(key, views - 1, seed) for key in keys])
        if keys
        else np.zeros((0, views - 1, 6))
    )
    copies = [
        _make_transforms(
            2 * drawn[:, view, :5] - 1, ranges.flip & (drawn[:, view, 5] < 0.5), ranges, size
        )
        for view in range(views - 1)
    ]
    return [*plan_still(len(keys)), *copies]


def _draw_of(key: str, copies: int, seed: int) -> npt.NDArray[np.float64]:
    """(copies, 6) in [0, 1)."""
    digest = int.from_bytes(hashlib.sha256(key.encode()).digest())
    return np.random.default_rng((seed, digest)).random((copies, 6))


def plan_mirror(count: int, size: int) -> list[Transforms]:
    """Two views: the images themselves, and left and right exchanged (to the bit)."""
    return [*plan_still(count), _repeat([[-1, 0, size - 1], [0, 1, 0]], count)]


def plan_shifts(count: int, size: int) -> list[Transforms]:
    """Ten views: the images and their mirror images, each in place and moved by `SHIFT` of the side to all four sides."""
    by = SHIFT * size
    views = []
    for x, y in ((0, 0), (by, 0), (-by, 0), (0, by), (0, -by)):
        views += [
            _repeat([[1, 0, x], [0, 1, y]], count),
            _repeat([[-1, 0, size - 1 + x], [0, 1, y]], count),
        ]
    return views


def _repeat(matrix: list[list[float]], count: int) -> Transforms:
    return np.tile(np.array(matrix, np.float32), (count, 1, 1))
