"""The counts of flag where verdicts are outside of the classes, or people dropped the image."""

import numpy as np
import pandas as pd
import pytest

from curate.label_issues.error_model import collect_verdicts, describe_lack, name_verdicts
from curate.label_issues.label_counts import count_labels, share_outside
from curate.label_issues.posterior import NO_VERDICT, Clues, fit_posterior


def test_the_votes_of_an_image_that_a_person_dropped_are_no_verdict() -> None:
    rows = pd.DataFrame(
        {
            "given_label": ["sad"] * 3,
            "label": ["sad", "sad", "fear"],
            "reason": ["", "human", "human"],
            "status": ["keep", "drop", "keep"],
            "votes": ['{"happy": 9}'] * 3,
        }
    )
    assert list(name_verdicts(rows)) == ["happy", "", "fear"]
    np.testing.assert_array_equal(collect_verdicts(rows), [1, np.nan, 1])


@pytest.mark.parametrize("outside", [0.0, 0.15, 0.4])
def test_the_interval_of_wrong_labels_holds_where_verdicts_name_a_class_that_is_not_there(
    outside: float,
) -> None:
    """Of 2,000 labels 10 % are wrong within the classes; 300 random ones are judged."""
    held, trials = 0, 20
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 3, 2000)
        truth = np.where(rng.random(2000) < 0.1, (labels + 1) % 3, labels)
        believed = rng.dirichlet([1, 1, 1], 2000) * 0.4 + 0.6 * np.eye(3)[truth]
        truth = np.where(rng.random(2000) < outside, 3, truth)
        suspicion = 1 - believed[np.arange(2000), labels]
        verdicts = np.full(2000, NO_VERDICT)
        judged = rng.choice(2000, 300, replace=False)
        verdicts[judged] = truth[judged]
        within = np.where(verdicts == 3, NO_VERDICT, verdicts)
        clues = Clues(labels, (believed,), np.arange(2000), suspicion)
        posterior = fit_posterior(clues, within, believed)
        assert posterior is not None
        keys = pd.DataFrame({"given": labels})
        share = share_outside(verdicts, 3, suspicion)
        counts = count_labels(posterior, verdicts, keys, share)
        wrong, right = counts.count_wrong("given"), counts.count_right("given")
        assert abs(wrong["count"] + right["count"] - 2000) <= 1
        assert 0 <= wrong["low"] <= wrong["high"] <= 2000
        assert 0 <= right["low"] <= right["high"] <= 2000
        held += wrong["low"] <= int((truth != labels).sum()) <= wrong["high"]
    assert held >= 0.8 * trials


def test_the_lack_of_verdicts_is_named() -> None:
    assert describe_lack(0, 0) == "judge a random sample of 200"
    assert describe_lack(200, 0).startswith("0 of 200 verdicts found a wrong label")
