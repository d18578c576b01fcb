"""Predictions of a model that was never trained on this data set, as one more model of `flag`.

Comes in: given labels, the probabilities of out-of-fold models and those of the independent one.
Goes out: its probabilities over the classes here, on the scale of the given labels; or the reason
why it is not independent. An outside model needs no folds, since it learned from no label here. One
that did learn from them agrees with every label, wrong ones too, and would hide what `flag` seeks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from scipy.stats import binomtest, norm

from curate.errors import PredictionsError, examples
from curate.label_issues.scores import Evidence, Labels, Probs, agree, margin
from curate.workspace.predictions import PREFIX

# One model in a thousand is refused by chance, and only if it is better by this factor in odds:
# against 67 % of FER2013's labels that is 75 %, more than models by other labels have reached.
SIGNIFICANCE = 0.001
ODDS_FACTOR = 1.5
# Out-of-fold models are sure of another class if they believe it so much more than the given one.
SURE_MARGIN = 0.5
# An independent model sides with few of those labels; this share is no accident any more.
SURE_SHARE = 1 / 3
FEWEST_SURE = 20
# Without enough such rows the agreement alone decides, by a larger factor and near to all labels:
# against weak models, as of few images, any good one is far ahead.
ODDS_FACTOR_ALONE = 3.0
AGREEMENT_ALONE = 0.9
# Fewer verdicts bound nothing.
FEWEST_VERDICTS = 50
LEAST_BELIEF = 1e-3


def add_independent(
    evidence: Evidence,
    independent: Mapping[str, pd.DataFrame],
    classes: Sequence[str],
    verdicts: Probs,
) -> tuple[Evidence, list[str]]:
    """The evidence with the independent models, and what could not be checked.

    Parameters
    ----------
    independent : file name -> table of the N rows in their order
    classes : the K classes, in the order of the probabilities
    verdicts : as of `describe_leak`

    Raises
    ------
    PredictionsError  if a model evidently knows the given labels, or lacks a class of which no
        other model has a belief
    """
    members, notes = evidence.model_probs, []
    added = list(members)
    for name, table in independent.items():
        is_known = np.array([PREFIX + label in table for label in classes])
        if not members and not is_known.all():
            absent = [PREFIX + label for label in np.array(classes)[~is_known]]
            raise PredictionsError(
                f"{name}: no column for {examples(absent)}: predict every class, or run "
                "`train oof` beside it"
            )
        own = table.reindex(columns=[PREFIX + label for label in classes], fill_value=0.0)
        pooled = None if is_known.all() else evidence.believed
        probs = complete_classes(own.to_numpy(dtype=np.float64), is_known, pooled)
        leak = describe_leak(evidence.labels, members, probs, verdicts)
        if leak:
            raise PredictionsError(
                f"{name}: {leak}: it evidently knows the labels: predict by a model that was never "
                "trained on this data set, or by folds (--predictions); if it sees so well, judge "
                "a random sample (`curate relabel --random 200`) and run flag again"
            )
        if not members:
            notes.append(
                f"flag: {name} was not compared with out-of-fold models, there are none: a model "
                "that was trained on these labels hides the wrong ones"
            )
        added.append(calibrate_to_labels(probs, evidence.labels))
    return replace(evidence, model_probs=tuple(added)), notes


def describe_leak(
    labels: Labels, members: Sequence[Probs], independent: Probs, verdicts: Probs
) -> str:
    """Why the model evidently knows the given labels; empty if it does not.

    It agrees with them far more than the best out-of-fold model, by McNemar's test and by odds, and
    also where those models are sure of another class. Labels that people found right may raise what
    counts as far: a model that sees better than the out-of-fold ones agrees with all right labels.

    Parameters
    ----------
    labels : (N,) class indices of the given labels
    members : one (N, K) table per out-of-fold model; none: nothing can be compared
    independent : (N, K), likewise
    verdicts : (N,) 1 the given label is wrong, 0 it is right, NaN unknown

    References
    ----------
    Q. McNemar, Psychometrika 1947
    """
    if not members:
        return ""
    best = max([*members, np.mean(members, axis=0)], key=lambda probs: agree(probs, labels))
    own, reference = agree(independent, labels), agree(best, labels)
    right, right_before = independent.argmax(axis=1) == labels, best.argmax(axis=1) == labels
    won, lost = int((right & ~right_before).sum()), int((right_before & ~right).sum())
    if not won or binomtest(won, won + lost, 0.5, "greater").pvalue > SIGNIFICANCE:
        return ""
    mean = np.mean(members, axis=0)
    is_sure = margin(labels, mean) <= -SURE_MARGIN
    sided = float(right[is_sure].mean()) if is_sure.any() else 0.0
    has_sure = int(is_sure.sum()) >= FEWEST_SURE
    factor = ODDS_FACTOR if has_sure else ODDS_FACTOR_ALONE
    is_far = _odds(own) > factor * _odds(max(reference, _bound_right(verdicts)))
    sides = sided >= SURE_SHARE if has_sure else own >= AGREEMENT_ALONE
    if not (is_far and sides):
        return ""
    doubted = ""
    if has_sure:
        count = int(is_sure.sum())
        doubted = f", and with {100 * sided:.0f} % of the {count:,} that those are sure are wrong"
    return (
        f"agrees with {100 * own:.1f} % of the given labels, where the best out-of-fold model "
        f"agrees with {100 * reference:.1f} %{doubted}"
    )


def _odds(share: float) -> float:
    return share / (1 - share) if share < 1 else np.inf


def _bound_right(verdicts: Probs) -> float:
    """Upper bound of the share of right labels by verdicts (Wilson, 97.5 %); 0 by too few."""
    known = verdicts[np.isfinite(verdicts)]
    count = len(known)
    if count < FEWEST_VERDICTS:
        return 0.0
    share, z = float(1 - known.mean()), float(norm.ppf(0.975))
    spread = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return float((share + z**2 / (2 * count) + spread) / (1 + z**2 / count))


def complete_classes(probs: Probs, is_known: npt.NDArray[np.bool_], pooled: Probs | None) -> Probs:
    """(N, K) with the classes that the model does not have, as the other models believe them.

    The model knows how likely its own classes are against each other; they share what the others
    leave to them.

    Parameters
    ----------
    probs : (N, K), zero in the classes that are not known
    is_known : (K,) whether the model has the class
    pooled : (N, K) what the other models believe; None if the model has all classes
    """
    total = probs.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, probs / np.maximum(total, 1e-12), is_known / is_known.sum())
    if pooled is None:
        return np.asarray(shares)
    left = pooled[:, is_known].sum(axis=1, keepdims=True)
    return np.asarray(np.where(is_known, left * shares, pooled))


def calibrate_to_labels(probs: Probs, labels: Labels) -> Probs:
    """(N, K) on the scale of the given labels, as those of `train oof` are.

    An outside model was trained elsewhere: other class frequencies, too sure of itself here. One
    factor of the log-probabilities and one constant per class, with a standard normal prior each,
    learn nothing about a single row.

    References
    ----------
    C. Guo et al., On calibration of modern neural networks, ICML 2017 (temperature)
    A. Alexandari et al., Maximum likelihood with bias-corrected calibration is hard-to-beat at
    label shift adaptation, ICML 2020 (with a constant per class)
    """
    logs = np.log(np.maximum(probs, LEAST_BELIEF))
    onehot = np.eye(probs.shape[1])[labels]

    def loss(values: Probs) -> tuple[float, Probs]:
        logits = values[0] * logs + values[1:]
        wrong = softmax(logits, axis=1) - onehot
        prior = values - np.eye(1, len(values))[0]
        value = -(onehot * log_softmax(logits, axis=1)).sum() + 0.5 * prior @ prior
        slope = np.concatenate([[(wrong * logs).sum()], wrong.sum(axis=0)]) + prior
        return float(value), slope

    start = np.eye(1, 1 + probs.shape[1])[0]
    found = minimize(loss, start, jac=True, method="L-BFGS-B")
    return np.asarray(softmax(found.x[0] * logs + found.x[1:], axis=1))
