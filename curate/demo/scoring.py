"""What a curation found, against what was planted.

In: the truth of `curate.demo.planting`, the manifest and the verified pairs of the curated dataset. Out: one line per kind
of defect, with precision and recall. Nothing here is used by a stage.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

# A person looks at the first tenth of the ranking in the demo; that is where the wrong labels should be.
LOOKED_AT = 0.10


@dataclass(frozen=True)
class Finding:
    """One kind of defect: how many were planted, how many were reported, and how many of those are right."""

    kind: str
    planted: int
    reported: int
    right: int
    found: int

    @property
    def precision(self) -> float:
        """Share of the reported that is right, in [0, 1]; it hides what was not reported."""
        return self.right / self.reported if self.reported else 0.0

    @property
    def recall(self) -> float:
        """Share of the planted that was found, in [0, 1]; it hides false alarms."""
        return self.found / self.planted if self.planted else 0.0


def score_curation(
    truth: pd.DataFrame, manifest: pd.DataFrame, pairs: pd.DataFrame
) -> list[Finding]:
    """Score every kind of defect.

    Parameters
    ----------
    truth : table of `plant_dataset`, its `path` prefixed with the source so that it equals the manifest's
    manifest : after inspect, dedup and flag
    pairs : pairs.csv as text
    """
    rows = manifest.merge(truth, on="path", suffixes=("", "_planted"), validate="one_to_one")
    rows["photograph"] = rows["copy_of"].where(rows["copy_of"] != "", rows["path"])
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
    """A table for people."""
    lines = [f"{'what':<34}{'planted':>8}{'reported':>10}{'precision':>11}{'recall':>9}"]
    for finding in findings:
        shares = f"{100 * finding.precision:>9.1f} %{100 * finding.recall:>7.1f} %"
        lines.append(f"{finding.kind:<34}{finding.planted:>8,}{finding.reported:>10,}{shares}")
    return "\n".join(lines)


def _score_copies(rows: pd.DataFrame, pairs: pd.DataFrame) -> list[Finding]:
    """A copy is found if it shares a group with its original; a reported pair is right if it shows one photograph."""
    photograph = dict(zip(rows["path"], rows["photograph"], strict=True))
    group = dict(zip(rows["path"], rows["duplicate_group"], strict=True))
    sure = pairs[pairs["band"] == "sure"]
    findings = []
    for kind, reported in (
        ("exact", sure[sure["transform"] == "identical"]),
        ("near", sure[sure["transform"] != "identical"]),
    ):
        copies = rows[rows["kind"] == f"{kind}_copy"]
        found = (copies["duplicate_group"] != "") & (
            copies["duplicate_group"] == copies["copy_of"].map(group)
        )
        right = reported["path_a"].map(photograph) == reported["path_b"].map(photograph)
        findings.append(
            Finding(
                f"{kind} copies (pairs)",
                len(copies),
                len(reported),
                int(right.sum()),
                int(found.sum()),
            )
        )
    return findings


def _score_conflicts(rows: pd.DataFrame) -> Finding:
    labels = (
        rows[rows["kind"] != "unreadable"].groupby("photograph")["given_label"].transform("nunique")
    )
    planted = (labels > 1).reindex(rows.index, fill_value=False)
    return _score_rows("images in label conflict", planted, rows["label_conflict"] == "true")


def _score_leaks(rows: pd.DataFrame) -> Finding:
    """Held-out rows of the shipped split with a copy in its training part."""
    held_out, train = rows["source_split"] != "train", rows["source_split"] == "train"
    planted = held_out & rows["photograph"].isin(set(rows.loc[train, "photograph"]))
    in_train = set(rows.loc[train, "duplicate_group"]) - {""}
    return _score_rows(
        "leaked val and test images", planted, held_out & rows["duplicate_group"].isin(in_train)
    )


def _score_empty(rows: pd.DataFrame) -> Finding:
    planted = rows["kind"].isin(["blank", "black_and_white"])
    return _score_rows("images without a face", planted, ~rows["quality"].isin(["", "unreadable"]))


def _score_labels(rows: pd.DataFrame) -> Finding:
    """Wrong labels among the first tenth of the ranking."""
    rank = rows["issue_rank"].replace("", "0").astype(int)
    looked_at = (rank > 0) & (rank <= round(LOOKED_AT * rank.max()))
    wrong = (rows["is_mislabelled"] == "true") & (rank > 0)
    return _score_rows(f"wrong labels in the first {LOOKED_AT:.0%}", wrong, looked_at)


def _score_rows(kind: str, planted: "pd.Series[bool]", reported: "pd.Series[bool]") -> Finding:
    right = int(np.sum(planted & reported))
    return Finding(kind, int(planted.sum()), int(reported.sum()), right, right)
