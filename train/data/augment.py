"""Augmentation: an affine warp per image, and on request brightness and erased boxes.

Input: images and the ranges of a recipe. Output: transforms, and the images after them. All
transforms of an epoch are drawn before its first batch, so what happens to an image depends on the
seed, the epoch and its row, never on the batch size or the order of threads. Images stay uint8; a
warp repeats the border where it needs pixels from outside. TTA views are transforms as well: see
`data.tta`.
"""

import cv2
import numpy as np
import numpy.typing as npt

from train.data.dataset import Pixels
from train.recipes.recipe import Recipe

Transforms = npt.NDArray[np.float32]
Factors = npt.NDArray[np.float32]
Boxes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
# Zhong et al.: the area of a box is 2 to 40 % of the image, its aspect ratio at most 1 / 0.3.
ERASED_SHARE, MAX_ASPECT = (0.02, 0.4), 1 / 0.3
GREY = 127


def draw_transforms(count: int, recipe: Recipe, size: int, seed: tuple[int, ...]) -> Transforms:
    """One random affine map per image.

    Parameters
    ----------
    count : N
    recipe : gives the bounds of rotation and shear (degrees), shift (fraction of the side) and zoom
        (relative), and whether to flip
    size : side of the square images, pixels
    seed : any tuple of non-negative numbers, such as (seed, epoch)

    Returns
    -------
    (N, 2, 3) float32: from output to input pixels, about the middle of the image
    """
    random = np.random.default_rng(seed)
    spread = random.uniform(-1.0, 1.0, size=(count, 5))
    is_flipped = random.random(count) < 0.5 if recipe.flip else np.zeros(count, bool)
    return make_transforms(spread, is_flipped, recipe, size)


def make_transforms(
    spread: Floats, is_flipped: npt.NDArray[np.bool_], recipe: Recipe, size: int
) -> Transforms:
    """The affine maps of positions within the recipe's ranges.

    Parameters
    ----------
    spread : (N, 5) in [-1, 1], for rotation, shift x, shift y, zoom and shear
    is_flipped : (N,)

    Returns
    -------
    (N, 2, 3)
    """
    count = len(spread)
    angle = np.deg2rad(spread[:, 0] * recipe.rotation)
    slant = np.tan(np.deg2rad(spread[:, 4] * recipe.shear))
    scale = 1.0 / (1.0 + spread[:, 3] * recipe.zoom)
    sine, cosine = np.sin(angle) * scale, np.cos(angle) * scale
    sign = np.where(is_flipped, -1.0, 1.0)
    linear = np.empty((count, 2, 2))  # rotation * scale, times shear, times flip
    linear[:, 0, 0], linear[:, 0, 1] = cosine * sign, cosine * slant - sine
    linear[:, 1, 0], linear[:, 1, 1] = sine * sign, sine * slant + cosine
    middle = np.full(2, (size - 1) / 2)
    offset = middle - linear @ middle + spread[:, 1:3] * recipe.shift * size
    return np.concatenate([linear, offset[:, :, None]], axis=2).astype(np.float32)


def draw_brightness(count: int, recipe: Recipe, seed: tuple[int, ...]) -> Factors | None:
    """(N,) float32 factors of all pixels of each image; None if the recipe keeps the brightness."""
    low, high = recipe.brightness
    if low == high == 1.0:
        return None
    return np.random.default_rng(seed).uniform(low, high, count).astype(np.float32)


def brighten_images(images: Pixels, factors: Factors) -> Pixels:
    """(N, S, S) uint8, each image times its factor, rounded and clipped to 255."""
    levels = np.arange(256, dtype=np.float32)
    brightened = np.empty_like(images)
    for image, factor, out in zip(images, factors, brightened, strict=True):
        out[:] = np.minimum(levels * factor + 0.5, 255).astype(np.uint8)[image]
    return brightened


def draw_boxes(count: int, recipe: Recipe, size: int, seed: tuple[int, ...]) -> Boxes | None:
    """The box that is erased in each image; None if the recipe erases none.

    Parameters
    ----------
    recipe : its `erase` is the share of the images with a box
    size : side of the square images, pixels

    Returns
    -------
    (N, 4) top, left, height and width in pixels; height and width are 0 for an image without a box

    References
    ----------
    Z. Zhong et al., Random Erasing Data Augmentation, AAAI 2020 (filled with one grey, their
    variant with the mean of all pixels)
    """
    if not recipe.erase:
        return None
    random = np.random.default_rng(seed)
    area = random.uniform(*ERASED_SHARE, count) * size**2
    aspect = np.exp(random.uniform(-np.log(MAX_ASPECT), np.log(MAX_ASPECT), count))
    sides = np.clip(np.rint(np.sqrt(np.stack([area * aspect, area / aspect], axis=1))), 1, size)
    corners = np.floor(random.random((count, 2)) * (size - sides + 1))
    sides[random.random(count) >= recipe.erase] = 0
    return np.hstack([corners, sides]).astype(np.int64)


def erase_images(images: Pixels, boxes: Boxes) -> Pixels:
    """(N, S, S) uint8, each image with its box filled with one grey."""
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
