"""Test-time augmentation: what `--tta` asks for."""

from collections.abc import Sequence

from curate.errors import UsageError
from train.data.augment import Transforms, plan_mirror, plan_views
from train.recipes.recipe import Recipe

FLIP = "flip"
MOST = 1000


def count_views(tta: str) -> int:
    """How many views `--tta` asks for.

    Raises
    ------
    UsageError  if it is neither a number nor `flip`
    """
    if tta == FLIP:
        return 2
    if not tta.isdecimal() or len(tta) > len(str(MOST)) or not 1 <= int(tta) <= MOST:
        raise UsageError(f"--tta {tta}: must be a number of views from 1 to {MOST}, or {FLIP}")
    return int(tta)


def is_random(tta: str) -> bool:
    """Whether the views depend on a seed."""
    return tta != FLIP and count_views(tta) > 1


def require_views(tta: str, recipe: Recipe) -> None:
    """Raise UsageError if the views would all be the image itself."""
    if is_random(tta) and not (
        recipe.flip or recipe.rotation or recipe.shift or recipe.zoom or recipe.shear
    ):
        raise UsageError(
            f"--tta {tta}: recipe {recipe.name} draws no views to average: use --tta {FLIP}, or leave it out"
        )


def plan_tta(tta: str, keys: Sequence[str], recipe: Recipe, seed: int) -> list[Transforms]:
    """The views of each image, the image itself first; `keys` name the images, as `plan_views` wants them."""
    require_views(tta, recipe)
    if tta == FLIP:
        return plan_mirror(len(keys), recipe.size)
    return plan_views(keys, recipe, recipe.size, int(tta), seed)
