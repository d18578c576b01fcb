"""Test-time augmentation: what `--tta` asks for."""

from curate.errors import UsageError
from train.augment import Transforms, plan_mirror, plan_views
from train.fields import Recipe

FLIP = "flip"


def count_views(tta: str) -> int:
    """How many views `--tta` asks for.

    Raises
    ------
    UsageError  if it is neither a number nor `flip`
    """
    if tta == FLIP:
        return 2
    if not tta.isdecimal() or int(tta) < 1:
        raise UsageError(f"--tta {tta}: must be a number of views >= 1, or {FLIP}")
    return int(tta)


def plan_tta(tta: str, count: int, recipe: Recipe, seed: int) -> list[Transforms]:
    """The views of each of `count` images, the image itself first."""
    if tta == FLIP:
        return plan_mirror(count, recipe.size)
    return plan_views(count, recipe, recipe.size, int(tta), seed)
