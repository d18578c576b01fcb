"""Batches through `tf.data`, for sets larger than memory and for training on several devices.

The same plan of each epoch (`train.data.batches`) decides order, masks, warps, light and boxes, so the bytes are those of the loop in
memory; reading and warping run in parallel threads ahead of the training.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from train.data.batches import Batch, Plan, choose_share, count_steps, make_batch, plan_epoch
from train.data.images import Examples
from train.recipes.recipe import Recipe


def stream_dataset(
    recipe: Recipe,
    classes: int,
    train: Examples,
    seed: tuple[int, ...],
    first_epoch: int = 0,
    replicas: Sequence[int] = (0,),
    of: int = 1,
) -> Any:
    """A `tf.data.Dataset` without end, of what `feed.stream_batches` yields.

    Parameters
    ----------
    replicas : which shares of each batch this process wants, each an element of its own
    of : shares of a batch; share r holds its rows r, r + of, r + 2 of, ...

    Returns
    -------
    elements (B, S, S, 1) uint8, float32 targets (`feed.make_batch`), (B,) float32 weights
    """
    import tensorflow

    size, steps = recipe.size, count_steps(recipe, len(train.rows))

    # Threads work on the end of one epoch and the start of the next.
    @lru_cache(maxsize=2)
    def plan(epoch: int) -> Plan:
        return plan_epoch(recipe, len(train.rows), (*seed, epoch))

    def positions() -> Iterator[tuple[int, int, int]]:
        epoch = first_epoch
        while True:
            yield from ((epoch, batch, replica) for batch in range(steps) for replica in replicas)
            epoch += 1

    def load(epoch: Any, batch: Any, replica: Any) -> Batch:
        made = plan(int(epoch))
        chosen = choose_share(made.order, int(batch), recipe.batch_size, int(replica), of)
        return make_batch(recipe, classes, train, made, chosen)

    def shape(pixels: Any, targets: Any, weights: Any) -> tuple[Any, Any, Any]:
        return (
            tensorflow.ensure_shape(pixels, (None, size, size, 1)),
            tensorflow.ensure_shape(targets, (None, classes + bool(recipe.self_distillation))),
            tensorflow.ensure_shape(weights, (None,)),
        )

    kinds = (tensorflow.uint8, tensorflow.float32, tensorflow.float32)
    number = tensorflow.TensorSpec((), tensorflow.int64)
    dataset = tensorflow.data.Dataset.from_generator(
        positions, output_signature=(number, number, number)
    )
    dataset = dataset.map(
        lambda *place: shape(*tensorflow.numpy_function(load, place, kinds)),
        num_parallel_calls=tensorflow.data.AUTOTUNE,
        deterministic=True,
    )
    return dataset.prefetch(tensorflow.data.AUTOTUNE)
