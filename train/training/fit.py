"""The training loop, shared by `train run`, `train tune` and `train oof`.

A `Training` and its examples come in; the trained network and one dict of numbers per epoch go out.
The loss is categorical cross-entropy: each row's term is multiplied by its weight, and the sum is
divided by the number of rows (Keras' `sample_weight`). With balanced class weights the mean weight
is 1.
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from curate.errors import CandidError
from train.backend import FLOAT32, compiles_whole, keras, use_precision
from train.data.batches import Validation, count_steps, stream_batches
from train.data.dataset import Examples
from train.data.tf_batches import stream_dataset
from train.models.build import build_model
from train.models.optimizers import LinearDecay, Muon, SlowBaseAdam, list_base_variables
from train.models.self_distillation import (
    GrowShare,
    SelfDistilledModel,
    strip_self_distillation,
)
from train.recipes.recipe import WARMUP_SCHEDULES, Recipe
from train.training.checkpoint import Checkpoint, read_rate, seed_dropout
from train.training.distribute import fit_distributed

History = list[dict[str, float]]


class DivergedError(CandidError):
    """The loss is NaN or infinite: train with a smaller learning rate."""


@dataclass(frozen=True)
class Training:
    """What decides how a network is built and trained, besides the examples.

    Attributes
    ----------
    recipe : with its batch size resolved
    classes : K, the width of the softmax
    rows : number of train rows
    seed : of weights, dropout, order and augmentation
    precision : the Keras dtype policy
    strategy : of `tf.distribute`, from `distribute.open_strategy`; None for one device
    """

    recipe: Recipe
    classes: int
    rows: int
    seed: tuple[int, ...]
    precision: str
    strategy: Any = None

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return count_steps(self.recipe, self.rows)

    @property
    def total_steps(self) -> int:
        """Batches of all epochs."""
        return self.recipe.epochs * self.steps

    def scope(self) -> Any:
        """The context in which the network's variables are made and assigned."""
        return nullcontext() if self.strategy is None else self.strategy.scope()


def make_model(training: Training) -> Any:
    """The compiled network with the weights that the recipe starts from and an optimizer at step 0.

    Raises
    ------
    SourceError  if the file of weights is missing or belongs to another network
    UsageError  if the fields of the recipe make no network
    """
    recipe = training.recipe
    keras.utils.set_random_seed(int(np.random.SeedSequence(training.seed).generate_state(1)[0]))
    with training.scope():
        model = build_model(recipe, training.classes, training.precision)
        if recipe.self_distillation:
            with use_precision(training.precision):
                model = SelfDistilledModel(model, training.rows)
        compile_model(model, recipe, training.steps)
        model.optimizer.build(model.trainable_variables)
    return model


def fit_model(
    model: Any,
    training: Training,
    train: Examples,
    bar: Any,
    *,
    val: Validation | None = None,
    checkpoint: Checkpoint | None = None,
    callbacks: Sequence[Any] = (),
) -> tuple[Any, History]:
    """Train a model of `make_model`.

    Parameters
    ----------
    bar : a tqdm bar, advanced by one per batch
    val : scored after every epoch; given together with a checkpoint
    checkpoint : decides the best weights, the learning rate of the plateau schedule and the last
        epoch by the scores of val; training goes on from its state
    callbacks : more Keras callbacks

    Returns
    -------
    network : with the weights of its best epoch; of its last one without `val` or with a strategy
    history : one dict of numbers per epoch

    Raises
    ------
    DivergedError  if the loss of an epoch is NaN or infinite
    """
    recipe, strategy = training.recipe, training.strategy
    done = checkpoint.state.epoch if checkpoint else 0
    progress = TrainingProgress(bar, recipe.epochs, training.seed, done)
    if checkpoint and done:
        with training.scope():
            checkpoint.restore(model)
        if checkpoint.is_finished():
            progress.skip_rest(training.steps)
            return checkpoint.load_best(model), checkpoint.state.history
    kept = [progress, *([checkpoint] if checkpoint else []), *callbacks]
    if recipe.self_distillation:
        kept.insert(0, GrowShare(recipe.self_distillation, recipe.epochs))
    if strategy is not None:
        fit_distributed(model, training, train, first_epoch=done, val=val, callbacks=kept)
        history = checkpoint.state.history if checkpoint else []
        return strip_self_distillation(model), history
    stream = stream_dataset if uses_tf_data(train) else stream_batches
    log = model.fit(
        stream(recipe, training.classes, train, training.seed, done),
        steps_per_epoch=training.steps,
        epochs=recipe.epochs,
        initial_epoch=done,
        validation_data=val,
        validation_steps=None if val is None else len(val),
        shuffle=False,
        callbacks=kept,
        verbose=0,
    )
    history = checkpoint.state.history if checkpoint else _list_epochs(log.history)
    return strip_self_distillation(model), history


def continue_from_state(training: Training) -> Training:
    """The training whose model takes its weights from the state of a run, not from a file."""
    return replace(training, recipe=replace(training.recipe, weights="none"))


def predict_in_float32(network: Any, images: Validation) -> Any:
    """(N, K) float32 class probabilities, computed in float32 whatever the network trained in.

    The variables are float32 under every dtype policy, so only the arithmetic changes. The network
    computes in float32 from now on.
    """
    _compute_in_float32(network)
    # A network that has predicted before holds a function that computes in its old precision.
    network.predict_function = None
    network.jit_compile = compiles_whole()
    return network.predict(images, verbose=0)


