"""Self-distillation: each target moves from the label towards what the model has believed of that row so far.

So the target of a wrong label softens before the model knows it by heart, and that of a face that is hard to read tells
which classes it is between. No pass over the images is added: the beliefs are those of the training's own passes, of
augmented images and under dropout. Their share grows evenly, from nothing in the first epoch.

References
----------
K. Kim et al., "Self-knowledge distillation with progressive refinement of targets", ICCV 2021 (the growing share); S. Laine,
T. Aila, "Temporal ensembling for semi-supervised learning", ICLR 2017 (the running mean of the beliefs)
"""

from typing import Any

from train.backend import keras

# What the mean keeps of itself from one epoch to the next: Laine and Aila's 0.6.
KEPT = 0.6


class SelfTaught(keras.Model):  # type: ignore[misc]  # keras has no types
    """A network in training; its targets are (B, K + 1), the last column the number of the row among those that it learns.

    Targets (B, K), as those of val, stay what they are.

    Attributes
    ----------
    beliefs : (N, K) running sums of what was believed of each row; zero where nothing was
    share : of the beliefs in a target, in [0, 1)
    """

    def __init__(self, model: Any, rows: int):
        super().__init__(inputs=model.inputs, outputs=model.outputs, name=model.name)
        size = {"initializer": "zeros", "trainable": False, "dtype": "float32"}
        self.beliefs = self.add_weight(shape=(rows, model.output_shape[-1]), name="beliefs", **size)
        self.share = self.add_weight(shape=(), name="share", **size)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The compiled loss against labels and beliefs, and what is believed now is added to these."""
        labels, rows = _take_apart(y, y_pred)
        if rows is not None:
            ops = keras.ops
            before = ops.take(self.beliefs, rows, axis=0)
            now = KEPT * before + (1 - KEPT) * ops.stop_gradient(ops.cast(y_pred, "float32"))
            self.beliefs.assign(ops.scatter_update(self.beliefs, rows[:, None], now))
            total = ops.sum(before, axis=-1, keepdims=True)
            share = self.share * ops.cast(total > 0, "float32")
            labels = (1 - share) * labels + share * before / ops.maximum(total, 1e-6)
        return super().compute_loss(x, labels, y_pred, sample_weight, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The compiled metrics against the labels alone."""
        return super().compute_metrics(x, _take_apart(y, y_pred)[0], y_pred, sample_weight)


def _take_apart(y: Any, y_pred: Any) -> tuple[Any, Any]:
    """Targets (B, K) and row numbers (B,), None where there are none."""
    classes = y_pred.shape[-1]
    return (
        (y, None)
        if y.shape[-1] == classes
        else (y[:, :classes], keras.ops.cast(y[:, classes], "int32"))
    )


class GrowShare(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """The share of the beliefs grows evenly over `epochs`: 0 in the first one, `most` after the last."""

    def __init__(self, most: float, epochs: int):
        super().__init__()
        self.most, self.epochs = most, epochs

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras' signature
        """The share of this epoch."""
        self.model.share.assign(self.most * epoch / self.epochs)


def strip_beliefs(model: Any) -> Any:
    """The network itself, without what its training remembers of the rows; it shares the weights."""
    return (
        keras.Model(model.inputs, model.outputs, name=model.name)
        if isinstance(model, SelfTaught)
        else model
    )
