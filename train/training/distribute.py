"""Training on several devices or machines by `tf.distribute`: what one process computes, in shares.

Keras 3's own `fit` fails under MultiWorkerMirroredStrategy (keras-team/keras issue 20585), so the loop is written out: every
replica takes its share of the batch, gradients and losses are sums over all replicas divided by all rows, and batch
normalisation is synchronised; so the result is that of one process up to rounding, dropout apart. Every worker scores
val, and the scores that count are the means over the workers: were each to go by its own, one that rounds otherwise could
stop alone, and the others would wait for it for ever.
"""

import contextlib
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from curate.errors import UsageError
from train.backend import keras
from train.data.batches import Validation, count_steps
from train.data.images import Examples
from train.data.tf_batches import stream_dataset
from train.recipes.recipe import Recipe

STRATEGIES = ("none", "mirrored", "multiworker")


def open_strategy(name: str) -> Any:
    """The strategy of that name, or None for one device.

    Raises
    ------
    UsageError  if it is unknown, or cannot be had here
    """
    require_strategy(name)
    if name == "none":
        return None
    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"--strategy {name}: is TensorFlow's: leave it out, or set KERAS_BACKEND=tensorflow"
        )
    import tensorflow

    if name == "mirrored":
        gpus = tensorflow.config.list_logical_devices("GPU")
        return tensorflow.distribute.MirroredStrategy(
            [device.name for device in gpus] or list_cpus()
        )
    if "cluster" not in read_tf_config():
        raise UsageError(
            "--strategy multiworker: TF_CONFIG names no cluster: set it on every worker as TensorFlow says"
        )
    return tensorflow.distribute.MultiWorkerMirroredStrategy()


def require_strategy(name: str) -> None:
    """Raise UsageError if there is no strategy of that name."""
    if name not in STRATEGIES:
        raise UsageError(f"--strategy {name}: must be one of {', '.join(STRATEGIES)}")


def require_shareable(name: str, recipe: Recipe) -> None:
    """Raise UsageError if the loop of this module does not train the recipe."""
    if recipe.self_distillation and name != "none":
        raise UsageError(
            f"--strategy {name}: remembers nothing of the rows, and {recipe.name} distils itself: add --self-distillation 0"
        )


def list_cpus() -> list[str]:
    """The logical CPUs, one unless TensorFlow was told to make more."""
    import tensorflow

    return [device.name for device in tensorflow.config.list_logical_devices("CPU")]


def find_worker(name: str) -> int:
    """The number of this worker; 0 is the one that writes: the chief where the cluster has one, else the first worker."""
    if name != "multiworker":
        return 0
    config = read_tf_config()
    task = config.get("task", {})
    if task.get("type") == "chief":
        return 0
    return int(task.get("index", 0)) + bool(config.get("cluster", {}).get("chief"))


def read_tf_config() -> dict[str, Any]:
    """What TF_CONFIG says; empty without one.

    Raises
    ------
    UsageError  if it is no JSON object
    """
    try:
        config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise UsageError("TF_CONFIG: is no JSON object: set it on every worker as TensorFlow says")
    return config


def open_scope(strategy: Any) -> Any:
    """The context in which a model of the strategy is made."""
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def fit_distributed(
    strategy: Any,
    model: Any,
    recipe: Recipe,
    classes: int,
    train: Examples,
    *,
    seed: tuple[int, ...],
    first_epoch: int,
    val: Validation | None,
    callbacks: Sequence[Any],
) -> None:
    """Train a compiled model that was made in the strategy's scope; the callbacks are called as Keras' `fit` does."""
    import tensorflow

    replicas = strategy.num_replicas_in_sync
    steps = count_steps(recipe, len(train.rows))

    def feed(context: Any) -> Any:
        each = replicas // context.num_input_pipelines
        own = range(context.input_pipeline_id * each, (context.input_pipeline_id + 1) * each)
        return stream_dataset(recipe, classes, train, seed, first_epoch, list(own), replicas)

    @tensorflow.function(jit_compile=False)  # type: ignore[untyped-decorator]
    def take_step(batches: Any) -> Any:
        totals = strategy.run(_train_share, args=(next(batches),))
        return [
            strategy.reduce(tensorflow.distribute.ReduceOp.SUM, total, axis=None)
            for total in totals
        ]

    def _train_share(batch: Any) -> Any:
        pixels, targets, weights = batch
        rows = tensorflow.cast(tensorflow.shape(weights)[0], tensorflow.float32)
        everywhere = tensorflow.distribute.get_replica_context().all_reduce(
            tensorflow.distribute.ReduceOp.SUM, rows
        )
        with tensorflow.GradientTape() as tape:
            probs = model(pixels, training=True)
            losses = weights * keras.losses.categorical_crossentropy(
                targets, probs, label_smoothing=recipe.label_smoothing
            )
            loss = tensorflow.reduce_sum(losses) / everywhere
        variables = model.trainable_variables
        model.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        right = tensorflow.argmax(probs, axis=1) == tensorflow.argmax(targets, axis=1)
        return (
            tensorflow.reduce_sum(losses),
            tensorflow.reduce_sum(tensorflow.cast(right, tensorflow.float32)),
            rows,
        )

    for callback in callbacks:
        callback.set_params({"steps": steps, "epochs": recipe.epochs})
        callback.set_model(model)
        callback.on_train_begin({})
    batches = iter(strategy.distribute_datasets_from_function(feed))
    model.stop_training = False
    for epoch in range(first_epoch, recipe.epochs):
        for callback in callbacks:
            callback.on_epoch_begin(epoch, {})
        sums = np.zeros(3)
        for step in range(steps):
            sums += [float(total) for total in take_step(batches)]
            for callback in callbacks:
                callback.on_train_batch_end(step, {"loss": sums[0] / sums[2]})
        logs = {"accuracy": sums[1] / sums[2], "loss": sums[0] / sums[2]}
        logs |= _agree(strategy, _score(model, val, recipe.label_smoothing))
        for callback in callbacks:
            callback.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    with strategy.scope():
        for callback in callbacks:
            callback.on_train_end({})


def _agree(strategy: Any, own: dict[str, float]) -> dict[str, float]:
    """The mean over all replicas of what each worker says, the same bits everywhere."""
    import tensorflow

    if not own:
        return own
    values = tensorflow.constant(list(own.values()), tensorflow.float64)
    of_replicas = strategy.experimental_distribute_values_from_function(lambda _: values)
    means = strategy.reduce(tensorflow.distribute.ReduceOp.MEAN, of_replicas, axis=None)
    return dict(zip(own, np.asarray(means).tolist(), strict=True))


def _score(model: Any, val: Validation | None, label_smoothing: float) -> dict[str, float]:
    """Accuracy and mean loss of val, by this worker alone."""
    if val is None:
        return {}
    right = loss = rows = 0.0
    for number in range(len(val)):
        pixels, targets = val[number]
        probs = np.asarray(model(pixels, training=False))
        right += float((probs.argmax(axis=1) == targets.argmax(axis=1)).sum())
        losses = keras.losses.categorical_crossentropy(
            targets, probs, label_smoothing=label_smoothing
        )
        loss += float(np.asarray(losses).sum())
        rows += len(pixels)
    return {"val_accuracy": right / rows, "val_loss": loss / rows}
