"""The consensus of several reviewers: the class of each image, and how far each reviewer is right.

In: the verdicts of R reviewers on N images and, where there are some, the out-of-fold probabilities
of models. Out: the probability of each class, and each reviewer's quality. Nobody knows the true
class; expectation maximisation alternates between the classes, given how often each reviewer is
right, and the qualities, given the classes. One number per reviewer: a confusion matrix each agrees
less with the crowd of FER+ (benchmarks/consensus.py), where reviewers err on the same faces.

The models are the prior: their log-probabilities are scaled by one factor and shifted by one number
a class, both fitted to the verdicts, so models that know nothing about the verdicts count nothing.

References
----------
Dawid and Skene, Maximum likelihood estimation of observer error-rates using the EM algorithm,
Applied Statistics 1979, with one error rate a reviewer
Raykar et al., Learning from crowds, JMLR 2010: a classifier as the prior
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from curate.label_issues.scores import Probs

Votes = npt.NDArray[np.int64]
NO_VOTE = -1
# Before anything is known a reviewer is right in 7 of 10 images; a reviewer with few verdicts is
# drawn to the mean of all, which counts as much as so many images.
FIRST_QUALITY, PRIOR_IMAGES = 0.7, 5.0
BEST_QUALITY = 0.99  # nobody overrules all others
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
    shares = given.sum(axis=1) + FIRST_QUALITY
    probs = shares / shares.sum(axis=1, keepdims=True)
    factor = 0.0
    for _ in range(ROUNDS):
        quality = _smooth_quality(given, probs)
        prior, factor = _fit_prior(probs, believed)
        # What a verdict adds to its class: the log-odds of a right one against each wrong one.
        weight = np.log(quality / ((1 - quality) / (classes - 1)))
        after = softmax(prior + np.einsum("nrk,r->nk", given, weight), axis=1)
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


def _smooth_quality(given: Probs, probs: Probs) -> Probs:
    """(R,) the quality of each reviewer, drawn to the mean of all."""
    count = given.sum(axis=(0, 2))
    right = np.einsum("nrk,nk->r", given, probs)
    mean = (right.sum() + FIRST_QUALITY * PRIOR_IMAGES) / (count.sum() + PRIOR_IMAGES)
    quality: Probs = (right + mean * PRIOR_IMAGES) / (count + PRIOR_IMAGES)
    return np.clip(quality, 1 / probs.shape[1], BEST_QUALITY)


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
