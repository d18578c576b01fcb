"""Batches of training and validation examples.

Input: `Examples` of a split. Output: batches of pixels, targets and weights. The order, masks,
warps, brightness and erased boxes of a batch depend on (seed, epoch, row) alone. So prefetching,
the number of threads and a resumed run cannot change them, and `tf.data` gives the same bytes
(`train.data.tf_batches`).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from train.backend import keras
from train.data.augment import (
    Boxes,
    Factors,
    Transforms,
    brighten_images,
    draw_boxes,
    draw_brightness,
    draw_transforms,
    erase_images,
    warp_images,
)
from train.data.dataset import Examples, Pixels, Rows
from train.data.masks import mask_images
from train.recipes.recipe import Recipe

Floats = npt.NDArray[np.float32]
Batch = tuple[Pixels, Floats, Floats]
# Rows of val in a batch; the scores do not depend on it.
VALIDATION_BATCH = 256


def count_steps(recipe: Recipe, rows: int) -> int:
    """The steps of an epoch; the last batch may be shorter."""
    return math.ceil(rows / recipe.batch_size)


def stream_batches(
    recipe: Recipe, classes: int, train: Examples, seed: tuple[int, ...], first_epoch: int = 0
) -> Iterator[Batch]:
    """Endless batches: in every epoch all rows once, in a new order, each with a new transform.

    Parameters
    ----------
    classes : K
    seed : of the training; the epoch is appended to it
    first_epoch : to resume a training, counted from 0

    Yields
    ------
    (B, S, S, 1) uint8 pixels, float32 targets (`make_batch`), (B,) float32 weights; the last batch
    of an epoch may be shorter
    """
    epoch = first_epoch
    while True:
        plan = plan_epoch(recipe, len(train.rows), (*seed, epoch))
        for step in range(count_steps(recipe, len(train.rows))):
            chosen = select_rows(plan.order, step, recipe.batch_size)
            yield make_batch(recipe, classes, train, plan, chosen)
        epoch += 1


@dataclass(frozen=True)
class EpochPlan:
    """The order and the augmentation of N rows in one epoch.

    Attributes
    ----------
    order : (N,) a permutation of the positions of the rows
    transforms : (N, 2, 3), from output to input pixels
    factors : (N,) brightness, or None
    boxes : (N, 4) what is erased, or None
    """

    order: Rows
    transforms: Transforms
    factors: Factors | None
    boxes: Boxes | None


def plan_epoch(recipe: Recipe, count: int, seed: tuple[int, ...]) -> EpochPlan:
    """The plan of one epoch, from the seed alone."""
    return EpochPlan(
        np.random.default_rng(seed).permutation(count),
        draw_transforms(count, recipe, recipe.size, (*seed, 1)),
        draw_brightness(count, recipe, (*seed, 2)),
        draw_boxes(count, recipe, recipe.size, (*seed, 3)),
    )


def select_rows(
    order: Rows, step: int, batch_size: int, replica: int = 0, replicas: int = 1
) -> Rows:
    """The positions of a replica in the batch of a step: every `replicas`-th, from `replica` on.

    A last batch with fewer rows than replicas is repeated, so that no replica is without rows.
    """
    batch = order[step * batch_size :][:batch_size]
    if len(batch) < replicas:
        batch = np.resize(batch, replicas)
    return batch[replica::replicas]


def make_batch(
    recipe: Recipe, classes: int, train: Examples, plan: EpochPlan, chosen: Rows
) -> Batch:
    """The chosen rows, masked and augmented by the plan, with their targets and weights.

    Parameters
    ----------
    chosen : (B,) positions of rows in `train`

    Returns
    -------
    (B, S, S, 1) uint8 pixels; (B, K) float32 targets, or (B, K + 1) for self-distillation with
    `chosen` as the last column; (B,) float32 weights
    """
    images = _mask(np.asarray(train.images[train.rows[chosen]]), recipe)
    images = warp_images(images, plan.transforms[chosen])
    if plan.factors is not None:
        images = brighten_images(images, plan.factors[chosen])
    if plan.boxes is not None:
        images = erase_images(images, plan.boxes[chosen])
    targets = make_targets(train, classes, chosen)
    if recipe.self_distillation:
        targets = np.column_stack([targets, chosen.astype(np.float32)])
    return images[..., None], targets, train.weights[chosen]


def _mask(images: Pixels, recipe: Recipe) -> Pixels:
    return images if recipe.mask == "none" else mask_images(images, recipe.mask)


def make_targets(train: Examples, classes: int, chosen: Rows) -> Floats:
    """(B, K) float32: one for the label, or the soft targets."""
    if train.soft_targets is None:
        return one_hot(train.targets[chosen], classes)
    return train.soft_targets[chosen]


def make_validation(recipe: Recipe, classes: int, val: Examples) -> "Validation":
    """The batches of val, with the recipe's mask and without augmentation.

    Images in memory are masked once; images on the disk are read and masked batch by batch.
    """
    if isinstance(val.images, np.ndarray):
        pixels = _mask(val.images[val.rows], recipe)
        return Validation(lambda chosen: pixels[chosen], val, classes)
    return Validation(lambda chosen: _mask(val.images[val.rows[chosen]], recipe), val, classes)


class Validation(keras.utils.PyDataset):  # type: ignore[misc]  # keras has no types
    """Batches of `VALIDATION_BATCH` rows in their order.

    Attributes
    ----------
    read : positions of rows in `val` -> their pixels (B, S, S)
    """

    def __init__(self, read: Callable[[Rows], Pixels], val: Examples, classes: int):
        super().__init__()
        self.read, self.val, self.classes = read, val, classes

    def __len__(self) -> int:
        return math.ceil(len(self.val.rows) / VALIDATION_BATCH)

    def __getitem__(self, batch: int) -> tuple[Pixels, Floats]:
        start = batch * VALIDATION_BATCH
        chosen = np.arange(start, min(start + VALIDATION_BATCH, len(self.val.rows)))
        return self.read(chosen)[..., None], one_hot(self.val.targets[chosen], self.classes)


def one_hot(targets: Rows, classes: int) -> Floats:
    """(N,) class indices -> (N, K) float32."""
    return np.eye(classes, dtype=np.float32)[targets]
