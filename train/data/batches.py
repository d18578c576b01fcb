"""What a model is fed with: batches whose order, masks, warps, light and boxes follow from (seed, epoch, row) alone.

So neither prefetching nor the number of threads nor a resumed run can change them, and the stream of `tf.data` gives the
same bytes (`train.data.tf_batches`).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from train.backend import keras
from train.data.augment import (
    Boxes,
    Factors,
    Transforms,
    draw_boxes,
    draw_factors,
    draw_transforms,
    erase_images,
    light_images,
    warp_images,
)
from train.data.images import Examples, Pixels, Rows
from train.data.masks import mask_images
from train.recipes.recipe import Recipe

Floats = npt.NDArray[np.float32]
Batch = tuple[Pixels, Floats, Floats]
# Rows of val that are scored at once; the scores do not depend on it.
SCORE_BATCH = 256


def count_steps(recipe: Recipe, rows: int) -> int:
    """The steps of an epoch; the last batch may be shorter."""
    return -(-rows // recipe.batch_size)


def stream_batches(
    recipe: Recipe, classes: int, train: Examples, seed: tuple[int, ...], first_epoch: int = 0
) -> Iterator[Batch]:
    """Batches without end: every epoch all rows once, in a new order, each with a new transform.

    Yields
    ------
    (B, S, S, 1) uint8, float32 targets (`make_batch`), (B,) float32 weights; the last batch of an epoch may be shorter
    """
    epoch = first_epoch
    while True:
        plan = plan_epoch(recipe, len(train.rows), (*seed, epoch))
        for step in range(count_steps(recipe, len(train.rows))):
            yield make_batch(
                recipe, classes, train, plan, choose_share(plan.order, step, recipe.batch_size)
            )
        epoch += 1


@dataclass(frozen=True)
class Plan:
    """What happens to each of N rows in one epoch: when it comes, how it is warped and lit, what is erased."""

    order: Rows
    transforms: Transforms
    factors: Factors | None
    boxes: Boxes | None


def plan_epoch(recipe: Recipe, count: int, seed: tuple[int, ...]) -> Plan:
    """The plan of one epoch, from the seed alone."""
    return Plan(
        np.random.default_rng(seed).permutation(count),
        draw_transforms(count, recipe, recipe.size, (*seed, 1)),
        draw_factors(count, recipe, (*seed, 2)),
        draw_boxes(count, recipe, recipe.size, (*seed, 3)),
    )


def choose_share(order: Rows, step: int, batch_size: int, share: int = 0, of: int = 1) -> Rows:
    """Rows `share`, `share` + `of`, ... of the batch of that step; a last batch of fewer rows than shares is repeated."""
    chosen = order[step * batch_size :][:batch_size]
    return (np.resize(chosen, of) if len(chosen) < of else chosen)[share::of]


def make_batch(recipe: Recipe, classes: int, train: Examples, plan: Plan, chosen: Rows) -> Batch:
    """The chosen rows, masked, warped, lit and erased as the plan says, with their targets and weights.

    Targets are (B, K); under self-distillation (B, K + 1), the last column being `chosen`.
    """
    images = mask_images(np.asarray(train.images[train.rows[chosen]]), recipe.mask)
    images = warp_images(images, plan.transforms[chosen])
    if plan.factors is not None:
        images = light_images(images, plan.factors[chosen])
    if plan.boxes is not None:
        images = erase_images(images, plan.boxes[chosen])
    targets = choose_targets(train, classes, chosen)
    if recipe.self_distillation:
        targets = np.column_stack([targets, chosen.astype(np.float32)])
    return images[..., None], targets, train.weights[chosen]


def choose_targets(train: Examples, classes: int, chosen: Rows) -> Floats:
    """(B, K) float32: one for the label, or the shares of the votes."""
    return (
        one_hot(train.targets[chosen], classes) if train.beliefs is None else train.beliefs[chosen]
    )


def validate_on(recipe: Recipe, classes: int, val: Examples) -> Any:
    """Val as it is, masked where training is: all of it in memory, or batch by batch where it is mapped from the disk."""
    if isinstance(val.images, np.ndarray):
        pixels = mask_images(val.images[val.rows], recipe.mask)
        return Validation(lambda rows: pixels[rows], val, classes)
    return Validation(
        lambda rows: mask_images(val.images[val.rows[rows]], recipe.mask), val, classes
    )


class Validation(keras.utils.PyDataset):  # type: ignore[misc]  # keras has no types
    """Batches of `SCORE_BATCH` rows in their order."""

    def __init__(self, read: Callable[[Rows], Pixels], val: Examples, classes: int):
        super().__init__()
        self.read, self.val, self.classes = read, val, classes

    def __len__(self) -> int:
        return math.ceil(len(self.val.rows) / SCORE_BATCH)

    def __getitem__(self, batch: int) -> tuple[Pixels, Floats]:
        rows = np.arange(batch * SCORE_BATCH, min((batch + 1) * SCORE_BATCH, len(self.val.rows)))
        return self.read(rows)[..., None], one_hot(self.val.targets[rows], self.classes)


def one_hot(targets: Rows, classes: int) -> Floats:
    """(N,) indices -> (N, K) float32."""
    return np.eye(classes, dtype=np.float32)[targets]
