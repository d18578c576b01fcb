"""Batches through `tf.data`, for datasets larger than memory and for training on several devices.

Input: `Examples` of split train. Output: a `tf.data.Dataset`. The plan of each epoch
(`train.data.batches`) fixes order, masks and augmentation, so the bytes are those of the loop in
memory. Threads read and warp images ahead of the training.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from typing import Any

from train.data.batches import (
    Batch,
    EpochPlan,
    count_steps,
    make_batch,
    plan_epoch,
    select_rows,
)
from train.data.dataset import Examples
from train.recipes.recipe import Recipe


def stream_dataset(
    recipe: Recipe,
    classes: int,
    train: Examples,
    seed: tuple[int, ...],
    first_epoch: int = 0,
    own_replicas: Sequence[int] = (0,),
    replicas: int = 1,
) -> Any:
    """An endless `tf.data.Dataset` with the batches of `batches.stream_batches`.

    Parameters
    ----------
    own_replicas : the replicas of this process; each gets its own elements
    replicas : of all processes; replica r gets the rows r, r + replicas, ... of a batch

    Returns
    -------
    elements (B, S, S, 1) uint8 pixels, float32 targets (`batches.make_batch`), (B,) float32 weights
    """
    import tensorflow

    size, steps = recipe.size, count_steps(recipe, len(train.rows))

    # Near the end of an epoch, threads already work on the next one.
    @lru_cache(maxsize=2)
    def plan(epoch: int) -> EpochPlan:
        return plan_epoch(recipe, len(train.rows), (*seed, epoch))

    def positions() -> Iterator[tuple[int, int, int]]:
        for epoch in count(first_epoch):
            for step in range(steps):
                yield from ((epoch, step, replica) for replica in own_replicas)

    def load(epoch: Any, step: Any, replica: Any) -> Batch:
        planned = plan(int(epoch))
        chosen = select_rows(planned.order, int(step), recipe.batch_size, int(replica), replicas)
        return make_batch(recipe, classes, train, planned, chosen)

    def ensure_shapes(pixels: Any, targets: Any, weights: Any) -> tuple[Any, Any, Any]:
        columns = classes + bool(recipe.self_distillation)
        return (
            tensorflow.ensure_shape(pixels, (None, size, size, 1)),
            tensorflow.ensure_shape(targets, (None, columns)),
            tensorflow.ensure_shape(weights, (None,)),
        )

    dtypes = (tensorflow.uint8, tensorflow.float32, tensorflow.float32)
    number = tensorflow.TensorSpec((), tensorflow.int64)
    dataset = tensorflow.data.Dataset.from_generator(
        positions, output_signature=(number, number, number)
    )
    dataset = dataset.map(
        lambda *position: ensure_shapes(*tensorflow.numpy_function(load, position, dtypes)),
        num_parallel_calls=tensorflow.data.AUTOTUNE,
        deterministic=True,
    )
    return dataset.prefetch(tensorflow.data.AUTOTUNE)
