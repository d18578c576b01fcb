"""Whether a model is as often right as it is sure: the reliability table and the expected calibration error."""

import numpy as np
import numpy.typing as npt
import pandas as pd

BINS = 15


def bin_confidences(targets: npt.NDArray[np.int64], probs: npt.NDArray[np.float64], bins: int = BINS) -> pd.DataFrame:
    """Rows sorted by the probability of their prediction into bins of equal width.

    Returns
    -------
    one row per bin: `low` and `high` (the upper bound belongs to the bin), `rows`, mean `confidence` and `accuracy`; both
    are NaN in an empty bin
    """
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == targets
    edges = np.linspace(0, 1, bins + 1)
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    rows = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(index, weights=values, minlength=bins) / rows for values in (confidence, right)]
    return pd.DataFrame(
        {"low": edges[:-1], "high": edges[1:], "rows": rows, "confidence": means[0], "accuracy": means[1]}
    )


def calibration_error(table: pd.DataFrame) -> float:
    """ECE: the mean distance of confidence and accuracy, bins weighted by their rows. Hides which way it errs.

    References
    ----------
    C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3
    """
    gaps = (table["confidence"] - table["accuracy"]).abs().fillna(0.0)
    return float((gaps * table["rows"]).sum() / table["rows"].sum())
