"""From scores to probabilities: how likely each label is wrong, how many are, fitted to what people said.

Verdicts are human decisions, and crowd votes where a source has them. A logistic regression of "wrong" on the score, with an
intercept of its own for each pair (given, suggested) that is drawn to zero, gives every row its probability; the posterior's
normal approximation (C. Bishop, Pattern Recognition and Machine Learning, 2006, section 4.5) gives the interval. Which rows
were reviewed may depend on their score, so a review of the most suspect is welcome; but how many errors hide among the
unsuspicious only a random sample tells (200 images are enough for an interval of use).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.label_issues.scores import Labels, Probs
from curate.labels import VOCABULARY
from curate.workspace.votes import choose_majority, votes_of

# Fewer verdicts, or of one kind alone, say too little about a curve of two parameters.
FEWEST = 50
FEWEST_OF_A_KIND = 5
# Standard deviations of the prior: of a score's own curve nothing is known; pairs differ by a factor of two or so in odds.
WIDE = 10.0
PAIR_SPREAD = 0.7
DRAWS = 400
INTERVAL = (0.025, 0.975)


@dataclass(frozen=True)
class Calibration:
    """How likely each of N labels is wrong.

    Attributes
    ----------
    probability : (N,) for rows with a verdict what the curve says, not the verdict
    draws : (DRAWS, N) float32 of the same, from the posterior
    verdicts : how many it was fitted to
    """

    probability: Probs
    draws: npt.NDArray[np.float32]
    verdicts: int


def collect_verdicts(rows: pd.DataFrame) -> Probs:
    """(N,) 1 where a person, or else the crowd's majority, gives another label than the given one, 0 where the same; NaN none.

    A dropped image and one that the crowd calls no face say nothing about labels.
    """
    verdicts = np.full(len(rows), np.nan)
    voted_for = zip(rows["votes"], rows["given_label"], strict=True)
    crowd = [choose_majority(votes_of(text), own) if text else "" for text, own in voted_for]
    voted = pd.Series(crowd, rows.index).isin(VOCABULARY)
    verdicts[voted] = (pd.Series(crowd, rows.index) != rows["given_label"])[voted]
    human = (rows["reason"] == "human") & (rows["status"] == "keep")
    verdicts[human] = (rows["label"] != rows["given_label"])[human]
    return verdicts


def is_enough(verdicts: Probs) -> bool:
    """Whether a curve can be fitted to these verdicts."""
    wrong = int(np.nansum(verdicts))
    known = int(np.isfinite(verdicts).sum())
    return known >= FEWEST and min(wrong, known - wrong) >= FEWEST_OF_A_KIND


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
    seen = np.concatenate(
        [np.ones((known.sum(), 1)), place[known], np.eye(len(numbers))[pair[known]]], axis=1
    )
    precision = np.diag([WIDE**-2, WIDE**-2, *[PAIR_SPREAD**-2] * len(numbers)])
    mean, covariance = _fit_logistic(seen, verdicts[known], precision)
    drawn = np.random.default_rng(seed).multivariate_normal(
        mean, covariance, DRAWS, method="cholesky"
    )
    logits = drawn[:, :1] + drawn[:, 1:2] * place[:, 0] + drawn[:, 2:][:, pair]
    best = mean[0] + mean[1] * place[:, 0] + mean[2:][pair]
    return Calibration(_sigmoid(best), _sigmoid(logits).astype(np.float32), int(known.sum()))


def count_errors(
    calibration: Calibration, verdicts: Probs, among: npt.NDArray[np.bool_]
) -> dict[str, int]:
    """How many labels of the rows `among` are wrong: the verdicts where there are any, the curve elsewhere."""
    unknown = among & ~np.isfinite(verdicts)
    certain = float(np.nansum(verdicts[among]))
    probs = calibration.draws[:, unknown].astype(np.float64)
    noise = np.random.default_rng(1).standard_normal(DRAWS) * np.sqrt(
        (probs * (1 - probs)).sum(axis=1)
    )
    drawn = np.maximum(certain + probs.sum(axis=1) + noise, certain)
    low, high = np.quantile(drawn, INTERVAL)
    return {
        "low": round(low),
        "count": round(certain + calibration.probability[unknown].sum()),
        "high": round(high),
    }


def count_confidently(labels: Labels, probs: Probs) -> tuple[int, npt.NDArray[np.int64]]:
    """How many labels the models alone call wrong, and per pair (K, K): the off-diagonal of the calibrated confident joint.

    A row counts for the class that is believed most of those believed at least as much as the rows given that class believe
    in it on average. Without verdicts this has no honest interval.

    References
    ----------
    Northcutt et al., Confident Learning, JAIR 2021, section 3.1; cleanlab's `compute_confident_joint`
    """
    classes = probs.shape[1]
    count = np.bincount(labels, minlength=classes)
    threshold = np.array(
        [probs[labels == k, k].mean() if count[k] else np.inf for k in range(classes)]
    )
    over = np.where(probs >= threshold - 1e-12, probs, -1.0)
    confident = over.max(axis=1) >= 0
    joint = np.zeros((classes, classes))
    np.add.at(joint, (labels[confident], over[confident].argmax(axis=1)), 1)
    scaled = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1) * count[:, None]
    np.fill_diagonal(scaled, 0)
    return round(scaled.sum()), np.rint(scaled).astype(np.int64)


def mark_at_precision(probability: Probs, precision: float) -> npt.NDArray[np.bool_]:
    """The longest start of the ranking by probability of which at least that share is expected to be wrong."""
    order = np.argsort(-probability, kind="stable")
    expected = np.cumsum(probability[order]) / np.arange(1, len(order) + 1)
    count = (
        int(np.flatnonzero(expected >= precision)[-1]) + 1 if (expected >= precision).any() else 0
    )
    marked = np.zeros(len(probability), bool)
    marked[order[:count]] = True
    return marked


def _fit_logistic(seen: Probs, wrong: Probs, precision: Probs) -> tuple[Probs, Probs]:
    """Mean and covariance of the coefficients under a normal prior of mean zero, by Newton steps."""
    weights: Any = np.zeros(seen.shape[1])
    covariance: Any = np.linalg.inv(precision)
    for _ in range(50):
        probs = _sigmoid(seen @ weights)
        slope = seen.T @ (wrong - probs) - precision @ weights
        covariance = np.linalg.inv((seen * (probs * (1 - probs))[:, None]).T @ seen + precision)
        step = covariance @ slope
        weights = weights + step * min(1.0, 5.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    return weights, covariance


def _sigmoid(logits: Probs) -> Probs:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -40, 40))))
