"""Predict class probabilities of images, averaged over TTA views.

Input: a model, the images and row numbers. Output: (N, K) probabilities.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from train.data.augment import Transforms, warp_images
from train.data.dataset import Images, Pixels, Rows
from train.evaluation.metrics import Probs

# Large enough that Python's overhead per batch does not matter; the probabilities do not depend
# on it.
PREDICT_BATCH = 256
# Rows whose pixels are in memory at once: 19 MB at 48 pixels a side.
PREDICT_BLOCK = 8192


def predict_probs(
    model: Any,
    images: Images,
    rows: Rows,
    tta_views: Sequence[Transforms],
    batch_size: int = PREDICT_BATCH,
    change: Callable[[Pixels], Pixels] | None = None,
) -> Probs:
    """The class probabilities of each row, averaged over its TTA views.

    Parameters
    ----------
    rows : (N,) row numbers
    tta_views : arrays (N, 2, 3), one transform per row each, as `data.tta.plan_tta` returns them
    change : applied to the images before they are warped, such as a mask

    Returns
    -------
    (N, K); each row sums to 1
    """
    blocks = []
    for start in range(0, len(rows), PREDICT_BLOCK):
        block = slice(start, start + PREDICT_BLOCK)
        pixels = np.asarray(images[rows[block]])
        if change:
            pixels = change(pixels)
        each_view = []
        for tta_view in tta_views:
            warped = warp_images(pixels, tta_view[block])[..., None]
            probs = model.predict(warped, batch_size=batch_size, verbose=0)
            each_view.append(probs.astype(np.float64))
        total = sum(each_view)
        blocks.append(total / total.sum(axis=1, keepdims=True))
    return np.concatenate(blocks)
