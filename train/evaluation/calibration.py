"""Whether a model is as often right as it is sure: the reliability table, the expected calibration error, the temperature."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize_scalar

BINS = 15
TEMPERATURES = (0.05, 20.0)

Probs = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


def bin_confidences(
    targets: npt.NDArray[np.int64], probs: npt.NDArray[np.float64], bins: int = BINS
) -> pd.DataFrame:
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
        means = [
            np.bincount(index, weights=values, minlength=bins) / rows
            for values in (confidence, right)
        ]
    return pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "rows": rows,
            "confidence": means[0],
            "accuracy": means[1],
        }
    )


def calibration_error(table: pd.DataFrame) -> float:
    """ECE: the mean distance of confidence and accuracy, bins weighted by their rows. Hides which way it errs.

    References
    ----------
    C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3
    """
    gaps = (table["confidence"] - table["accuracy"]).abs().fillna(0.0)
    return float((gaps * table["rows"]).sum() / table["rows"].sum())


def fit_temperature(probs: Probs, targets: Rows) -> float:
    """The power's inverse that makes the given labels most likely.

    Parameters
    ----------
    probs : (N, K), each row sums to 1
    targets : (N,) class indices

    References
    ----------
    C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017
    """
    logs = np.log(np.maximum(probs, 1e-9))

    def surprise(log_temperature: float) -> float:
        scaled = logs / np.exp(log_temperature)
        total = np.log(np.exp(scaled - scaled.max(axis=1, keepdims=True)).sum(axis=1)) + scaled.max(
            axis=1
        )
        return float((total - scaled[np.arange(len(targets)), targets]).mean())

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(surprise, bounds=(low, high), method="bounded").x))


def soften(probs: Probs, temperature: float) -> Probs:
    """(N, K) probabilities to the power of 1 / temperature, each row summing to 1 again."""
    logs = np.log(np.maximum(probs, 1e-9)) / temperature
    raised = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
