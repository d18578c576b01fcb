"""The scores of label issues: rows by hand, cleanlab's values, and the choices of `--score`."""

from typing import get_args, get_type_hints

import numpy as np
import pytest
from cleanlab.rank import get_label_quality_scores
from tables import draw_probs

from curate.cli.pipeline import flag
from curate.label_issues.scores import (
    SCORES,
    Evidence,
    average_copies,
    combined,
    labels_of_copies,
    margin,
    pair_prior,
    self_confidence,
)


def test_the_choices_of_score_are_the_scores() -> None:
    assert get_args(get_type_hints(flag)["score"]) == tuple(SCORES)


def test_self_confidence_and_margin_are_cleanlabs():
    labels, probs = draw_probs(0)
    assert self_confidence(labels, probs) == pytest.approx(
        get_label_quality_scores(labels, probs, method="self_confidence")
    )
    normalized = get_label_quality_scores(labels, probs, method="normalized_margin")
    assert (margin(labels, probs) + 1) / 2 == pytest.approx(normalized)


def test_a_row_has_the_labels_of_its_copies_and_their_mean_probabilities():
    labels, groups = np.array([0, 1, 1, 2]), np.array([0, 0, 0, 1])
    copied = labels_of_copies(labels, groups, 3)
    assert copied[[0, 1, 3]].tolist() == [[0, 1, 0], [0.5, 0.5, 0], [0, 0, 0]]
    values = np.array([[0.0], [0.3], [0.6], [0.9]])
    assert average_copies(groups, values)[:, 0] == pytest.approx([0.3, 0.3, 0.3, 0.9])


def test_the_pair_prior_is_how_a_given_label_is_seen():
    labels, probs = draw_probs(3)
    prior = pair_prior(labels, probs)
    assert prior.sum(axis=1) == pytest.approx(1)
    assert prior[1] == pytest.approx(probs[labels == 1].mean(axis=0))


def test_a_copy_under_another_label_and_slow_learning_make_a_label_more_suspect():
    labels, probs = np.zeros(3, np.int64), np.full((3, 3), 1 / 3)
    probs[:] = [0.5, 0.3, 0.2]
    alone = combined(Evidence(labels, (probs,), np.arange(3), np.full(3, np.nan)))
    assert alone == pytest.approx(alone[0])
    with_copy = combined(
        Evidence(np.array([0, 1, 0]), (probs,), np.array([0, 0, 2]), np.full(3, np.nan))
    )
    assert with_copy[0] > with_copy[2]
    slow = combined(Evidence(labels, (probs,), np.arange(3), np.array([2.0, -2.0, 0.0])))
    assert slow[1] > slow[2] > slow[0]
