"""The counts of flag: how many labels are wrong, in all and by given and suggested class.

In: what flag computes of the folded rows. Out: numbers for the summary and the receipt, and the
rows of `label_errors.csv`, with 95 % intervals once there are verdicts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from curate.label_issues.error_model import Calibration, count_confidently, count_errors
from curate.label_issues.evidence import Verdicts
from curate.label_issues.judgement import Flags, Judgement
from curate.label_issues.label_counts import count_labels, share_outside
from curate.label_issues.posterior import Posterior
from curate.label_issues.scores import Evidence, Probs

NEXT_LOOKS = 100  # images at the head of the review queue whose errors are estimated
COUNT_COLUMNS = ["given_label", "suggested_label", "low", "count", "high"]


def count_by_score(
    folded: pd.DataFrame,
    evidence: Evidence,
    judgement: Judgement,
    calibration: Calibration | None,
    verdicts: Verdicts,
    classes: Sequence[str],
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The numbers of the summary, and `label_errors.csv`: errors per given and suggested class."""
    is_marked, is_open, is_wrong = judgement.is_marked, judgement.is_open, verdicts.is_wrong
    counts: dict[str, Any] = {
        "ranked": len(folded),
        "suggested": int(judgement.is_suggested.sum()),
        "wrong": int((is_marked & ~is_open).sum()),
        "ambiguous": int((is_marked & is_open).sum()),
        "verdicts": int(np.isfinite(is_wrong).sum()),
        "wrong_verdicts": int(np.nansum(is_wrong)),
    }
    labels, pairs = evidence.labels, []
    if calibration is None:
        total, joint = count_confidently(labels, evidence.probs)
        counts["errors"] = {"count": total}
        for g, s in np.argwhere(joint > 0):
            pairs.append((classes[g], classes[s], "", str(joint[g, s]), ""))
        return counts, pd.DataFrame(pairs, columns=COUNT_COLUMNS, dtype=str)
    every = np.ones(len(folded), bool)
    is_left = _find_undecided(folded)
    counts["errors"] = count_errors(calibration, is_wrong, every)
    counts["errors_left"] = count_errors(calibration, is_wrong, is_left)
    counts["next_looks"] = _expect_next(folded, judgement, is_wrong)
    for g, s in sorted(set(zip(labels.tolist(), judgement.other.tolist(), strict=True))):
        found = count_errors(calibration, is_wrong, (labels == g) & (judgement.other == s))
        pairs.append((classes[g], classes[s], *_format_interval(found)))
    return counts, pd.DataFrame(pairs, columns=COUNT_COLUMNS, dtype=str)


def count_by_posterior(
    folded: pd.DataFrame,
    judgement: Judgement,
    posterior: Posterior,
    verdicts: Verdicts,
    classes: Sequence[str],
) -> tuple[dict[str, Any], pd.DataFrame]:
    """As `count_by_score`; also how many labels of kept rows are right, now and by suggestions."""
    index_of = {name: k for k, name in enumerate(classes)}
    # Only a person gives a class that the posterior does not have.
    label = np.array([index_of.get(name, len(classes)) for name in folded["label"]])
    is_left, is_kept = _find_undecided(folded), (folded["status"] == "keep").to_numpy()
    keys = pd.DataFrame(
        {
            "given": [index_of[name] for name in folded["given_label"]],
            "label": label,
            "accepted": np.where(is_left & judgement.is_suggested, judgement.other, label),
            "is_kept": is_kept,
            "is_left": is_left,
        }
    )
    outside = share_outside(verdicts.classes, len(classes), judgement.score)
    sums = count_labels(posterior, verdicts.classes, keys, outside)
    counts = {
        "errors": sums.count_wrong("given"),
        "errors_left": sums.count_wrong("label", "is_left"),
        "next_looks": _expect_next(folded, judgement, verdicts.is_wrong),
        "right": {
            "rows": int(is_kept.sum()),
            "now": sums.count_right("label", "is_kept"),
            "accepted": sums.count_right("accepted", "is_kept"),
        },
    }
    pairs = []
    for g, s in np.argwhere(~np.eye(len(classes), dtype=bool)):
        found = sums.count_pair("given", g, s)
        if found["high"]:
            pairs.append((classes[g], classes[s], *_format_interval(found)))
    return counts, pd.DataFrame(pairs, columns=COUNT_COLUMNS, dtype=str)


def _find_undecided(folded: pd.DataFrame) -> Flags:
    """(N,) True for kept rows that no person has decided."""
    return ((folded["status"] == "keep") & (folded["reason"] != "human")).to_numpy()


def _format_interval(found: Mapping[str, int]) -> list[str]:
    return [str(found[name]) for name in ("low", "count", "high")]


def _expect_next(folded: pd.DataFrame, judgement: Judgement, is_wrong: Probs) -> dict[str, int]:
    """How many of the next images of the review queue are expected to have a wrong label.

    The queue of `curate relabel` without options: undecided, with a suggestion, which no machine
    has accepted.
    """
    is_open = _find_undecided(folded) & (folded["reason"] != "machine").to_numpy()
    is_queued = is_open & judgement.is_suggested
    queue = np.flatnonzero(is_queued)[np.argsort(judgement.rank[is_queued])][:NEXT_LOOKS]
    assert judgement.probability is not None, "there are verdicts"
    # A row that no person has decided may still have a verdict of the crowd.
    expected = np.where(np.isfinite(is_wrong), is_wrong, judgement.probability)
    return {"looks": len(queue), "errors": round(float(expected[queue].sum()))}
