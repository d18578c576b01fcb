"""Whether a model's confidence equals its accuracy.

Input: (N, K) probabilities and (N,) class indices. Output: the reliability table, the expected
calibration error, and the temperature that calibrates the probabilities.
"""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from train.data.dataset import Rows
from train.evaluation.metrics import Probs

BINS = 15
# Bounds of the search for the temperature.
TEMPERATURES = (0.05, 20.0)


def bin_confidences(targets: Rows, probs: Probs, bins: int = BINS) -> pd.DataFrame:
    """Put the rows into bins of equal width by the probability of the predicted class.

    Returns
    -------
    one row per bin: `low` and `high` (the upper bound is inclusive), `rows`, mean `confidence` and
    `accuracy`; the last two are NaN for an empty bin
    """
    confidence, is_right = probs.max(axis=1), probs.argmax(axis=1) == targets
    edges = np.linspace(0, 1, bins + 1)
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    rows = np.bincount(index, minlength=bins)
    table = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "rows": rows})
    with np.errstate(invalid="ignore"):
        table["confidence"] = np.bincount(index, weights=confidence, minlength=bins) / rows
        table["accuracy"] = np.bincount(index, weights=is_right, minlength=bins) / rows
    return table


def calibration_error(table: pd.DataFrame) -> float:
    """ECE: the mean distance of confidence and accuracy, bins weighted by their rows.

    It hides whether the model is overconfident or underconfident.

    References
    ----------
    C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3
    """
    gaps = (table["confidence"] - table["accuracy"]).abs().fillna(0.0)
    return float((gaps * table["rows"]).sum() / table["rows"].sum())


def fit_temperature(probs: Probs, targets: Rows) -> float:
    """The temperature that maximises the likelihood of the given labels.

    Parameters
    ----------
    probs : (N, K), each row sums to 1
    targets : (N,) class indices

    References
    ----------
    C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017
    """
    log_probs = np.log(np.maximum(probs, 1e-9))

    def measure_loss(log_temperature: float) -> float:
        scaled = log_probs / np.exp(log_temperature)
        largest = scaled.max(axis=1, keepdims=True)
        log_totals = np.log(np.exp(scaled - largest).sum(axis=1)) + largest[:, 0]
        return float((log_totals - scaled[np.arange(len(targets)), targets]).mean())

    low, high = np.log(TEMPERATURES)
    best = minimize_scalar(measure_loss, bounds=(low, high), method="bounded")
    return float(np.exp(best.x))


def apply_temperature(probs: Probs, temperature: float) -> Probs:
    """(N, K) probabilities to the power of 1 / temperature, each row scaled to sum to 1."""
    logits = np.log(np.maximum(probs, 1e-9)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
