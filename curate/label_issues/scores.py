"""Scores of how suspect each given label is: small functions, each with its source.

Comes in: `Evidence`, the given labels and the models' predictions. Goes out: one number per row;
higher is more suspect. The scores of several models are averaged. `combined` is the default; its
weights were chosen on one half of the available crowd votes, and `benchmarks/label_issues.py`
reports the other half.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.integer]
Probs = npt.NDArray[np.float64]

COPIES_WEIGHT = 0.25  # of the labels of the verified copies, relative to the models
# Times the square of the share of labels that models and copies disagree with: 0.34 on FER2013.
PAIR_WEIGHT = 2.0
MARGIN_AUC_WEIGHT = 0.1


@dataclass(frozen=True)
class Evidence:
    """What the scores use about N rows and K classes.

    Attributes
    ----------
    labels : (N,) class index of the given label
    model_probs : one (N, K) table of out-of-fold probabilities per model; each row sums to 1
    groups : (N,) number of the duplicate group; a row without copies has a group of its own
    margin_auc : (N,) training dynamics, larger for a label learned easily; NaN for a row that no
        model learned
    """

    labels: Labels
    model_probs: tuple[Probs, ...]
    groups: Labels
    margin_auc: Probs

    @cached_property
    def probs(self) -> Probs:
        """(N, K) mean over the models."""
        return np.asarray(np.mean(self.model_probs, axis=0))

    @cached_property
    def believed(self) -> Probs:
        """`pool_beliefs` of the models."""
        return pool_beliefs(self.labels, self.groups, self.model_probs)


def self_confidence(labels: Labels, probs: Probs) -> Probs:
    """How much the model believes each given label.

    Parameters
    ----------
    labels : (N,) class index of the given label
    probs : (N, K) out-of-fold probabilities; each row sums to 1

    Returns
    -------
    (N,) float in [0, 1]; lower means the label is more suspect

    References
    ----------
    Northcutt et al., Confident Learning, JAIR 2021, section 3
    """
    believed: Probs = probs[np.arange(len(labels)), labels]
    return believed


def best_other(labels: Labels, probs: Probs) -> Labels:
    """(N,) the most probable class other than the given one."""
    others = probs.copy()
    others[np.arange(len(labels)), labels] = -1
    return np.asarray(others.argmax(axis=1))


def margin(labels: Labels, probs: Probs) -> Probs:
    """How much more the model believes the given label than the best other class.

    Returns
    -------
    (N,) float in [-1, 1]; lower means the label is more suspect

    References
    ----------
    Northcutt et al., Confident Learning, JAIR 2021, section 3 (normalized margin, mapped to [0, 1]
    there)
    """
    rows = np.arange(len(labels))
    return self_confidence(labels, probs) - probs[rows, best_other(labels, probs)]


def pair_prior(labels: Labels, probs: Probs) -> Probs:
    """(K, K) mean probability of each class (column) over the rows with a given label (row).

    No verified label is used.
    """
    totals = np.zeros((probs.shape[1], probs.shape[1]))
    np.add.at(totals, labels, probs)
    return np.asarray(totals / np.maximum(totals.sum(axis=1, keepdims=True), 1e-12))


def average_copies(groups: Labels, values: Probs) -> Probs:
    """(N, K) each row's mean over its duplicate group, whose images show the same face."""
    totals = np.zeros((groups.max(initial=-1) + 1, values.shape[1]))
    np.add.at(totals, groups, values)
    sizes = np.maximum(np.bincount(groups, minlength=len(totals)), 1)
    return np.asarray((totals / sizes[:, None])[groups])


def labels_of_copies(labels: Labels, groups: Labels, classes: int) -> Probs:
    """(N, K) share of the row's copies with each label, the row itself left out.

    Zeros for a row without copies.
    """
    onehot = np.eye(classes)[labels]
    count = np.bincount(groups, minlength=groups.max(initial=-1) + 1)[groups] - 1
    others = average_copies(groups, onehot) * (count + 1)[:, None] - onehot
    return np.asarray(others / np.maximum(count, 1)[:, None])


def agree(probs: Probs, labels: Labels) -> float:
    """Share of the labels that are the most probable class; 0 without labels."""
    return float((probs.argmax(axis=1) == labels).sum() / max(len(labels), 1))


def pool_beliefs(labels: Labels, groups: Labels, model_probs: Sequence[Probs]) -> Probs:
    """(N, K) the probabilities by a set of models and by the labels of the copies together.

    Better models have a larger weight; each row sums to 1.

    Parameters
    ----------
    labels, groups : (N,) as in `Evidence`
    model_probs : one (N, K) table per model of the set
    """
    weighted = np.average(model_probs, axis=0, weights=weigh_models(labels, model_probs))
    predicted = average_copies(groups, weighted)
    mixed = predicted + COPIES_WEIGHT * labels_of_copies(labels, groups, predicted.shape[1])
    return np.asarray(mixed / mixed.sum(axis=1, keepdims=True))


def weigh_models(labels: Labels, model_probs: Sequence[Probs]) -> Probs:
    """(M,) weights that sum to 1, by the square of each model's skill.

    The skill is the model's agreement with the given labels, less that of always predicting the
    largest class.
    """
    largest = np.bincount(labels).max(initial=0) / max(len(labels), 1)
    agreement = np.array([agree(probs, labels) for probs in model_probs])
    skill = np.maximum(agreement - largest, 0) ** 2
    if skill.sum() > 0:
        return np.asarray(skill / skill.sum())
    return np.full(len(skill), 1 / len(skill))


def by_self_confidence(evidence: Evidence) -> Probs:
    """1 minus the self-confidence of the models' mean."""
    return 1 - self_confidence(evidence.labels, evidence.probs)


def by_margin(evidence: Evidence) -> Probs:
    """The negative mean margin."""
    margins = [margin(evidence.labels, probs) for probs in evidence.model_probs]
    return -np.asarray(np.mean(margins, axis=0))


def by_margin_auc(evidence: Evidence) -> Probs:
    """The negative area under the margin (G. Pleiss et al., NeurIPS 2020).

    Rows that no model learned come last.
    """
    largest = np.nanmax(evidence.margin_auc, initial=0.0)
    learned: Probs = np.nan_to_num(evidence.margin_auc, nan=largest)
    return -learned


def combined(evidence: Evidence) -> Probs:
    """The margin by models and copies, the pair prior, and the training dynamics.

    The better the models predict the labels, the less the prior adds: their probabilities then come
    from the image itself, not from a confusion that all annotators have in common.
    """
    labels, believed = evidence.labels, evidence.believed
    disagreement = 1 - agree(believed, labels)
    prior = pair_prior(labels, evidence.probs)[labels, best_other(labels, believed)]
    by_prior = PAIR_WEIGHT * disagreement**2 * np.log(np.maximum(prior, 1e-6))
    learned = _fill_margin_auc(evidence.margin_auc)
    return np.asarray(by_prior - margin(labels, believed) - MARGIN_AUC_WEIGHT * learned)


def _fill_margin_auc(margin_auc: Probs) -> Probs:
    """The median for rows that no model learned; zeros if there are only such rows."""
    if not np.isfinite(margin_auc).any():
        return np.zeros(len(margin_auc))
    return np.asarray(np.nan_to_num(margin_auc, nan=np.nanmedian(margin_auc)))


SCORES: Mapping[str, Callable[[Evidence], Probs]] = {
    "combined": combined,
    "margin": by_margin,
    "self_confidence": by_self_confidence,
    "margin_auc": by_margin_auc,
}
