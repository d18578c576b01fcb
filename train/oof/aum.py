"""Training dynamics: how far each learned row's own class was ahead while the model learned (area under the margin)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from train.backend import keras
from train.data.images import Examples

EPOCHS = 2  # the last ones, and none of the first half: there the model has not learned the classes either
BATCH = 256
# Rows whose pixels are held at once, whole batches of them: a set larger than memory stays on the disk.
BLOCK = 32 * BATCH


class FollowMargins(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """`margins` (N,) of the learned rows: the logit of the given class less the best other, mean of the last epochs.

    References
    ----------
    G. Pleiss et al., Identifying Mislabeled Data using the Area Under the Margin Ranking, NeurIPS 2020; there over all
    epochs and on the augmented images, here on the images themselves
    """

    def __init__(self, train: Examples, epochs: int) -> None:
        super().__init__()
        self.train, self.epochs = train, epochs
        self.margins: npt.NDArray[np.float64] = np.zeros(len(train.rows))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        """Add the margins of the last epochs."""
        counted = max(1, min(EPOCHS, self.epochs // 2))
        if epoch >= self.epochs - counted:
            for start in range(0, len(self.margins), BLOCK):
                block = slice(start, start + BLOCK)
                pixels = np.asarray(self.train.images[self.train.rows[block]])[..., None]
                probs = self.model.predict(pixels, batch_size=BATCH, verbose=0).astype(np.float64)
                self.margins[block] += log_margin(probs, self.train.targets[block]) / counted


def log_margin(
    probs: npt.NDArray[np.float64], targets: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """(N,) difference of the logits: the log probability of the target less that of the best other class."""
    logs = np.log(np.maximum(probs, 1e-12))
    own = logs[np.arange(len(logs)), targets]
    logs[np.arange(len(logs)), targets] = -np.inf
    return np.asarray(own - logs.max(axis=1))
