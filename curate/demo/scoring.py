"""What a curation found, against what was planted.

Comes in: the truth of `curate.demo.planting`, the manifest and the verified pairs of the curated
dataset. Goes out: one line per kind of defect, with precision and recall. No stage uses this.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

# Share of the ranking that the demo's reviewer judges: most wrong labels should be there.
REVIEWED_SHARE = 0.10


@dataclass(frozen=True)
class Finding:
    """One kind of defect.

    Attributes
    ----------
    planted, reported : number of planted defects, number of reported ones
    right : number of reported ones that are right
    found : number of planted ones that are reported; differs from `right` where pairs are reported
    """

    kind: str
    planted: int
    reported: int
    right: int
    found: int

    @property
    def precision(self) -> float:
        """Share of the reported ones that is right, in [0, 1]; it hides missed defects."""
        return self.right / self.reported if self.reported else 0.0

    @property
    def recall(self) -> float:
        """Share of the planted ones that is found, in [0, 1]; it hides false alarms."""
        return self.found / self.planted if self.planted else 0.0


def score_curation(
    truth: pd.DataFrame, manifest: pd.DataFrame, pairs: pd.DataFrame
) -> list[Finding]:
    """Score every kind of defect.

    Parameters
    ----------
    truth : table of `plant_dataset`, with the source before its paths, as in the manifest
    manifest : after inspect, dedup and flag
    pairs : pairs.csv as text
    """
    rows = manifest.merge(truth, on="path", suffixes=("", "_planted"), validate="one_to_one")
    rows["original"] = rows["copy_of"].where(rows["copy_of"] != "", rows["path"])
    return [
        *_score_copies(rows, pairs),
        _score_conflicts(rows),
        _score_leaks(rows),
        _score_empty(rows),
        _score_rows(
            "unreadable files", rows["kind"] == "unreadable", rows["quality"] == "unreadable"
        ),
        _score_labels(rows),
    ]


def format_findings(findings: Sequence[Finding]) -> str:
    """A table for a terminal."""
    lines = [f"{'what':<34}{'planted':>8}{'reported':>10}{'precision':>11}{'recall':>9}"]
    for finding in findings:
        shares = f"{100 * finding.precision:>9.1f} %{100 * finding.recall:>7.1f} %"
        lines.append(f"{finding.kind:<34}{finding.planted:>8,}{finding.reported:>10,}{shares}")
    return "\n".join(lines)


def _score_copies(rows: pd.DataFrame, pairs: pd.DataFrame) -> list[Finding]:
    """Exact and near copies.

    A copy is found if its duplicate group holds its original; a reported pair is right if both
    images have the same original.
    """
    original = dict(zip(rows["path"], rows["original"], strict=True))
    group = dict(zip(rows["path"], rows["duplicate_group"], strict=True))
    sure = pairs[pairs["band"] == "sure"]
    findings = []
    for kind, reported in (
        ("exact", sure[sure["transform"] == "identical"]),
        ("near", sure[sure["transform"] != "identical"]),
    ):
        copies = rows[rows["kind"] == f"{kind}_copy"]
        is_grouped = copies["duplicate_group"] != ""
        found = is_grouped & (copies["duplicate_group"] == copies["copy_of"].map(group))
        right = reported["path_a"].map(original) == reported["path_b"].map(original)
        name = f"{kind} copies (pairs)"
        counts = len(copies), len(reported), int(right.sum()), int(found.sum())
        findings.append(Finding(name, *counts))
    return findings


def _score_conflicts(rows: pd.DataFrame) -> Finding:
    readable = rows[rows["kind"] != "unreadable"]
    labels = readable.groupby("original")["given_label"].transform("nunique")
    planted = (labels > 1).reindex(rows.index, fill_value=False)
    return _score_rows("images in label conflict", planted, rows["label_conflict"] == "true")


def _score_leaks(rows: pd.DataFrame) -> Finding:
    """Val and test rows of the shipped split that have a copy in its train rows."""
    is_train = rows["source_split"] == "train"
    planted = ~is_train & rows["original"].isin(set(rows.loc[is_train, "original"]))
    groups_in_train = set(rows.loc[is_train, "duplicate_group"]) - {""}
    reported = ~is_train & rows["duplicate_group"].isin(groups_in_train)
    return _score_rows("leaked val and test images", planted, reported)


def _score_empty(rows: pd.DataFrame) -> Finding:
    planted = rows["kind"].isin(["blank", "black_and_white"])
    return _score_rows("images without a face", planted, ~rows["quality"].isin(["", "unreadable"]))


def _score_labels(rows: pd.DataFrame) -> Finding:
    """Wrong labels among the first tenth of the ranking."""
    rank = rows["issue_rank"].replace("", "0").astype(int)
    is_first = (rank > 0) & (rank <= round(REVIEWED_SHARE * rank.max()))
    is_wrong = (rows["is_mislabelled"] == "true") & (rank > 0)
    return _score_rows(f"wrong labels in the first {REVIEWED_SHARE:.0%}", is_wrong, is_first)


def _score_rows(kind: str, planted: "pd.Series[bool]", reported: "pd.Series[bool]") -> Finding:
    """A finding of rows: a reported row is right if it was planted."""
    right = int(np.sum(planted & reported))
    return Finding(kind, int(planted.sum()), int(reported.sum()), right, right)
