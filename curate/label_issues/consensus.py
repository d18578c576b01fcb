"""The consensus of several reviewers: the class of each image, and how far each reviewer is right.

In: the verdicts of R reviewers on N images and, where there are some, the out-of-fold probabilities
of models. Out: the probability of each class, and each reviewer's quality. Nobody knows the true
class; expectation maximisation alternates between the classes, given how often each reviewer knows
them, and that, given the classes. Whoever does not know the class guesses: half of the guesses are
any class alike, half follow the reviewer's own habit, so one who presses a single key says little.
A confusion matrix for each reviewer agrees less with the crowd of FER+ (benchmarks/consensus.py),
where reviewers err on the same faces.

The models are the prior: their log-probabilities are scaled by one factor and shifted by one number
a class, both fitted to the verdicts, so models that know nothing about the verdicts count nothing.

References
----------
Dawid and Skene, Maximum likelihood estimation of observer error-rates using the EM algorithm,
Applied Statistics 1979, with one error rate a reviewer
Hovy et al., Learning whom to trust with MACE, NAACL 2013: a habit of guessing for each reviewer
Raykar et al., Learning from crowds, JMLR 2010: a classifier as the prior
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from curate.label_issues.scores import Probs

Votes = npt.NDArray[np.int64]
NO_VOTE = -1
# Before anything is known a reviewer knows the class of 7 in 10 images; one with few verdicts is
# drawn to the mean of all, which counts as much as so many images.
FIRST_SKILL, PRIOR_IMAGES = 0.7, 5.0
BEST_SKILL = 0.99  # nobody overrules all others
# A class that the models rule out, or do not know, may still be the right one.
LEAST_PROB = 1e-3
FACTORS = np.arange(0, 2.01, 0.1)
ROUNDS, CONVERGED = 100, 1e-6


@dataclass(frozen=True)
class Consensus:
    """What R reviewers, and models, make of N images of K classes.

    Attributes
    ----------
    probs : (N, K) of each class; rows sum to 1
    quality : (R,) expected share of the reviewer's verdicts that are the right class; NaN for a
        reviewer without a verdict. Errors that reviewers share count as right.
    factor : by which the log-probabilities of the models count; 0 without models
    """

    probs: Probs
    quality: Probs
    factor: float


def find_consensus(votes: Votes, classes: int, believed: Probs | None = None) -> Consensus:
    """Fit the classes and the reviewers' qualities to the verdicts.

    Parameters
    ----------
    votes : (N, R) class index of each verdict, `NO_VOTE` for none
    classes : the number K of classes, at least 2
    believed : (N, K) out-of-fold probabilities; None without models, NaN in rows without any
    """
    given = _one_hot(votes, classes)
    probs = _begin(given, believed)
    reviewers, factor = given.shape[1], 0.0
    skill, habit = np.full(reviewers, FIRST_SKILL), np.full((reviewers, classes), 1 / classes)
    for _ in range(ROUNDS):
        skill, habit = _fit_reviewers(given, probs, skill, habit)
        prior, factor = _fit_prior(probs, believed)
        # What a verdict adds to its class: the log-odds of it there against any other class.
        by_guess = (1 - skill[:, None]) * habit
        weight = np.log((skill[:, None] + by_guess) / by_guess)
        after = softmax(prior + np.einsum("nrk,rk->nk", given, weight), axis=1)
        moved = float(np.abs(after - probs).max(initial=0))
        probs = after
        if moved < CONVERGED:
            break
    return Consensus(probs, _measure_quality(given, probs), factor)


def _one_hot(votes: Votes, classes: int) -> Probs:
    """(N, R, K) 1 at the verdict, 0 elsewhere."""
    given: Probs = (votes[..., None] == np.arange(classes)).astype(np.float64)
    return given


def _measure_quality(given: Probs, probs: Probs) -> Probs:
    """(R,) mean probability of the reviewer's own verdicts."""
    count = given.sum(axis=(0, 2))
    right = np.einsum("nrk,nk->r", given, probs)
    unknown = np.full(len(count), np.nan)
    quality: Probs = np.divide(right, count, out=unknown, where=count > 0)
    return quality


def _begin(given: Probs, believed: Probs | None) -> Probs:
    """(N, K) probabilities to begin with: the shares of the verdicts, times those of the models.

    Without the models a reviewer with one habit and a good one would be alike.
    """
    probs = given.sum(axis=1) + FIRST_SKILL
    if believed is not None:
        known = np.isfinite(believed).all(axis=1)
        probs[known] *= np.maximum(believed[known], LEAST_PROB)
    total: Probs = probs / probs.sum(axis=1, keepdims=True)
    return total


def _fit_reviewers(given: Probs, probs: Probs, skill: Probs, habit: Probs) -> tuple[Probs, Probs]:
    """One round: how often each reviewer knows the class, and what they guess otherwise.

    Parameters
    ----------
    skill, habit : (R,) and (R, K) of the last round; rows of the habit sum to 1

    Returns
    -------
    both; the skill is drawn to the mean of all, and half of the habit to all classes alike
    """
    verdicts = given.sum(axis=0)
    count, classes = verdicts.sum(axis=1), verdicts.shape[1]
    is_known = skill[:, None] / (skill[:, None] + (1 - skill[:, None]) * habit)
    known = np.einsum("nrk,nk->rk", given, probs) * is_known
    mean = (known.sum() + FIRST_SKILL * PRIOR_IMAGES) / (count.sum() + PRIOR_IMAGES)
    skill = (known.sum(axis=1) + mean * PRIOR_IMAGES) / (count + PRIOR_IMAGES)
    alike = (count[:, None] + PRIOR_IMAGES) / classes
    habit = verdicts - known + alike
    return np.minimum(skill, BEST_SKILL), habit / habit.sum(axis=1, keepdims=True)


def _fit_prior(probs: Probs, believed: Probs | None) -> tuple[Probs, float]:
    """(N, K) log-probability of each class before the verdicts, and the factor of the models."""
    shares = np.log(probs.mean(axis=0) + LEAST_PROB)
    prior = np.array(np.broadcast_to(shares, probs.shape))
    if believed is None or not np.isfinite(believed).all(axis=1).any():
        return prior, 0.0
    is_known = np.isfinite(believed).all(axis=1)
    logs = np.log(np.maximum(believed[is_known], LEAST_PROB))
    best, best_gain = (np.zeros_like(logs) + shares, 0.0), -np.inf
    for factor in FACTORS:
        shift = shares - np.log(softmax(factor * logs, axis=1).mean(axis=0) + LEAST_PROB)
        scaled = np.log(softmax(factor * logs + shift, axis=1))
        gain = float((probs[is_known] * scaled).sum())
        if gain > best_gain:
            best, best_gain = (scaled, float(factor)), gain
    prior[is_known] = best[0]
    return prior, best[1]
