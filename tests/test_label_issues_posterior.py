"""The class posterior: the map, its oracle, whose verdicts it uses, and its counts."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from curate.label_issues.label_counts import count_labels
from curate.label_issues.posterior import (
    FEWEST,
    NO_VERDICT,
    Clues,
    _Design,
    fit_map,
    fit_posterior,
    spread_error,
    weigh_as_random,
)

K = 4


def draw_faces(seed: int, rows: int = 3000) -> tuple[Clues, np.ndarray]:
    """Clues, and what a person would call each face.

    People call most faces 0; the data set calls half of those 1; models see through it poorly.
    """
    rng = np.random.default_rng(seed)
    true = rng.choice(K, rows, p=(0.5, 0.1, 0.3, 0.1))
    given = np.where((true == 0) & (rng.random(rows) < 0.5), 1, true)
    seen = 1.5 * np.eye(K)[true] + np.eye(K)[given] + rng.normal(0, 1.5, (rows, K))
    belief = softmax(seen, axis=1)
    suspicion = 1 - belief[np.arange(rows), given]
    return Clues(given, (belief,), np.arange(rows), suspicion), true


def judge(true: np.ndarray, rows: np.ndarray) -> np.ndarray:
    verdicts = np.full(len(true), NO_VERDICT)
    verdicts[rows] = true[rows]
    return verdicts


def agree(probs: np.ndarray, true: np.ndarray) -> float:
    return float((probs.argmax(axis=1) == true).mean())


def log_loss(probs: np.ndarray, true: np.ndarray) -> float:
    return float(-np.log(probs[np.arange(len(true)), true]).mean())


@pytest.mark.parametrize("strength", [0.1, 1.0, 10.0])
def test_without_shared_terms_the_map_is_scikit_learns(strength):
    clues, true = draw_faces(0, rows=400)
    features = _Design.of(clues.labels, clues.beliefs).own
    weights = np.random.default_rng(1).uniform(0.5, 2, len(true))
    design = _Design(np.zeros((len(true), K, 0)), features)
    precision = np.r_[np.zeros(K), np.full((features.shape[1] - 1) * K, 1 / strength)]
    ours = softmax(design.logits(fit_map(design, true, weights, precision)), axis=1)
    oracle = LogisticRegression(C=strength, max_iter=5000, tol=1e-8)
    oracle.fit(features[:, 1:], true, sample_weight=weights)
    assert ours == pytest.approx(oracle.predict_proba(features[:, 1:]), abs=2e-3)


def test_200_verdicts_relabel_a_set_with_another_convention():
    clues, true = draw_faces(0)
    picked = np.random.default_rng(1).permutation(len(true))[:200]
    found = fit_posterior(clues, judge(true, picked), clues.beliefs[0])
    unseen = np.setdiff1d(np.arange(len(true)), picked)
    given = float((clues.labels == true)[unseen].mean())
    believed = agree(clues.beliefs[0][unseen], true[unseen])
    assert agree(found.probs[unseen], true[unseen]) > max(given, believed) + 0.05
    assert found.probs.sum(axis=1) == pytest.approx(1)
    assert found.is_of_use
    assert found.verdicts == 200


def test_more_verdicts_give_a_better_posterior_and_a_second_set_of_models_too():
    clues, true = draw_faces(2)
    rng = np.random.default_rng(3)
    order, losses = rng.permutation(len(true)), []
    unseen = order[600:]
    for many in (50, 200, 600):
        found = fit_posterior(clues, judge(true, order[:many]), clues.beliefs[0])
        losses.append(log_loss(found.probs[unseen], true[unseen]))
    assert losses[0] > losses[1] > losses[2]
    outside = softmax(np.eye(K)[true] + rng.normal(0, 1.0, (len(true), K)), axis=1)
    both = Clues(clues.labels, (*clues.beliefs, outside), clues.groups, clues.suspicion)
    found = fit_posterior(both, judge(true, order[:600]), clues.beliefs[0])
    assert log_loss(found.probs[unseen], true[unseen]) < 0.85 * losses[2]


def test_a_row_is_not_judged_by_the_verdict_on_it_or_on_its_copy():
    clues, true = draw_faces(4, rows=600)
    clues.groups[1] = clues.groups[0]
    verdicts = judge(true, np.arange(200))
    before = fit_posterior(clues, verdicts, clues.beliefs[0]).probs
    verdicts[0] = (verdicts[0] + 1) % K
    after = fit_posterior(clues, verdicts, clues.beliefs[0]).probs
    assert after[:2].tolist() == before[:2].tolist()
    assert (after[200:] != before[200:]).any()


def test_a_class_that_nobody_confirmed_keeps_about_the_odds_of_the_models():
    clues, true = draw_faces(5)
    order = np.random.default_rng(6).permutation(np.flatnonzero(true != 3))
    found = fit_posterior(clues, judge(true, order[:200]), clues.beliefs[0])
    of_class = np.flatnonzero(true == 3)
    believed, kept = clues.beliefs[0][of_class, 3].mean(), found.probs[of_class, 3].mean()
    assert kept > 0.5 * believed
    assert found.probs[:, 3].min() > 0


def test_verdicts_count_as_a_random_sample_would():
    suspicion = np.arange(1000.0)
    known = np.r_[0:900:90, 900:1000]  # ten at random, and the most suspect hundred
    weights, covered = weigh_as_random(suspicion, known)
    assert covered == 1
    assert weights[-1] == pytest.approx(weights[0] * 2 / 100)  # the ninth part holds two of the ten
    assert weights.sum() == pytest.approx((weights**2).sum())
    assert 10 < weights.sum() < 20
    assert weigh_as_random(suspicion, np.arange(900, 1000))[1] == 0.1
    even, _ = weigh_as_random(suspicion, np.arange(0, 1000, 10))
    assert even == pytest.approx(1)


def test_verdicts_of_the_most_suspect_rows_do_not_shift_the_share_of_errors():
    clues, true = draw_faces(7)
    order = np.random.default_rng(8).permutation(len(true))
    picked = np.unique(np.r_[order[:150], np.argsort(-clues.suspicion)[:300]])
    found = fit_posterior(clues, judge(true, picked), clues.beliefs[0])
    wrong = 1 - found.probs[np.arange(len(true)), clues.labels]
    assert abs(wrong.mean() - (true != clues.labels).mean()) < 0.04


def test_the_most_suspect_rows_alone_do_not_speak_for_the_others():
    clues, true = draw_faces(9)
    suspects = np.argsort(-clues.suspicion)[:300]
    found = fit_posterior(clues, judge(true, suspects), clues.beliefs[0])
    assert found.covered == pytest.approx(0.1)
    assert not found.is_of_use


@pytest.mark.parametrize("seed", range(3))
def test_a_rule_that_is_right_already_is_kept(seed):
    rng = np.random.default_rng(seed)
    rule = rng.dirichlet(np.ones(K), 2000)
    true = np.array([rng.choice(K, p=row) for row in rule])
    clues = Clues(rng.integers(0, K, 2000), (rule,), np.arange(2000), rng.random(2000))
    picked = rng.permutation(2000)[:200]
    assert not fit_posterior(clues, judge(true, picked), rule).is_of_use


def test_few_verdicts_fit_no_map():
    clues, true = draw_faces(0, rows=200)
    assert fit_posterior(clues, judge(true, np.arange(FEWEST - 1)), clues.beliefs[0]) is None
    assert fit_posterior(clues, judge(true, np.arange(FEWEST)), clues.beliefs[0]) is not None


def test_the_rule_of_today_gives_the_other_classes_what_the_models_believe():
    believed = np.array([[0.5, 0.3, 0.2], [0.0, 0.0, 1.0]])
    found = spread_error(believed, np.array([0, 2]), np.array([0.9, 0.4]))
    assert found == pytest.approx(np.array([[0.1, 0.54, 0.36], [0.2, 0.2, 0.6]]))


def test_the_interval_holds_the_number_of_errors_in_four_draws_of_five():
    clues, true = draw_faces(10, rows=1200)
    wrong, held = int((clues.labels != true).sum()), 0
    for draw in range(5):
        verdicts = judge(true, np.random.default_rng(draw).permutation(len(true))[:200])
        posterior = fit_posterior(clues, verdicts, clues.beliefs[0])
        counts = count_labels(posterior, verdicts, pd.DataFrame({"given": clues.labels}))
        found, right = counts.count_wrong("given"), counts.count_right("given")
        held += found["low"] <= wrong <= found["high"]
        assert found["count"] + right["count"] == pytest.approx(len(true), abs=1)
        assert found["high"] - found["low"] < 0.8 * 2 * 1.96 * np.sqrt(0.25 * 0.75 / 200) * 1200
    assert held >= 4


def test_the_deviation_of_a_sum_is_that_of_coefficients_drawn_from_their_posterior():
    clues, true = draw_faces(11, rows=800)
    posterior = fit_posterior(clues, judge(true, np.arange(400)), clues.beliefs[0])
    sums = posterior.sum_cells(np.zeros(len(true), int))
    slope = sums.slopes[0, 1]
    step = 1e-4 * np.sign(slope)
    moved = softmax(posterior._design.logits(posterior._coefficients + step), axis=1)[:, 1].sum()
    assert moved - sums.expected[0, 1] == pytest.approx(slope @ step, rel=1e-2)
    count, deviation = sums.add(np.array([0]), np.array([1]))
    assert count == pytest.approx(sums.expected[0, 1])
    assert deviation**2 == pytest.approx(
        slope @ sums.covariance @ slope + sums.variances[0, 1], rel=1e-9
    )
