"""Agreement of more than two reviewers: published worked examples, and the bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.review.reliability import cohen_kappa, fleiss_kappa, krippendorff_alpha


def count(table: str, values: int) -> np.ndarray:
    """(N, K) verdicts per image, from one line per rater with `.` for none."""
    raters = [line.split() for line in table.strip().splitlines()]
    counts = np.zeros((len(raters[0]), values), np.int64)
    for rater in raters:
        for image, verdict in enumerate(rater):
            if verdict != ".":
                counts[image, int(verdict) - 1] += 1
    return counts


def test_fleiss_kappa_of_the_worked_example():
    # "Fleiss' kappa", Wikipedia, worked example: 14 raters, 10 subjects; kappa 0.210. It is table1
    # of the tests of statsmodels.stats.inter_rater too.
    counts = np.array(
        [
            [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
        ]
    )  # fmt: skip
    assert fleiss_kappa(counts) == pytest.approx(0.20993070442195522)


def test_krippendorff_alpha_of_the_worked_example_with_missing_verdicts():
    # Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, section C: 0.743.
    table = """
    1 2 3 3 2 1 4 1 2 . . .
    1 2 3 3 2 2 4 1 2 5 . 3
    . 3 3 3 2 3 4 2 2 5 1 .
    1 2 3 3 2 4 4 1 2 5 1 .
    """
    assert krippendorff_alpha(count(table, 5)) == pytest.approx(0.743, abs=5e-4)


def test_krippendorff_alpha_of_the_example_of_its_package():
    # The example of the package `krippendorff` and of Wikipedia, nominal: 0.691.
    table = """
    . . . . . 3 4 1 2 1 1 3 3 . 3
    1 . 2 1 3 3 4 3 . . . . . . .
    . . 2 1 3 4 4 . 2 1 1 3 3 . 4
    """
    assert krippendorff_alpha(count(table, 4)) == pytest.approx(0.691, abs=5e-4)


def test_without_anything_to_compare_there_is_no_number():
    nobody = np.zeros((0, 3), np.int64)
    assert (fleiss_kappa(nobody), krippendorff_alpha(nobody)) == (None, None)
    assert krippendorff_alpha(np.array([[1, 0], [0, 1]])) is None
    unanimous = np.array([[3, 0], [3, 0]])
    assert (fleiss_kappa(unanimous), krippendorff_alpha(unanimous)) == (None, None)


@settings(deadline=None, max_examples=15, derandomize=True)
@given(st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=3), min_size=1, max_size=12))
def test_full_agreement_is_one_and_none_is_more(rows):
    votes = np.array(rows)
    counts = (votes[..., None] == np.arange(3)).sum(axis=1)
    for measure in (fleiss_kappa, krippendorff_alpha):
        found = measure(counts)
        assert found is None or found <= 1 + 1e-12
        same = np.eye(3, dtype=np.int64)[votes[:, 0]] * 3
        found = measure(same)
        assert found is None or found == pytest.approx(1)


def test_fleiss_kappa_of_two_raters_with_alike_shares_is_cohens():
    first, second = ["a", "a", "b", "b", "c", "c"], ["a", "b", "b", "a", "c", "c"]
    counts = np.array([[[first[k], second[k]].count(v) for v in "abc"] for k in range(6)])
    assert fleiss_kappa(counts) == pytest.approx(cohen_kappa(first, second))
