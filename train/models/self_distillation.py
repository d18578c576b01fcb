"""Self-distillation: each target moves from the label towards the model's own earlier predictions.

So the target of a wrong label softens before the model memorises it, and the target of an ambiguous
face names the classes that it resembles. Self-distillation adds no pass over the images: the
predictions are those of the training steps, of augmented images and under dropout. Their share in
the target grows linearly from zero in the first epoch.

References
----------
K. Kim et al., "Self-knowledge distillation with progressive refinement of targets", ICCV 2021 (the
growing share); S. Laine, T. Aila, "Temporal ensembling for semi-supervised learning", ICLR 2017
(the running mean of the predictions)
"""

from typing import Any

from curate.errors import UsageError
from train.backend import keras

# Weight of the earlier predictions in the running mean, per epoch: Laine and Aila's 0.6.
MEAN_DECAY = 0.6
MOST_ROWS = 2**24  # float32 holds their positions exactly


class SelfDistilledModel(keras.Model):  # type: ignore[misc]  # keras has no types
    """A network in training with targets (B, K + 1); the last column is the position of the row.

    Positions count the N rows of the training set. Targets (B, K), as those of val, stay as they
    are.

    Attributes
    ----------
    mean_probs : (N, K) running mean of the predictions for each row, not corrected for its start
        at zero; all zero before the first prediction
    share : of `mean_probs` in a target, in [0, 1)
    """

    def __init__(self, model: Any, rows: int):
        """Raise UsageError if there are more rows than positions have numbers."""
        if rows > MOST_ROWS:
            raise UsageError(
                f"--self-distillation: remembers at most {MOST_ROWS:,} rows and train has "
                f"{rows:,}: add --self-distillation 0"
            )
        super().__init__(inputs=model.inputs, outputs=model.outputs, name=model.name)
        options = {"initializer": "zeros", "trainable": False, "dtype": "float32"}
        shape = (rows, model.output_shape[-1])
        self.mean_probs = self.add_weight(shape=shape, name="mean_probs", **options)
        self.share = self.add_weight(shape=(), name="share", **options)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The compiled loss against the mixed targets; updates `mean_probs` with `y_pred`."""
        labels, rows = split_targets(y, y_pred)
        if rows is not None:
            ops = keras.ops
            before = ops.take(self.mean_probs, rows, axis=0)
            after = update_mean(before, ops.stop_gradient(y_pred))
            self.mean_probs.assign(ops.scatter_update(self.mean_probs, rows[:, None], after))
            labels = mix_targets(labels, before, self.share)
        return super().compute_loss(x, labels, y_pred, sample_weight, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The compiled metrics against the labels alone."""
        labels, _ = split_targets(y, y_pred)
        return super().compute_metrics(x, labels, y_pred, sample_weight)


def update_mean(before: Any, probs: Any) -> Any:
    """(B, K) running means after the predictions of a step."""
    return MEAN_DECAY * before + (1 - MEAN_DECAY) * keras.ops.cast(probs, "float32")


def mix_targets(labels: Any, before: Any, share: Any) -> Any:
    """(B, K) labels, moved by a share towards the earlier predictions of rows that have some.

    Parameters
    ----------
    before : (B, K) running means before this step; all zero for a row without a prediction
    """
    ops = keras.ops
    total = ops.sum(before, axis=-1, keepdims=True)
    share = share * ops.cast(total > 0, "float32")
    return (1 - share) * labels + share * before / ops.maximum(total, 1e-6)


def split_targets(y: Any, y_pred: Any) -> tuple[Any, Any]:
    """Labels (B, K) and positions of the rows (B,), or None if the targets have no positions."""
    classes = y_pred.shape[-1]
    if y.shape[-1] == classes:
        return y, None
    return y[:, :classes], keras.ops.cast(y[:, classes], "int32")


class GrowShare(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Grow the share of the predictions linearly: 0 in the first epoch, `most` after the last."""

    def __init__(self, most: float, epochs: int):
        super().__init__()
        self.most, self.epochs = most, epochs

    def on_epoch_begin(
        self,
        epoch: int,
        logs: dict[str, float] | None = None,  # noqa: ARG002 - Keras' signature
    ) -> None:
        """Set the share of this epoch."""
        self.model.share.assign(self.most * epoch / self.epochs)


def strip_self_distillation(model: Any) -> Any:
    """The plain network, which shares the weights; a plain network is returned as it is."""
    if isinstance(model, SelfDistilledModel):
        return keras.Model(model.inputs, model.outputs, name=model.name)
    return model
