"""Training dynamics: the margin of each training row's given label while a network learns.

Comes in: the network after an epoch, its training rows. Goes out: one margin per training row.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from train.backend import keras
from train.data.dataset import Examples

# The last epochs, and none of the first half: there the model has not learned the classes yet.
EPOCHS = 2
BATCH = 256
# Rows whose pixels are in memory at once, whole batches: a larger dataset stays on the disk.
BLOCK = 32 * BATCH


class MarginRecorder(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Keras callback that records the area under the margin of the training rows.

    Attributes
    ----------
    margins : (N,) float     logit of the given class minus the largest other logit, mean of the
                             last epochs; above 0 the network predicts the given class

    References
    ----------
    G. Pleiss et al., Identifying Mislabeled Data using the Area Under the Margin Ranking, NeurIPS
    2020; there the mean over all epochs on augmented images, here on the images themselves
    """

    def __init__(self, train: Examples, epochs: int) -> None:
        super().__init__()
        self.train, self.epochs = train, epochs
        self.margins: npt.NDArray[np.float64] = np.zeros(len(train.rows))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        """Add the margins of one of the last epochs."""
        counted = max(1, min(EPOCHS, self.epochs // 2))
        if epoch < self.epochs - counted:
            return
        for start in range(0, len(self.margins), BLOCK):
            block = slice(start, start + BLOCK)
            pixels = np.asarray(self.train.images[self.train.rows[block]])[..., None]
            probs = self.model.predict(pixels, batch_size=BATCH, verbose=0).astype(np.float64)
            self.margins[block] += log_margin(probs, self.train.targets[block]) / counted


def log_margin(
    probs: npt.NDArray[np.float64], targets: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """(N,) difference of logits: log probability of the target minus that of the best other class.

    Parameters
    ----------
    probs : (N, K)      each row sums to 1
    targets : (N,)      class indices
    """
    logs = np.log(np.maximum(probs, 1e-12))
    rows = np.arange(len(logs))
    own = logs[rows, targets]
    logs[rows, targets] = -np.inf
    return np.asarray(own - logs.max(axis=1))
