"""Uncertainty of a score: bootstrap intervals of scores and gains, McNemar's test of two models.

An interval covers the randomness of the drawn rows, not that of the training (`--seeds` shows it).
The rows are weighed at random (D. Rubin, The Bayesian bootstrap, Annals of Statistics 1981), which
for counts of (label, prediction) is one Dirichlet draw of the confusion matrix, so thousands of
draws take milliseconds. Half a row counts as right and half a row as wrong besides (Jeffreys'
prior), of each class where the score is a mean over classes: among resampled rows that are all
right none could be wrong. Rows of one person or sequence are no independent draws: where
there are such, whole ones are weighed too, and the interval is the wider one of both.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

Counts = npt.NDArray[np.integer]
DRAWS = 2000
OVER_CLASSES = ("balanced_accuracy", "macro_f1")  # means over the classes
BLOCK = 100  # draws whose weights are in memory at once
# The middle 95 % of the draws.
BOUNDS = (2.5, 97.5)


def bootstrap_scores(
    counts: Counts, seed: int = 0, of_units: Counts | None = None
) -> dict[str, list[float]]:
    """95 % intervals of the headline scores, by a Bayesian bootstrap over rows.

    Parameters
    ----------
    counts : (K, K) confusion matrix, labels down
    of_units : (U, K, K) the matrix of each person or sequence, whose sum is `counts`; None where
        the rows are independent

    Returns
    -------
    name of the score, as in `score_predictions` -> [low, high]; the score is within

    References
    ----------
    D. Rubin, The Bayesian bootstrap, 1981; L. Brown et al., Interval estimation for a binomial
    proportion, Statistical Science 2001 (Jeffreys' interval); C. Goutte, E. Gaussier, A
    probabilistic interpretation of precision, recall and F-score, ECIR 2005
    """
    random = np.random.default_rng(seed)
    units = None if of_units is None else score_confusions(_weigh_units(of_units, random))
    own = {name: float(values[0]) for name, values in score_confusions(counts[None]).items()}
    bounds = {}
    for of_classes in (False, True):
        prior = _spread_prior(counts, of_classes=of_classes)
        drawn = score_confusions(random.gamma(counts + prior, size=(DRAWS, *counts.shape)))
        for name in own:
            if (name in OVER_CLASSES) == of_classes:
                samples = [drawn[name], *([] if units is None else [units[name]])]
                ends = np.array([np.percentile(values, BOUNDS) for values in samples])
                low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
                bounds[name] = [min(low, own[name]), max(high, own[name])]
    return {name: bounds[name] for name in own}


def _spread_prior(counts: Counts, *, of_classes: bool) -> npt.NDArray[np.float64]:
    """(K, K) half a row right and half a row wrong, of each class that occurs or of all together.

    Those of all together are shared out by the rows of each class, those that are wrong equally
    among the other classes.
    """
    classes, rows = len(counts), counts.sum(axis=1, keepdims=True)
    share = (rows > 0) if of_classes else rows / rows.sum()
    right = np.eye(classes, dtype=bool)
    return np.asarray(share * np.where(right, 0.5, 0.5 / max(classes - 1, 1)))


def _weigh_units(of_units: Counts, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """(DRAWS, K, K) confusion matrices of persons or sequences that are weighed at random."""
    flat = of_units.reshape(len(of_units), -1).astype(np.float64)
    weighed = [
        random.exponential(size=(min(BLOCK, DRAWS - start), len(flat))) @ flat
        for start in range(0, DRAWS, BLOCK)
    ]
    return np.concatenate(weighed).reshape(DRAWS, *of_units.shape[1:])


def score_confusions(counts: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.float64]]:
    """(D,) scores of (D, K, K) confusion matrices; averages use the classes that occur in each."""
    rows, right = counts.sum(axis=2), np.einsum("dkk->dk", counts)
    occurs = rows > 0
    recall = right / np.where(occurs, rows, 1)
    both = rows + counts.sum(axis=1)
    f1 = 2 * right / np.where(both > 0, both, 1)
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
    gain, its 95 % interval by a paired bootstrap, rows won and rows lost; half a row counts as won
    and half a row as lost besides
    """
    won, lost = int((after & ~before).sum()), int((before & ~after).sum())
    rows = len(before)
    counts = np.array([won + 0.5, lost + 0.5, rows - won - lost])
    drawn = np.random.default_rng(seed).gamma(counts, size=(DRAWS, 3))
    low, high = np.percentile((drawn[:, 0] - drawn[:, 1]) / drawn.sum(axis=1), BOUNDS)
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
