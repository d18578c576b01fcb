"""The training loop, shared by `train run` and `train oof`: batches in, a trained model and its history out.

Batches are one endless stream whose order and augmentation follow from (seed, epoch, row) alone, so prefetching cannot
change them. The loss is categorical cross-entropy, each row's term multiplied by its weight and the sum divided by the
number of rows (Keras' `sample_weight`); with balanced class weights the mean weight is 1.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from train.augment import Transforms, draw_transforms, warp_images
from train.backend import keras
from train.data import Examples, Images, Pixels, Rows
from train.models import build_model
from train.recipes import Recipe

Floats = npt.NDArray[np.float32]
Batch = tuple[Pixels, Floats, Floats]
# Large enough that a pass is all arithmetic; the probabilities do not depend on it.
PREDICT_BATCH = 256
# Rows whose pixels are held at once: 19 MB at 48 pixels a side.
PREDICT_BLOCK = 8192


def fit_model(
    recipe: Recipe,
    classes: int,
    train: Examples,
    *,
    seed: tuple[int, ...],
    precision: str,
    bar: Any,
    val: Examples | None = None,
    checkpoint: Path | None = None,
    watchers: Sequence[Any] = (),
) -> tuple[Any, list[dict[str, float]]]:
    """Train a fresh model.

    Parameters
    ----------
    seed : of weights, dropout, order and augmentation
    bar : a tqdm bar, advanced by one per batch
    val : scored after every epoch; picks the best weights, the learning rate of the plateau schedule and the last epoch
    checkpoint : where the weights of the best epoch are kept
    watchers : more Keras callbacks

    Returns
    -------
    the model, with the weights of its best epoch (of its last one without `val`); one dict of numbers per epoch
    """
    keras.utils.set_random_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    model = build_model(recipe, classes, precision)
    steps = math.ceil(len(train.rows) / recipe.batch_size)
    compile_model(model, recipe, steps)
    scored = None if val is None else (val.images[val.rows][..., None], one_hot(val.targets, classes))
    log = model.fit(
        stream_batches(recipe, classes, train, seed),
        steps_per_epoch=steps,
        epochs=recipe.epochs,
        validation_data=scored,
        validation_batch_size=PREDICT_BATCH,
        shuffle=False,
        callbacks=[FollowEpochs(bar, recipe.epochs), *_watch_val(recipe, val is not None, checkpoint), *watchers],
        verbose=0,
    )
    return model, _list_epochs(log.history)


def compile_model(model: Any, recipe: Recipe, steps: int) -> None:
    """Adam (AdamW with weight decay), categorical cross-entropy; XLA stays off: on a CPU it costs 5 to 12 times the time."""
    model.compile(
        optimizer=keras.optimizers.Adam(plan_rate(recipe, steps), weight_decay=recipe.weight_decay or None),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
        jit_compile=False,
    )


def plan_rate(recipe: Recipe, steps: int) -> Any:
    """The learning rate: constant until val cuts it (`plateau`), or a warm-up and half a cosine down to zero."""
    if recipe.schedule == "plateau":
        return recipe.learning_rate
    warmup = min(round(recipe.warmup_epochs * steps), recipe.epochs * steps // 2)
    return keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 10,
        recipe.epochs * steps - warmup,
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup,
    )


def stream_batches(recipe: Recipe, classes: int, train: Examples, seed: tuple[int, ...]) -> Iterator[Batch]:
    """Batches without end: every epoch all rows once, in a new order, each with a new transform.

    Yields
    ------
    (B, S, S, 1) uint8, (B, K) one-hot float32, (B,) float32 weights; the last batch of an epoch may be shorter
    """
    epoch = 0
    while True:
        order = np.random.default_rng((*seed, epoch)).permutation(len(train.rows))
        transforms = draw_transforms(len(train.rows), recipe, recipe.size, (*seed, epoch, 1))
        for start in range(0, len(order), recipe.batch_size):
            chosen = order[start : start + recipe.batch_size]
            images = warp_images(train.images[train.rows[chosen]], transforms[chosen])
            yield images[..., None], one_hot(train.targets[chosen], classes), train.weights[chosen]
        epoch += 1


def predict_probs(
    model: Any, images: Images, rows: Rows, views: Sequence[Transforms], batch_size: int = PREDICT_BATCH
) -> npt.NDArray[np.float64]:
    """What the model believes about each row, averaged over views of it.

    Parameters
    ----------
    rows : (N,) row numbers
    views : arrays (N, 2, 3), one transform per row each, as `augment.plan_views` gives them

    Returns
    -------
    (N, K) probabilities; each row sums to 1
    """
    blocks = []
    for start in range(0, len(rows), PREDICT_BLOCK):
        block = slice(start, start + PREDICT_BLOCK)
        pixels = np.asarray(images[rows[block]])
        seen = (warp_images(pixels, view[block])[..., None] for view in views)
        total = sum(model.predict(view, batch_size=batch_size, verbose=0).astype(np.float64) for view in seen)
        blocks.append(total / total.sum(axis=1, keepdims=True))
    return np.concatenate(blocks)


def one_hot(targets: Rows, classes: int) -> Floats:
    """(N,) indices -> (N, K) float32."""
    return np.eye(classes, dtype=np.float32)[targets]


def _list_epochs(history: dict[str, list[float]]) -> list[dict[str, float]]:
    return [
        {name: round(float(number), 6) for name, number in zip(history, numbers, strict=True)}
        for numbers in zip(*history.values(), strict=True)
    ]


class FollowEpochs(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Advances a tqdm bar; an early stop takes the epochs that will not come off its total."""

    def __init__(self, bar: Any, epochs: int):
        super().__init__()
        self.bar, self.epochs, self.epoch = bar, epochs, 0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """One step on, and the loss of the epoch so far."""
        self.bar.update()
        if batch % 20 == 0 and logs:
            self.bar.set_postfix_str(f"epoch {self.epoch + 1}/{self.epochs}, loss {logs['loss']:.3f}", refresh=False)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """The scores of the epoch, and its last learning rate for the history."""
        self.epoch = epoch + 1
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        if logs and "val_accuracy" in logs:
            self.bar.set_postfix_str(f"epoch {self.epoch}, val accuracy {logs['val_accuracy']:.1%}")

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras' signature
        """Forget the epochs that early stopping saved."""
        self.bar.total -= (self.epochs - self.epoch) * self.params["steps"]


def _watch_val(recipe: Recipe, has_val: bool, checkpoint: Path | None) -> list[Any]:
    """Val accuracy decides: it is what the score will be, and unlike val loss it does not punish growing confidence."""
    if not has_val:
        return []
    best = {"monitor": "val_accuracy", "mode": "max"}
    watchers: list[Any] = [
        keras.callbacks.EarlyStopping(patience=recipe.stop_patience, restore_best_weights=True, **best)
    ]
    if recipe.schedule == "plateau":
        watchers.append(
            keras.callbacks.ReduceLROnPlateau(factor=recipe.plateau_factor, patience=recipe.plateau_patience, **best)
        )
    if checkpoint is not None:
        watchers.append(
            keras.callbacks.ModelCheckpoint(str(checkpoint), save_best_only=True, save_weights_only=True, **best)
        )
    return watchers
