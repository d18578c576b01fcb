"""One weight per class, so that the rare ones are not drowned; `curate weights` and `train run` use it."""

from typing import Literal

import numpy as np
import numpy.typing as npt

# Cui et al. try 0.9 to 0.9999 and take 0.9999 for long-tailed sets of this size.
BETA = 0.9999


Scheme = Literal["balanced", "sqrt", "effective"]


def weigh_classes(counts: npt.NDArray[np.integer], scheme: Scheme) -> npt.NDArray[np.float64]:
    """One weight per class; the mean weight of an image is 1, so that the loss keeps its size.

    Parameters
    ----------
    counts : (K,) images of each class, each >= 1
    scheme : `balanced`: N / (K count), scikit-learn's `compute_class_weight`; `sqrt`: its square root; `effective`:
        (1 - beta) / (1 - beta^count)

    References
    ----------
    G. King, L. Zeng, Logistic Regression in Rare Events Data, 2001 (balanced); Y. Cui et al., Class-Balanced Loss Based on
    Effective Number of Samples, CVPR 2019 (effective)
    """
    if scheme == "effective":
        raw = (1 - BETA) / (1 - BETA ** counts.astype(np.float64))
    else:
        from sklearn.utils.class_weight import compute_class_weight

        rows = np.repeat(np.arange(len(counts)), counts)
        raw = compute_class_weight("balanced", classes=np.arange(len(counts)), y=rows)
        raw = np.sqrt(raw) if scheme == "sqrt" else raw
    weighed: npt.NDArray[np.float64] = raw * counts.sum() / (raw @ counts)
    return weighed
