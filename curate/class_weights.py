"""Class weights: rare classes count more in the loss.

In: the number of images per class. Out: one weight per class. `curate weights` and `train run` use
it.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

# Cui et al. try 0.9 to 0.9999 and take 0.9999 for long-tailed sets of this size.
BETA = 0.9999

Scheme = Literal["balanced", "sqrt", "effective"]


def weigh_classes(counts: npt.NDArray[np.integer], scheme: Scheme) -> npt.NDArray[np.float64]:
    """One weight per class; the mean weight of an image is 1, so the loss keeps its size.

    Parameters
    ----------
    counts : (K,) images of each class, each >= 1
    scheme : `balanced`: N / (K count), as scikit-learn's `compute_class_weight`; `sqrt`: its square
        root; `effective`: (1 - beta) / (1 - beta^count)

    Returns
    -------
    (K,) float64 > 0

    References
    ----------
    balanced: G. King, L. Zeng, Logistic Regression in Rare Events Data, 2001
    effective: Y. Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019
    """
    if scheme == "effective":
        raw = (1 - BETA) / (1 - BETA ** counts.astype(np.float64))
    else:
        from sklearn.utils.class_weight import compute_class_weight

        rows = np.repeat(np.arange(len(counts)), counts)
        raw = compute_class_weight("balanced", classes=np.arange(len(counts)), y=rows)
    if scheme == "sqrt":
        raw = np.sqrt(raw)
    weights: npt.NDArray[np.float64] = raw * counts.sum() / (raw @ counts)
    return weights
