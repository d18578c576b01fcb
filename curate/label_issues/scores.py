"""Scores of how suspect a given label is: each one small function of predictions, with its source. Higher is more suspect.

Several members are averaged score by score. `combined` is the default; its weights were chosen on one half of the votes at
hand and `benchmarks/label_issues.py` reports the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.integer]
Probs = npt.NDArray[np.float64]

COPIES_WEIGHT = 0.25  # of the labels of the verified copies, against the models
PAIR_WEIGHT = 2.0  # times the square of the share of labels that members and copies disagree with: 0.34 on FER2013
MARGIN_AUC_WEIGHT = 0.1


@dataclass(frozen=True)
class Evidence:
    """What is known about N rows and K classes.

    Attributes
    ----------
    labels : (N,) class index of the given label
    members : one (N, K) table of out-of-fold probabilities per model; each row sums to 1
    groups : (N,) number of the duplicate group; a row without copies is alone in its own
    margin_auc : (N,) training dynamics, larger for a label learned easily; NaN where no model learned the row
    """

    labels: Labels
    members: tuple[Probs, ...]
    groups: Labels
    margin_auc: Probs

    @cached_property
    def probs(self) -> Probs:
        """(N, K) mean over the members."""
        return np.asarray(np.mean(self.members, axis=0))

    @cached_property
    def believed(self) -> Probs:
        """(N, K) what members and copies say together, the better members louder."""
        views = average_copies(
            self.groups, np.average(self.members, axis=0, weights=weigh_members(self))
        )
        mixed = views + COPIES_WEIGHT * labels_of_copies(self.labels, self.groups, views.shape[1])
        return np.asarray(mixed / mixed.sum(axis=1, keepdims=True))


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
    """(N,) the class believed most of those that are not the given one."""
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
    Northcutt et al., Confident Learning, JAIR 2021, section 3 (normalized margin, there mapped to [0, 1])
    """
    rows = np.arange(len(labels))
    return self_confidence(labels, probs) - probs[rows, best_other(labels, probs)]


def pair_prior(labels: Labels, probs: Probs) -> Probs:
    """(K, K) how often a given label (row) is seen as each class: its rows' mean probabilities. No truth is used."""
    totals = np.zeros((probs.shape[1], probs.shape[1]))
    np.add.at(totals, labels, probs)
    return np.asarray(totals / np.maximum(totals.sum(axis=1, keepdims=True), 1e-12))


def average_copies(groups: Labels, values: Probs) -> Probs:
    """(N, K) each row's mean over its duplicate group: the copies of a photograph are views of it."""
    totals = np.zeros((groups.max(initial=-1) + 1, values.shape[1]))
    np.add.at(totals, groups, values)
    return np.asarray(
        (totals / np.maximum(np.bincount(groups, minlength=len(totals)), 1)[:, None])[groups]
    )


def labels_of_copies(labels: Labels, groups: Labels, classes: int) -> Probs:
    """(N, K) share of the row's copies, itself left out, that carry each label; zeros where it has none."""
    onehot = np.eye(classes)[labels]
    count = np.bincount(groups, minlength=groups.max(initial=-1) + 1)[groups] - 1
    others = average_copies(groups, onehot) * (count + 1)[:, None] - onehot
    return np.asarray(others / np.maximum(count, 1)[:, None])


def agree(probs: Probs, labels: Labels) -> float:
    """Share of the labels that are the class believed most; 0 of none."""
    return float((probs.argmax(axis=1) == labels).sum() / max(len(labels), 1))


def weigh_members(evidence: Evidence) -> Probs:
    """(M,) summing to 1: the square of each member's skill, which is its agreement with the given labels beyond that of always
    naming the largest class.
    """
    largest = np.bincount(evidence.labels).max(initial=0) / max(len(evidence.labels), 1)
    agreement = np.array([agree(member, evidence.labels) for member in evidence.members])
    skill = np.maximum(agreement - largest, 0) ** 2
    return np.asarray(
        skill / skill.sum() if skill.sum() > 0 else np.full(len(skill), 1 / len(skill))
    )


def by_self_confidence(evidence: Evidence) -> Probs:
    """One less the mean self-confidence."""
    return 1 - self_confidence(evidence.labels, evidence.probs)


def by_margin(evidence: Evidence) -> Probs:
    """The negative mean margin."""
    return -np.asarray(
        np.mean([margin(evidence.labels, probs) for probs in evidence.members], axis=0)
    )


def by_margin_auc(evidence: Evidence) -> Probs:
    """The negative area under the margin (G. Pleiss et al., NeurIPS 2020); rows that no model learned come last."""
    learned: Probs = np.nan_to_num(
        evidence.margin_auc, nan=np.nanmax(evidence.margin_auc, initial=0.0)
    )
    return -learned


def combined(evidence: Evidence) -> Probs:
    """The margin of what members and copies say, the pair prior, and the training dynamics.

    The better the members know the labels the less the prior adds: what they believe of a class is then no habit of all
    annotators but this image.
    """
    labels, believed = evidence.labels, evidence.believed
    disagreement = 1 - agree(believed, labels)
    prior = pair_prior(labels, evidence.probs)[labels, best_other(labels, believed)]
    learned = (
        np.nan_to_num(evidence.margin_auc, nan=np.nanmedian(evidence.margin_auc))
        if _has(evidence)
        else 0.0
    )
    return np.asarray(
        PAIR_WEIGHT * disagreement**2 * np.log(np.maximum(prior, 1e-6))
        - margin(labels, believed)
        - MARGIN_AUC_WEIGHT * learned
    )


def _has(evidence: Evidence) -> bool:
    return bool(np.isfinite(evidence.margin_auc).any())


SCORES: Mapping[str, Callable[[Evidence], Probs]] = {
    "combined": combined,
    "margin": by_margin,
    "self_confidence": by_self_confidence,
    "margin_auc": by_margin_auc,
}
