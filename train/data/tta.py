"""Test-time augmentation: the TTA views of an image that `--tta` or a recipe's `oof_views` names.

Input: the value of `--tta`, a recipe and keys of the images. Output: transforms for
`evaluation.predict`. A kind of views is a function `plan_NAME` that returns one (N, 2, 3) array per
view, the images themselves first; `count_views` and `plan_tta` read its name in `--tta`.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from curate.errors import UsageError
from train.data.augment import Floats, Transforms, make_transforms
from train.recipes.recipe import Recipe

SHIFT = 1 / 24  # of the side: two pixels of 48
FLIP = "flip"
MAX_VIEWS = 1000


def count_views(tta: str) -> int:
    """The number of TTA views of a value of `--tta`.

    Raises
    ------
    UsageError  if it is neither a number nor `flip`
    """
    if tta == FLIP:
        return 2
    is_short = tta.isdecimal() and len(tta) <= len(str(MAX_VIEWS))
    if not is_short or not 1 <= int(tta) <= MAX_VIEWS:
        raise UsageError(f"--tta {tta}: must be a number of views from 1 to {MAX_VIEWS}, or {FLIP}")
    return int(tta)


def is_random(tta: str) -> bool:
    """Whether the TTA views depend on a seed."""
    return tta != FLIP and count_views(tta) > 1


def require_views(tta: str, recipe: Recipe) -> None:
    """Raise UsageError if all TTA views would be the image itself."""
    changes = (recipe.flip, recipe.rotation, recipe.shift, recipe.zoom, recipe.shear)
    if is_random(tta) and not any(changes):
        raise UsageError(
            f"--tta {tta}: recipe {recipe.name} draws no views to average: "
            f"use --tta {FLIP}, or leave it out"
        )


def plan_tta(tta: str, keys: Sequence[str], recipe: Recipe, seed: int) -> list[Transforms]:
    """The TTA views of each image, the image itself first.

    Parameters
    ----------
    keys : (N,) identify the images, see `plan_views`

    Returns
    -------
    one (N, 2, 3) array of transforms per TTA view
    """
    require_views(tta, recipe)
    if tta == FLIP:
        return plan_mirror(len(keys), recipe.size)
    return plan_views(keys, recipe, recipe.size, int(tta), seed)


def plan_identity(count: int) -> list[Transforms]:
    """One TTA view, the images themselves, which the warp reproduces to the bit."""
    return [_repeat([[1, 0, 0], [0, 1, 0]], count)]


def plan_views(
    keys: Sequence[str], recipe: Recipe, size: int, views: int, seed: int
) -> list[Transforms]:
    """Random TTA views: the images themselves, then `views - 1` augmented copies.

    Parameters
    ----------
    keys : (N,) identify the images, such as a digest of the pixels: the views of an image depend
        on its key and the seed alone, not on its position or on the other images

    Returns
    -------
    `views` arrays (N, 2, 3); the first is `plan_identity`
    """
    drawn = np.zeros((len(keys), views - 1, 6))
    for image, key in enumerate(keys):
        drawn[image] = _draw_for_key(key, views - 1, seed)
    planned = plan_identity(len(keys))
    for view in range(views - 1):
        spread, is_flipped = 2 * drawn[:, view, :5] - 1, drawn[:, view, 5] < 0.5
        planned.append(make_transforms(spread, recipe.flip & is_flipped, recipe, size))
    return planned


def _draw_for_key(key: str, copies: int, seed: int) -> Floats:
    """(copies, 6) in [0, 1)."""
    digest = int.from_bytes(hashlib.sha256(key.encode()).digest())
    return np.random.default_rng((seed, digest)).random((copies, 6))


def plan_mirror(count: int, size: int) -> list[Transforms]:
    """Two TTA views: the images themselves, and their mirror images (to the bit)."""
    return [*plan_identity(count), _repeat([[-1, 0, size - 1], [0, 1, 0]], count)]


def plan_fixed_views(count: int, size: int, views: int) -> list[Transforms]:
    """TTA views that are the same for all images: mirrored, and shifted by `SHIFT` of the side.

    Parameters
    ----------
    views : 2 for the images and their mirror images; 10 for both in place and shifted to all four
        sides; 5 for one of both in turns: in place, to two sides mirrored, to the other two plain

    Raises
    ------
    ValueError  if `views` is none of these
    """
    shift = SHIFT * size
    pairs = [
        (
            _repeat([[1, 0, x], [0, 1, y]], count),
            _repeat([[-1, 0, size - 1 + x], [0, 1, y]], count),
        )
        for x, y in ((0, 0), (shift, 0), (-shift, 0), (0, shift), (0, -shift))
    ]
    if views == 2:
        return plan_mirror(count, size)
    if views == 5:
        return [pair[place % 2] for place, pair in enumerate(pairs)]
    if views == 10:
        return [view for pair in pairs for view in pair]
    raise ValueError(f"{views} fixed views: must be 2, 5 or 10")


def _repeat(matrix: list[list[float]], count: int) -> Transforms:
    """The same transform for `count` images."""
    return np.tile(np.array(matrix, np.float32), (count, 1, 1))
