"""What a network believes about images, averaged over TTA views of them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from train.data.augment import Transforms, warp_images
from train.data.images import Images, Pixels, Rows

# Large enough that a pass is all arithmetic; the probabilities do not depend on it.
PREDICT_BATCH = 256


# Rows whose pixels are held at once: 19 MB at 48 pixels a side.
PREDICT_BLOCK = 8192


def predict_probs(
    model: Any,
    images: Images,
    rows: Rows,
    views: Sequence[Transforms],
    batch_size: int = PREDICT_BATCH,
    change: Callable[[Pixels], Pixels] | None = None,
) -> npt.NDArray[np.float64]:
    """What the model believes about each row, averaged over views of it.

    Parameters
    ----------
    rows : (N,) row numbers
    views : arrays (N, 2, 3), one transform per row each, as `augment.plan_views` gives them
    change : what happens to the images before they are warped, such as a mask

    Returns
    -------
    (N, K) probabilities; each row sums to 1
    """
    blocks = []
    for start in range(0, len(rows), PREDICT_BLOCK):
        block = slice(start, start + PREDICT_BLOCK)
        pixels = np.asarray(images[rows[block]])
        pixels = change(pixels) if change else pixels
        seen = (warp_images(pixels, view[block])[..., None] for view in views)
        total = sum(
            model.predict(view, batch_size=batch_size, verbose=0).astype(np.float64)
            for view in seen
        )
        blocks.append(total / total.sum(axis=1, keepdims=True))
    return np.concatenate(blocks)
