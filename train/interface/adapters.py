"""A loaded split for TensorFlow and PyTorch. The pixels stay uint8, 0-255: scale them in the model.

In: a `LoadedSplit`. Out: the data set that `model.fit` or a `DataLoader` takes.
"""

from typing import Any

from curate.errors import UsageError
from train.interface.arrays import LoadedSplit


def as_tf_dataset(split: LoadedSplit, batch_size: int = 128, *, seed: int | None = None) -> Any:
    """A `tf.data.Dataset` for `model.fit` and `model.evaluate`.

    Parameters
    ----------
    seed : of the shuffling, new in each epoch; None keeps the order of the split

    Returns
    -------
    elements (B, S, S, 1) uint8 pixels, (B,) int64 labels, (B,) float32 weights; the last batch may
    be shorter
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise UsageError(f"batch_size {batch_size!r}: must be a whole number of 1 or more")
    import tensorflow

    rows = tensorflow.data.Dataset.from_tensor_slices(
        (split.images[..., None], split.labels, split.weights)
    )
    if seed is not None:
        rows = rows.shuffle(len(split), seed=seed)
    return rows.batch(batch_size).prefetch(tensorflow.data.AUTOTUNE)


def as_torch_dataset(split: LoadedSplit) -> Any:
    """A `torch.utils.data.Dataset` for a `DataLoader`, which batches and shuffles.

    Returns
    -------
    items (1, S, S) uint8 pixels, () int64 label, () float32 weight
    """
    import torch

    images = torch.from_numpy(split.images[:, None])
    labels, weights = torch.from_numpy(split.labels), torch.from_numpy(split.weights)
    return torch.utils.data.TensorDataset(images, labels, weights)
