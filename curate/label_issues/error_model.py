"""The error model: how likely each label is wrong, and how many are, fitted to verdicts.

Comes in: scores and verdicts, which are human decisions, and crowd votes where a source has them.
Goes out: a probability per row, and counts with an interval. The model is a logistic regression of
"wrong" on the score, with a separate intercept for each pair (given, suggested) that is shrunk to
zero. The interval comes from the normal approximation of the posterior. Which rows were reviewed
may depend on their score, so a review of the most suspect rows is valid; but only a random sample
shows how many errors are among the unsuspicious ones (200 images give a useful interval).

References
----------
C. Bishop, Pattern Recognition and Machine Learning, 2006, section 4.5
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.errors import amount
from curate.label_issues.scores import Labels, Probs
from curate.labels import VOCABULARY
from curate.workspace.votes import choose_majority, votes_of

# Fewer verdicts, or of one kind alone, are too few for a curve of two parameters.
FEWEST = 50
FEWEST_OF_A_KIND = 5
# Standard deviations of the prior: nothing is known about the curve of a score; pairs differ by a
# factor of about two in odds.
WIDE = 10.0
PAIR_SPREAD = 0.7
DRAWS = 400
INTERVAL = (0.025, 0.975)


@dataclass(frozen=True)
class Calibration:
    """How likely each of N labels is wrong.

    Attributes
    ----------
    probability : (N,) in [0, 1], by the curve, also for rows with a verdict
    draws : (DRAWS, N) float32, the same probabilities drawn from the posterior
    verdicts : number of verdicts that the curve was fitted to
    """

    probability: Probs
    draws: npt.NDArray[np.float32]
    verdicts: int


def name_verdicts(rows: pd.DataFrame) -> "pd.Series[str]":
    """The class that a person, or the crowd's majority, gave each row; empty for none.

    A person's decision counts before the crowd's majority. A dropped image, or one that is no face
    by the crowd, has no verdict; a label that a machine accepted is none.
    """
    votes = zip(rows["votes"], rows["given_label"], strict=True)
    majorities = [choose_majority(votes_of(text), given) if text else "" for text, given in votes]
    verdicts = pd.Series(majorities, rows.index, dtype=str)
    verdicts = verdicts.where(verdicts.isin(VOCABULARY), "")
    by_person = rows["reason"] == "human"
    decided = rows["label"].where(rows["status"] == "keep", "")
    return verdicts.mask(by_person, decided)


def collect_verdicts(rows: pd.DataFrame) -> Probs:
    """(N,) 1 where the verdict is another label than the given one, 0 where the same, NaN for none.

    The verdicts are those of `name_verdicts`.
    """
    named = name_verdicts(rows)
    is_wrong = (named != rows["given_label"]).astype(np.float64)
    return np.asarray(is_wrong.where(named != "", np.nan), np.float64)


def is_enough(verdicts: Probs) -> bool:
    """Whether a curve can be fitted to these verdicts."""
    wrong = int(np.nansum(verdicts))
    known = int(np.isfinite(verdicts).sum())
    return known >= FEWEST and min(wrong, known - wrong) >= FEWEST_OF_A_KIND


def describe_lack(verdicts: int, wrong: int) -> str:
    """What a curve lacks, in words.

    Parameters
    ----------
    wrong : those of the verdicts that are another label than the given one
    """
    if not verdicts:
        return "judge a random sample of 200"
    return (
        f"{wrong:,} of {amount(verdicts, 'verdict')} found a wrong label, and {FEWEST} verdicts "
        f"with {FEWEST_OF_A_KIND} wrong and {FEWEST_OF_A_KIND} right are needed: judge more at "
        "random"
    )


def calibrate(score: Probs, pair: Labels, verdicts: Probs, seed: int = 0) -> Calibration:
    """Fit the curve.

    Parameters
    ----------
    score : (N,) higher is more suspect
    pair : (N,) number of the pair of given and suggested class
    verdicts : (N,) 1 wrong, 0 right, NaN unknown; `is_enough` of them
    """
    known = np.isfinite(verdicts)
    middle, spread = float(np.median(score)), float(score.std()) or 1.0
    numbers, pair = np.unique(pair, return_inverse=True)
    place = ((score - middle) / spread)[:, None]
    of_pair = np.eye(len(numbers))[pair[known]]
    design = np.concatenate([np.ones((known.sum(), 1)), place[known], of_pair], axis=1)
    precision = np.diag([WIDE**-2, WIDE**-2, *[PAIR_SPREAD**-2] * len(numbers)])
    mean, covariance = _fit_logistic(design, verdicts[known], precision)
    rng = np.random.default_rng(seed)
    drawn = rng.multivariate_normal(mean, covariance, DRAWS, method="cholesky")
    logits = drawn[:, :1] + drawn[:, 1:2] * place[:, 0] + drawn[:, 2:][:, pair]
    best = mean[0] + mean[1] * place[:, 0] + mean[2:][pair]
    return Calibration(_sigmoid(best), _sigmoid(logits).astype(np.float32), int(known.sum()))


def count_errors(
    calibration: Calibration, verdicts: Probs, among: npt.NDArray[np.bool_]
) -> dict[str, int]:
    """How many labels of the rows `among` are wrong, by verdicts, and by the curve elsewhere.

    Returns
    -------
    `count`, and `low` and `high` of the 95 % interval
    """
    unknown = among & ~np.isfinite(verdicts)
    certain = float(np.nansum(verdicts[among]))
    probs = calibration.draws[:, unknown].astype(np.float64)
    spread = np.sqrt((probs * (1 - probs)).sum(axis=1))
    noise = np.random.default_rng(1).standard_normal(DRAWS) * spread
    drawn = np.maximum(certain + probs.sum(axis=1) + noise, certain)
    low, high = np.quantile(drawn, INTERVAL)
    return {
        "low": round(low),
        "count": round(certain + calibration.probability[unknown].sum()),
        "high": round(high),
    }


def count_confidently(labels: Labels, probs: Probs) -> tuple[int, npt.NDArray[np.int64]]:
    """How many labels are wrong by the models alone, in total and per pair (K, K).

    The pairs are the off-diagonal of the calibrated confident joint. A class is a candidate for a
    row if its probability is at least the mean probability over the rows given that class; the row
    counts for its most probable candidate. Without verdicts this count has no reliable interval.

    References
    ----------
    Northcutt et al., Confident Learning, JAIR 2021, section 3.1
    cleanlab's `compute_confident_joint`
    """
    classes = probs.shape[1]
    count = np.bincount(labels, minlength=classes)
    threshold = np.full(classes, np.inf)
    for k in np.flatnonzero(count):
        threshold[k] = probs[labels == k, k].mean()
    over = np.where(probs >= threshold - 1e-12, probs, -1.0)
    confident = over.max(axis=1) >= 0
    joint = np.zeros((classes, classes))
    np.add.at(joint, (labels[confident], over[confident].argmax(axis=1)), 1)
    scaled = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1) * count[:, None]
    np.fill_diagonal(scaled, 0)
    return round(scaled.sum()), np.rint(scaled).astype(np.int64)


def mark_at_precision(probability: Probs, precision: float) -> npt.NDArray[np.bool_]:
    """(N,) True for the most probable errors, as many as keep the expected precision.

    Parameters
    ----------
    probability : (N,) that the label is wrong
    precision : least expected share of wrong labels among the marked ones, inclusive
    """
    order = np.argsort(-probability, kind="stable")
    expected = np.cumsum(probability[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(expected >= precision)
    count = int(enough[-1]) + 1 if len(enough) else 0
    marked = np.zeros(len(probability), bool)
    marked[order[:count]] = True
    return marked


def _fit_logistic(design: Probs, wrong: Probs, precision: Probs) -> tuple[Probs, Probs]:
    """Mean and covariance of the coefficients under a normal prior of mean 0, by Newton steps."""
    weights: Any = np.zeros(design.shape[1])
    covariance: Any = np.linalg.inv(precision)
    for _ in range(50):
        probs = _sigmoid(design @ weights)
        slope = design.T @ (wrong - probs) - precision @ weights
        curvature = (design * (probs * (1 - probs))[:, None]).T @ design
        covariance = np.linalg.inv(curvature + precision)
        step = covariance @ slope
        weights = weights + step * min(1.0, 5.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    return weights, covariance


def _sigmoid(logits: Probs) -> Probs:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -40, 40))))