def _compute_in_float32(network: Any) -> None:
    for layer in network.layers:
        layer.dtype_policy = FLOAT32
        if isinstance(layer, keras.Model):
            _compute_in_float32(layer)


def uses_tf_data(train: Examples) -> bool:
    """Whether batches come through `tf.data`: the images are on disk, and TensorFlow is in use."""
    return not isinstance(train.images, np.ndarray) and keras.backend.backend() == "tensorflow"


def compile_model(model: Any, recipe: Recipe, steps: int) -> None:
    """Muon or Adam, with decoupled weight decay (AdamW), and categorical cross-entropy."""
    rate = plan_rate(recipe, steps)
    slow = list_base_variables(model) if recipe.base_rate else frozenset()
    decay = recipe.weight_decay or None
    if slow:
        factor = recipe.base_rate / recipe.learning_rate
        optimizer = SlowBaseAdam(rate, slow=slow, factor=factor, weight_decay=recipe.weight_decay)
    elif recipe.optimizer == "muon":
        optimizer = Muon(rate, weight_decay=decay, dtype=model.dtype_policy.compute_dtype)
    else:
        optimizer = keras.optimizers.Adam(rate, weight_decay=decay)
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        # Keras would make a metric given by name in the first step; TensorFlow then traces again.
        metrics=[keras.metrics.CategoricalAccuracy("accuracy")],
        jit_compile=compiles_whole(),
    )


def plan_rate(recipe: Recipe, steps: int) -> Any:
    """The learning rate of each step.

    `plateau` and `constant`: a number, which val may lower; `decay`: falling with the steps;
    `linear`: a warm-up, then down to zero in a straight line; `cosine`: the same by half a cosine.
    """
    schedules, peak = keras.optimizers.schedules, recipe.learning_rate
    if recipe.schedule == "decay":
        return schedules.InverseTimeDecay(peak, decay_steps=1, decay_rate=recipe.rate_decay)
    if recipe.schedule not in WARMUP_SCHEDULES:
        return peak
    total = recipe.epochs * steps
    warmup = min(round(recipe.warmup_epochs * steps), total // 2)
    if recipe.schedule == "linear":
        return LinearDecay(peak, warmup=warmup, steps=total)
    return schedules.CosineDecay(peak / 10, total - warmup, warmup_target=peak, warmup_steps=warmup)


def _list_epochs(history: dict[str, list[float]]) -> History:
    """Keras' lists of one number per epoch as one dict per epoch."""
    epochs = zip(*history.values(), strict=True)
    return [
        {name: round(float(number), 6) for name, number in zip(history, numbers, strict=True)}
        for numbers in epochs
    ]


class TrainingProgress(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Advance a tqdm bar, seed the dropout of each epoch, and stop a training that diverges.

    Parameters
    ----------
    done : epochs that earlier processes have trained
    """

    def __init__(self, bar: Any, epochs: int, seed: Sequence[int] = (0,), done: int = 0):
        super().__init__()
        self.bar, self.epochs, self.seed, self.epoch = bar, epochs, seed, done
        self.scores = ""

    def skip_rest(self, steps: int) -> None:
        """Take all epochs off the bar's total: nothing is left to train."""
        self.bar.total -= self.epochs * steps

    def on_train_begin(self, _logs: dict[str, float] | None = None) -> None:
        """Advance the bar by the epochs of earlier processes."""
        self.bar.update(self.epoch * self.params["steps"])

    def on_epoch_begin(self, epoch: int, _logs: dict[str, float] | None = None) -> None:
        """Seed the dropout: it depends on the seed and the epoch alone."""
        seed_dropout(self.model, (*self.seed, epoch, 3))

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Advance the bar by one step, and show the loss of the epoch so far."""
        self.bar.update()
        if batch % 20 == 0 and logs:
            where = f"epoch {self.epoch + 1}/{self.epochs}"
            text = f"{where}, loss {logs['loss']:.3f}{self.scores}"
            self.bar.set_postfix_str(text, refresh=False)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Show the scores of the epoch, and add its last learning rate to the history.

        Raises
        ------
        DivergedError  if a loss is NaN or infinite, before anything of this epoch is kept
        """
        self.epoch = epoch + 1
        losses = {name: logs[name] for name in ("loss", "val_loss") if logs and name in logs}
        for name, loss in losses.items():
            if not math.isfinite(loss):
                raise DivergedError(
                    f"training diverged at epoch {self.epoch} of {self.epochs} "
                    f"({name.replace('_', ' ')} {loss}): lower --learning-rate "
                    f"({read_rate(self.model):.3g} now)"
                )
        if logs is not None:
            logs["learning_rate"] = read_rate(self.model)
        if logs and "val_accuracy" in logs:
            self.scores = f", val accuracy {logs['val_accuracy']:.1%}"
            self.bar.set_postfix_str(f"epoch {self.epoch}/{self.epochs}{self.scores}")

    def on_train_end(self, _logs: dict[str, float] | None = None) -> None:
        """Take the epochs that early stopping saved off the bar's total."""
        self.bar.total -= (self.epochs - self.epoch) * self.params["steps"]
