"""Training on several devices or machines by `tf.distribute`; entered only with `--strategy`.

Keras 3's own `fit` fails under MultiWorkerMirroredStrategy (keras-team/keras issue 20585), so this
module has its own loop. Every replica takes its share of the batch, gradients and losses are sums
over all replicas divided by all rows, and batch normalisation is synchronised. So the result is
that of one process up to rounding, except for dropout. Every worker scores val, and the means over
the workers count: if each worker used its own scores, one with other rounding could stop alone, and
the others would wait for it forever.

Self-distillation needs what was believed of a row before, and an epoch deals the rows out anew. So
the replicas exchange what they have just predicted, a few kilobytes a step, and each keeps the
whole table, 4 K bytes a row.
"""

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.errors import UsageError
from train.backend import keras
from train.data.batches import Validation
from train.data.dataset import Examples
from train.data.tf_batches import stream_dataset
from train.models.self_distillation import mix_targets, split_targets, update_mean

if TYPE_CHECKING:
    from train.training.fit import Training

STRATEGIES = ("none", "mirrored", "multiworker")


def open_strategy(name: str) -> Any:
    """The strategy `mirrored` or `multiworker`.

    Raises
    ------
    UsageError  if it is not available here
    """
    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"--strategy {name}: needs TensorFlow: leave it out, or set KERAS_BACKEND=tensorflow"
        )
    import tensorflow

    if name == "mirrored":
        gpus = [device.name for device in tensorflow.config.list_logical_devices("GPU")]
        return tensorflow.distribute.MirroredStrategy(gpus or list_cpus())
    if "cluster" not in read_tf_config():
        raise UsageError(
            "--strategy multiworker: TF_CONFIG names no cluster: set it on every worker as "
            "TensorFlow documents"
        )
    return tensorflow.distribute.MultiWorkerMirroredStrategy()


def require_strategy(name: str) -> None:
    """Raise UsageError if there is no strategy of that name."""
    if name not in STRATEGIES:
        raise UsageError(f"--strategy {name}: must be one of {', '.join(STRATEGIES)}")


def list_cpus() -> list[str]:
    """The logical CPUs, one unless TensorFlow was configured to make more."""
    import tensorflow

    return [device.name for device in tensorflow.config.list_logical_devices("CPU")]


def find_worker(name: str) -> int:
    """The number of this worker; worker 0 alone writes the run.

    Worker 0 is the chief if the cluster has one, else the first worker.
    """
    if name != "multiworker":
        return 0
    config = read_tf_config()
    task = config.get("task", {})
    if task.get("type") == "chief":
        return 0
    return int(task.get("index", 0)) + bool(config.get("cluster", {}).get("chief"))


def read_tf_config() -> dict[str, Any]:
    """The configuration of the cluster in TF_CONFIG; empty without one.

    Raises
    ------
    UsageError  if it is no JSON object
    """
    try:
        config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise UsageError(
            "TF_CONFIG: is no JSON object: set it on every worker as TensorFlow documents"
        )
    return config


def fit_distributed(
    model: Any,
    training: "Training",
    train: Examples,
    *,
    first_epoch: int,
    val: Validation | None,
    callbacks: Sequence[Any],
) -> None:
    """Train a model of the strategy's scope; calls the callbacks as Keras' `fit` does."""
    recipe, strategy, steps = training.recipe, training.strategy, training.steps
    replicas = strategy.num_replicas_in_sync

    def feed(context: Any) -> Any:
        each = replicas // context.num_input_pipelines
        own = range(context.input_pipeline_id * each, (context.input_pipeline_id + 1) * each)
        return stream_dataset(
            recipe, training.classes, train, training.seed, first_epoch, list(own), replicas
        )

    beliefs = (_Beliefs if recipe.self_distillation else _NoBeliefs)(model, strategy)
    take_step = _make_step(model, training, beliefs)
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
        logs |= _average_scores(strategy, _score(model, val, recipe.label_smoothing))
        beliefs.keep()
        for callback in callbacks:
            callback.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    with strategy.scope():
        for callback in callbacks:
            callback.on_train_end({})


class _NoBeliefs:
    """A training without self-distillation."""

    def __init__(self, model: Any, strategy: Any) -> None:
        self.model, self.strategy = model, strategy

    def mix(self, targets: Any, probs: Any) -> Any:  # noqa: ARG002 - as `_Beliefs`
        """The targets themselves."""
        return targets

    def keep(self) -> None:
        """Keep nothing."""


class _Beliefs(_NoBeliefs):
    """The running means of a `SelfDistilledModel`, as a table on each replica of this worker.

    A variable of the strategy would be sent around whole in every step.
    """

    def __init__(self, model: Any, strategy: Any) -> None:
        import tensorflow

        super().__init__(model, strategy)
        start = model.mean_probs.numpy()
        self.tables = []
        for device in strategy.extended.worker_devices:
            with tensorflow.device(device):
                self.tables.append(tensorflow.Variable(start, trainable=False))

    def mix(self, targets: Any, probs: Any) -> Any:
        """(B, K) targets of this replica's rows; notes the predictions of all replicas' rows."""
        import tensorflow

        context = tensorflow.distribute.get_replica_context()
        number = tensorflow.get_static_value(context.replica_id_in_sync_group)
        table = self.tables[number % len(self.tables)]
        labels, rows = split_targets(targets, probs)
        before = tensorflow.gather(table, rows)
        rows, probs = (context.all_gather(part, axis=0) for part in (rows, probs))
        with tensorflow.control_dependencies([before]):
            after = update_mean(tensorflow.gather(table, rows), probs)
            table.scatter_nd_update(rows[:, None], after)
        return mix_targets(labels, before, self.model.share)

    def keep(self) -> None:
        """Give the model the table, for the state from which one process may go on."""
        with self.strategy.scope():
            self.model.mean_probs.assign(self.tables[0].numpy())


def _make_step(model: Any, training: "Training", beliefs: _NoBeliefs) -> Any:
    """The compiled function that trains the model on the next batch.

    It takes the iterator of batches and returns three sums over all replicas: the losses, the rows
    predicted right, and the rows.
    """
    import tensorflow

    recipe, strategy = training.recipe, training.strategy

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
            labels, _ = split_targets(targets, probs)
            aims = beliefs.mix(targets, tensorflow.stop_gradient(probs))
            losses = weights * keras.losses.categorical_crossentropy(
                aims, probs, label_smoothing=recipe.label_smoothing
            )
            loss = tensorflow.reduce_sum(losses) / everywhere
        variables = model.trainable_variables
        model.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        right = tensorflow.argmax(probs, axis=1) == tensorflow.argmax(labels, axis=1)
        return (
            tensorflow.reduce_sum(losses),
            tensorflow.reduce_sum(tensorflow.cast(right, tensorflow.float32)),
            rows,
        )

    return take_step


def _average_scores(strategy: Any, own: dict[str, float]) -> dict[str, float]:
    """The mean of the workers' scores over all replicas, the same bits on every worker."""
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
