"""Uncertainty of a score: bootstrap intervals of scores and gains, McNemar's test of two models.

An interval covers the randomness of the drawn rows, not that of the training (`--seeds` shows it).
Resampling rows with replacement and counting (label, prediction) pairs is one multinomial draw of
the confusion matrix, so thousands of resamples take milliseconds.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

Counts = npt.NDArray[np.integer]
DRAWS = 2000
# The middle 95 % of the draws.
BOUNDS = (2.5, 97.5)


def bootstrap_scores(counts: Counts, seed: int = 0) -> dict[str, list[float]]:
    """95 % intervals of the headline scores, by a percentile bootstrap over rows.

    Parameters
    ----------
    counts : (K, K) confusion matrix, labels down

    Returns
    -------
    name of the score, as in `score_predictions` -> [low, high]

    References
    ----------
    B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13
    """
    classes = len(counts)
    random = np.random.default_rng(seed)
    total = counts.sum()
    drawn = random.multinomial(total, counts.ravel() / total, DRAWS)
    scores = score_confusions(drawn.reshape(DRAWS, classes, classes))
    return {name: np.percentile(values, BOUNDS).tolist() for name, values in scores.items()}


def score_confusions(counts: Counts) -> dict[str, npt.NDArray[np.float64]]:
    """(D,) scores of (D, K, K) confusion matrices; averages use the classes that occur in each."""
    rows, right = counts.sum(axis=2), np.einsum("dkk->dk", counts)
    occurs = rows > 0
    recall = right / np.maximum(rows, 1)
    f1 = 2 * right / np.maximum(rows + counts.sum(axis=1), 1)
    present = occurs.sum(axis=1)
    return {
        "accuracy": right.sum(axis=1) / rows.sum(axis=1),
        "balanced_accuracy": (recall * occurs).sum(axis=1) / present,
        "macro_f1": (f1 * occurs).sum(axis=1) / present,
        "weighted_f1": (f1 * rows).sum(axis=1) / rows.sum(axis=1),
    }


def bootstrap_gain(
    before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_], seed: int = 0
) -> dict[str, Any]:
    """The gain in accuracy from one way of predicting the same rows to another.

    Parameters
    ----------
    before, after : (N,) whether each row is predicted right

    Returns
    -------
    gain, its 95 % interval by a paired bootstrap, rows won and rows lost
    """
    won, lost = int((after & ~before).sum()), int((before & ~after).sum())
    rows = len(before)
    shares = np.array([won, lost, rows - won - lost]) / rows
    drawn = np.random.default_rng(seed).multinomial(rows, shares, DRAWS)
    low, high = np.percentile((drawn[:, 0] - drawn[:, 1]) / rows, BOUNDS)
    return {
        "gain": (won - lost) / rows,
        "interval": [float(low), float(high)],
        "won": won,
        "lost": lost,
    }


def compare_mcnemar(won: int, lost: int) -> float:
    """The exact two-sided p-value of: where two models differ, both are right equally often.

    Parameters
    ----------
    won : rows that only the second model predicts right
    lost : rows that only the first model predicts right

    References
    ----------
    Q. McNemar, Psychometrika 1947; T. Dietterich, Neural Computation 1998
    """
    return float(binomtest(won, won + lost, 0.5).pvalue) if won + lost else 1.0
