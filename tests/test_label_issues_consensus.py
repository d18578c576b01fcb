"""The consensus of reviewers: worked cases, reviewers of known skill, what models may do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.label_issues.consensus import NO_VOTE, find_consensus


def draw_team(skills, images, seed, *, classes=4):
    """True classes and verdicts; a wrong verdict is any other class alike."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, images)
    shape = (images, len(skills))
    other = (true[:, None] + rng.integers(1, classes, shape)) % classes
    return true, np.where(rng.random(shape) < skills, true[:, None], other)


def draw_model(true, seed, *, classes=4, strength=1.5):
    rng = np.random.default_rng(seed)
    powers = np.exp(strength * np.eye(classes)[true] + rng.gumbel(size=(len(true), classes)))
    return powers / powers.sum(axis=1, keepdims=True)


def test_two_against_one_and_full_agreement_by_hand():
    votes = np.array([[0, 0, 0], [1, 1, 1], [2, 2, 2], [0, 0, 1], [1, 2, 1], [2, 2, 0]])
    found = find_consensus(votes, 3)
    assert found.probs.argmax(axis=1).tolist() == [0, 1, 2, 0, 1, 2]
    assert found.probs.sum(axis=1) == pytest.approx(np.ones(6))
    assert found.quality[0] > found.quality[1:].max()  # each other one was alone once


@pytest.mark.parametrize("skills", [(0.9, 0.8, 0.7), (0.95, 0.9, 0.4), (0.9, 0.75, 0.6, 0.5)])
def test_quality_is_the_true_share_of_right_verdicts(skills):
    true, votes = draw_team(skills, 1000, 0)
    votes[np.random.default_rng(1).random(votes.shape) < 0.3] = NO_VOTE
    kept = (votes != NO_VOTE).sum(axis=1) > 1
    true, votes = true[kept], votes[kept]
    shares = [(votes[:, r] == true)[votes[:, r] != NO_VOTE].mean() for r in range(len(skills))]
    assert find_consensus(votes, 4).quality == pytest.approx(shares, abs=0.05)
    with_model = find_consensus(votes, 4, draw_model(true, 2))
    assert with_model.quality == pytest.approx(shares, abs=0.03)


def test_one_good_reviewer_outweighs_two_poor_ones():
    true, votes = draw_team((0.95, 0.45, 0.45), 600, 0)
    majority = np.array([np.bincount(row, minlength=4).argmax() for row in votes])
    found = find_consensus(votes, 4).probs.argmax(axis=1)
    assert (found == true).mean() > (majority == true).mean() + 0.1


@pytest.mark.parametrize("careless", [0.5, 0.8, 1.0])
@pytest.mark.parametrize(("reviewers", "strength"), [(2, 2.0), (3, 0.0), (3, 2.0)])
def test_a_reviewer_who_presses_one_key_is_not_the_best(careless, reviewers, strength):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        true, votes = draw_team((0.8,) * reviewers, 200, seed, classes=7)
        votes[rng.random(200) < careless, -1] = 4
        believed = draw_model(true, seed, classes=7, strength=strength) if strength else None
        found = find_consensus(votes, 7, believed)
        assert found.quality[-1] < found.quality[:-1].min()
        shares = (votes == true[:, None]).mean(axis=0)
        assert np.abs(found.quality - shares).max() < 0.2


def test_a_model_helps_as_far_as_it_knows_and_one_that_knows_nothing_does_no_harm():
    true, votes = draw_team((0.7, 0.7, 0.7), 600, 0)
    alone = (find_consensus(votes, 4).probs.argmax(axis=1) == true).mean()
    helped = find_consensus(votes, 4, draw_model(true, 1))
    assert (helped.probs.argmax(axis=1) == true).mean() > alone + 0.03
    noise = draw_model(np.random.default_rng(2).permutation(true), 3)
    blind = find_consensus(votes, 4, noise)
    assert blind.factor < helped.factor / 3
    assert (blind.probs.argmax(axis=1) == true).mean() > alone - 0.01


def test_rows_without_predictions_are_judged_by_the_verdicts():
    true, votes = draw_team((0.9, 0.8, 0.7), 200, 0)
    believed = draw_model(true, 1)
    believed[::2] = np.nan
    found = find_consensus(votes, 4, believed)
    assert np.isfinite(found.probs).all()
    assert (found.probs.argmax(axis=1) == true)[::2].mean() > 0.8
    nothing = find_consensus(votes, 4, np.full((200, 4), np.nan))
    assert np.allclose(nothing.probs, find_consensus(votes, 4).probs)


@settings(deadline=None, max_examples=15, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.permutations(range(3)))
def test_the_order_of_images_and_reviewers_does_not_matter(seed, reviewers):
    true, votes = draw_team((0.9, 0.7, 0.5), 40, seed)
    believed = draw_model(true, seed)
    images = np.random.default_rng(seed).permutation(40)
    found = find_consensus(votes, 4, believed)
    moved = find_consensus(votes[images][:, reviewers], 4, believed[images])
    assert moved.probs == pytest.approx(found.probs[images], abs=1e-4)
    assert moved.quality == pytest.approx(found.quality[list(reviewers)], abs=1e-4)


def test_it_beats_cleanlab_on_reviewers_of_known_skill():
    multiannotator = pytest.importorskip("cleanlab.multiannotator")
    true, votes = draw_team((0.95, 0.7, 0.5), 500, 0)
    believed = draw_model(true, 1)
    theirs = multiannotator.get_label_quality_multiannotator(
        votes, believed, consensus_method="best_quality", verbose=False
    )
    shares = (votes == true[:, None]).mean(axis=0)
    ours = find_consensus(votes, 4, believed)
    quality = theirs["annotator_stats"].sort_index()["annotator_quality"].to_numpy()
    assert np.abs(ours.quality - shares).max() < np.abs(quality - shares).max()
    labels = theirs["label_quality"]["consensus_label"].to_numpy()
    right = ours.probs.argmax(axis=1) == true
    assert right.mean() >= (labels == true).mean()
    # Both are right where the three agree, and rank the reviewers alike.
    assert np.argsort(quality).tolist() == np.argsort(ours.quality).tolist()
