"""The training loop, shared by `train run` and `train oof`: batches in, a trained model and its history out.

The loss is categorical cross-entropy, each row's term multiplied by its weight and the sum divided by the
number of rows (Keras' `sample_weight`); with balanced class weights the mean weight is 1.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import CandidError
from train.backend import compiles_whole, keras, use_precision
from train.data.batches import count_steps, stream_batches, validate_on
from train.data.images import Examples
from train.data.tf_batches import stream_dataset
from train.models.build import build_model
from train.models.optimizers import LinearDecay, Muon, SlowBaseAdam, list_base_variables
from train.models.self_distillation import GrowShare, SelfTaught, strip_beliefs
from train.recipes.presets import resolve_batch_size
from train.recipes.recipe import WARMED_UP, Recipe
from train.runs.folder import WEIGHTS
from train.training.checkpoint import Checkpoint, read_rate, read_state, restore, seed_dropout
from train.training.distribute import fit_distributed, open_scope


def fit_model(
    recipe: Recipe,
    classes: int,
    train: Examples,
    *,
    seed: tuple[int, ...],
    precision: str,
    bar: Any,
    val: Examples | None = None,
    folder: Path | None = None,
    resume: bool = False,
    watchers: Sequence[Any] = (),
    strategy: Any = None,
) -> tuple[Any, list[dict[str, float]]]:
    """Train a model from the weights that the recipe starts with.

    Parameters
    ----------
    seed : of weights, dropout, order and augmentation
    bar : a tqdm bar, advanced by one per batch
    val : scored after every epoch; picks the best weights, the learning rate of the plateau schedule and the last epoch
    folder : where the best weights and the state of every epoch are kept; needs `val`
    resume : go on after the last epoch that the folder holds
    watchers : more Keras callbacks
    strategy : of `tf.distribute`, as `distribute.open_strategy` gives it; None for one device

    Returns
    -------
    the model, with the weights of its best epoch (of its last one without `val` or with a strategy); one dict of numbers per
    epoch
    """
    recipe = resolve_batch_size(recipe, len(train.rows))
    keras.utils.set_random_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    steps = count_steps(recipe, len(train.rows))
    state = read_state(folder) if folder is not None and resume else None
    done = state.epoch if state else 0
    with open_scope(strategy):
        model = _make_model(
            replace(recipe, weights="none") if state else recipe,
            classes,
            len(train.rows),
            precision,
        )
        if folder is not None and state is not None:
            restore(model, recipe, folder, state)
    # Weights that one worker alone assigns would wait for the others for ever.
    watch = None if val is None else Checkpoint(recipe, folder, state, restores=strategy is None)
    followers = [
        FollowEpochs(bar, recipe.epochs, seed, done),
        *([watch] if watch else []),
        *watchers,
    ]
    if (
        folder
        and state
        and (done >= recipe.epochs or 0 < recipe.stop_patience <= done - state.best_epoch)
    ):
        followers[0].skip_rest(steps)
        model = strip_beliefs(model)
        model.load_weights(str(folder / WEIGHTS))
        return model, state.history
    scored = None if val is None else validate_on(recipe, classes, val)
    if strategy is not None:
        fit_distributed(
            strategy, model, recipe, classes, train, seed=seed, first_epoch=done, val=scored, callbacks=followers
        )  # fmt: skip
        return model, [] if watch is None else watch.state.history
    growing = (
        [GrowShare(recipe.self_distillation, recipe.epochs)] if recipe.self_distillation else []
    )
    log = model.fit(
        (stream_dataset if streams(train) else stream_batches)(recipe, classes, train, seed, done),
        steps_per_epoch=steps,
        epochs=recipe.epochs,
        initial_epoch=done,
        validation_data=scored,
        validation_steps=None if scored is None else len(scored),
        shuffle=False,
        callbacks=[*growing, *followers],
        verbose=0,
    )
    return strip_beliefs(model), _list_epochs(log.history) if watch is None else watch.state.history


def _make_model(recipe: Recipe, classes: int, rows: int, precision: str) -> Any:
    """The compiled model that is trained on so many rows; its optimizer has its moments already."""
    model = build_model(recipe, classes, precision)
    if recipe.self_distillation:
        with use_precision(precision):
            model = SelfTaught(model, rows)
    compile_model(model, recipe, count_steps(recipe, rows))
    model.optimizer.build(model.trainable_variables)
    return model


def streams(train: Examples) -> bool:
    """Whether batches come through `tf.data`: the images are not in memory, and TensorFlow is at hand."""
    return not isinstance(train.images, np.ndarray) and keras.backend.backend() == "tensorflow"


def compile_model(model: Any, recipe: Recipe, steps: int) -> None:
    """Muon or Adam, with decoupled weight decay (AdamW), and categorical cross-entropy."""
    rate = plan_rate(recipe, steps)
    slow = list_base_variables(model) if recipe.base_rate else frozenset()
    if slow:
        factor = recipe.base_rate / recipe.learning_rate
        optimizer = SlowBaseAdam(rate, slow=slow, factor=factor, weight_decay=recipe.weight_decay)
    elif recipe.optimizer == "muon":
        optimizer = Muon(
            rate, weight_decay=recipe.weight_decay or None, dtype=model.dtype_policy.compute_dtype
        )
    else:
        optimizer = keras.optimizers.Adam(rate, weight_decay=recipe.weight_decay or None)
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        # Asked for by name it would be made in the first step, which TensorFlow then traces a second time.
        metrics=[keras.metrics.CategoricalAccuracy("accuracy")],
        jit_compile=compiles_whole(),
    )


def plan_rate(recipe: Recipe, steps: int) -> Any:
    """The learning rate: constant until val cuts it (`plateau`), falling with the steps (`decay`), or a warm-up and then down
    to zero in a straight line (`linear`) or by half a cosine.
    """
    schedules, peak = keras.optimizers.schedules, recipe.learning_rate
    if recipe.schedule == "decay":
        return schedules.InverseTimeDecay(peak, decay_steps=1, decay_rate=recipe.rate_decay)
    if recipe.schedule not in WARMED_UP:
        return peak
    total = recipe.epochs * steps
    warmup = min(round(recipe.warmup_epochs * steps), total // 2)
    if recipe.schedule == "linear":
        return LinearDecay(peak, warmup=warmup, steps=total)
    return schedules.CosineDecay(peak / 10, total - warmup, warmup_target=peak, warmup_steps=warmup)


def _list_epochs(history: dict[str, list[float]]) -> list[dict[str, float]]:
    return [
        {name: round(float(number), 6) for name, number in zip(history, numbers, strict=True)}
        for numbers in zip(*history.values(), strict=True)
    ]


class DivergedError(CandidError):
    """The loss is no number any more: train with a smaller learning rate."""


class FollowEpochs(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Advances a tqdm bar and seeds the dropout of each epoch; an early stop takes the rest off the bar's total."""

    def __init__(self, bar: Any, epochs: int, seed: Sequence[int] = (0,), done: int = 0):
        super().__init__()
        self.bar, self.epochs, self.seed, self.epoch = bar, epochs, seed, done
        self.scored = ""

    def skip_rest(self, steps: int) -> None:
        """Nothing is left to train."""
        self.bar.total -= self.epochs * steps

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras' signature
        """What an earlier process has done is done."""
        self.bar.update(self.epoch * self.params["steps"])

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Dropout depends on the seed and the epoch alone."""
        seed_dropout(self.model, (*self.seed, epoch, 3))

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """One step on, and the loss of the epoch so far."""
        self.bar.update()
        if batch % 20 == 0 and logs:
            self.bar.set_postfix_str(
                f"epoch {self.epoch + 1}/{self.epochs}, loss {logs['loss']:.3f}{self.scored}",
                refresh=False,
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """The scores of the epoch, and its last learning rate for the history.

        Raises
        ------
        DivergedError  if the loss is no finite number, before anything of this epoch is kept
        """
        self.epoch = epoch + 1
        losses = {name: logs[name] for name in ("loss", "val_loss") if logs and name in logs}
        for name, loss in losses.items():
            if not math.isfinite(loss):
                raise DivergedError(
                    f"training diverged at epoch {self.epoch} of {self.epochs} ({name.replace('_', ' ')} {loss}): lower "
                    f"--learning-rate ({read_rate(self.model):.3g} now)"
                )
        if logs is not None:
            logs["learning_rate"] = read_rate(self.model)
        if logs and "val_accuracy" in logs:
            self.scored = f", val accuracy {logs['val_accuracy']:.1%}"
            self.bar.set_postfix_str(f"epoch {self.epoch}/{self.epochs}{self.scored}")

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras' signature
        """Forget the epochs that early stopping saved."""
        self.bar.total -= (self.epochs - self.epoch) * self.params["steps"]
