"""Test-time augmentation: the TTA views that `--tta` names.

Input: the value of `--tta`, a recipe and keys of the images. Output: transforms for
`evaluation.predict`.
"""

from collections.abc import Sequence

from curate.errors import UsageError
from train.data.augment import Transforms, plan_mirror, plan_views
from train.recipes.recipe import Recipe

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
    keys : (N,) identify the images, see `augment.plan_views`

    Returns
    -------
    one (N, 2, 3) array of transforms per TTA view
    """
    require_views(tta, recipe)
    if tta == FLIP:
        return plan_mirror(len(keys), recipe.size)
    return plan_views(keys, recipe, recipe.size, int(tta), seed)
