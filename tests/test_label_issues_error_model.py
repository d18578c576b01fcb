"""From scores to probabilities: the curve, its interval, and cleanlab's confident counts."""

import json

import numpy as np
import pytest
from cleanlab.count import compute_confident_joint
from scipy.special import expit
from tables import draw_probs, make_manifest

from curate.label_issues.error_model import (
    calibrate,
    collect_verdicts,
    count_confidently,
    count_errors,
    is_enough,
    mark_at_precision,
)
from curate.workspace.journal.decisions import Decision
from curate.workspace.journal.verdicts import derive_verdicts


def draw_labels(
    seed: int, rows: int = 4000, base: float = -3.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, pairs, and which labels are wrong: a logistic law, another rate for each pair."""
    rng = np.random.default_rng(seed)
    score, pair = rng.normal(size=rows), rng.integers(0, 6, rows)
    rate = expit(base + 1.5 * score + rng.normal(0, 0.5, 6)[pair])
    return score, pair, rng.random(rows) < rate


@pytest.mark.parametrize("base", [-4.0, -3.0, -2.0])
def test_a_random_sample_of_200_brackets_the_number_of_errors(base):
    bracketed = 0
    for seed in range(20):
        score, pair, wrong = draw_labels(seed, base=base)
        reviewed = np.random.default_rng(seed + 100).permutation(len(score))[:200]
        verdicts = np.full(len(score), np.nan)
        verdicts[reviewed] = wrong[reviewed]
        if not is_enough(verdicts):
            bracketed += 1  # too few errors for a curve: nothing is claimed
            continue
        found = count_errors(calibrate(score, pair, verdicts), verdicts, np.ones(len(score), bool))
        bracketed += found["low"] <= wrong.sum() <= found["high"]
    assert bracketed >= 18


def test_verdicts_of_the_most_suspect_alone_do_not_shift_the_curve():
    score, pair, wrong = draw_labels(1)
    first = np.argsort(-score)[:800]
    verdicts = np.full(len(score), np.nan)
    verdicts[first] = wrong[first]
    found = count_errors(calibrate(score, pair, verdicts), verdicts, np.ones(len(score), bool))
    assert found["low"] <= wrong.sum() <= found["high"]


def test_pairs_that_people_confirm_rise_in_the_ranking():
    score, pair = np.zeros(400), np.repeat([0, 1], 200)
    verdicts = np.full(400, np.nan)
    # Half of the first pair is wrong, none of the second.
    verdicts[:50] = np.arange(50) % 2
    verdicts[200:250] = 0
    probability = calibrate(score, pair, verdicts).probability
    assert probability[0] > 0.3 > 0.15 > probability[-1]


def test_what_was_reviewed_counts_as_it_was_found():
    score, pair, wrong = draw_labels(2)
    every = np.ones(len(score), bool)
    found = count_errors(calibrate(score, pair, wrong.astype(float)), wrong.astype(float), every)
    assert found == {"low": wrong.sum(), "count": wrong.sum(), "high": wrong.sum()}


def test_few_verdicts_or_one_kind_alone_fit_no_curve():
    verdicts = np.full(100, np.nan)
    assert not is_enough(verdicts)
    verdicts[:60] = 0
    assert not is_enough(verdicts)
    verdicts[:5] = 1
    assert is_enough(verdicts)


def test_marks_end_where_the_expected_precision_falls_below_the_wish():
    probability = np.array([0.2, 0.9, 0.5, 0.1])
    assert mark_at_precision(probability, 0.7).tolist() == [False, True, True, False]
    assert mark_at_precision(probability, 0.95).tolist() == [False] * 4
    assert mark_at_precision(probability, 0.05).tolist() == [True] * 4


def test_a_person_outweighs_the_crowd_and_a_drop_says_nothing():
    manifest = make_manifest([{"given_label": "sad"}] * 5)
    manifest["votes"] = [
        json.dumps({"sad": 9, "fear": 1}),
        json.dumps({"fear": 9}),
        "",
        json.dumps({"NF": 10}),
        "",
    ]

    def decide(row, action, label=""):
        path, sha256 = manifest.loc[row, ["path", "sha256"]]
        return Decision("b", "R", "t", action, path=path, sha256=sha256, label=label)

    journal = [decide(1, "keep"), decide(2, "relabel", "fear"), decide(4, "drop")]
    assert collect_verdicts(derive_verdicts(manifest, [])).tolist()[:2] == [0, 1]
    verdicts = collect_verdicts(derive_verdicts(manifest, journal))
    assert verdicts.tolist()[:3] == [0, 0, 1]
    assert np.isnan(verdicts[3:]).all()


def test_confident_counts_are_cleanlabs():
    for seed in range(5):
        labels, probs = draw_probs(seed)
        joint = compute_confident_joint(labels, probs, calibrate=True)
        np.fill_diagonal(joint, 0)
        total, ours = count_confidently(labels, probs)
        assert np.abs(ours - joint).max() <= 1  # cleanlab rounds so that the rows keep their sums
        assert abs(total - joint.sum()) <= 4
