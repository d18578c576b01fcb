"""The laws between rows and between the columns of several stages, as far as one table shows them.

A stage's own laws are checked when it writes. A later run of another stage, or a decision, may
break them until the stage runs again, so a manifest with broken laws can still be read; `curate
check` lists all broken laws, and every command that uses a split calls `require_split`.
"""

from collections.abc import Callable

import pandas as pd

from curate.errors import FoundError, ManifestError
from curate.workspace.manifest import kept_rows, sources_of


def broken_laws(manifest: pd.DataFrame, stage: str | None = None) -> list[str]:
    """One sentence for each broken law, with a count and the first row.

    Parameters
    ----------
    stage : check the laws of this stage's columns only; None checks all
    """
    found: list[str] = []
    for owner, laws in _LAWS.items():
        if stage in (None, owner):
            for law in laws:
                found += law(manifest)
    return found


def require_laws(manifest: pd.DataFrame, stage: str) -> None:
    """Raise ManifestError if the columns that `stage` has just written break one of its laws."""
    broken = broken_laws(manifest, stage)
    if broken:
        raise ManifestError(f"manifest.csv: {'; '.join(broken)}")


def require_split(manifest: pd.DataFrame) -> None:
    """Raise ManifestError unless every kept row has a split and nothing leaks across the splits."""
    if not (manifest["split"] != "").any():
        raise ManifestError("manifest.csv: no row has a split; run `curate split` first")
    require_laws(manifest, "split")


def require_no_findings(findings: list[str], what: str) -> None:
    """Raise FoundError (exit code 3) that lists the findings, one a line."""
    if findings:
        raise FoundError(f"{len(findings)} {what}:\n  " + "\n  ".join(findings))


def group_keys(manifest: pd.DataFrame) -> dict[str, "pd.Series[str]"]:
    """The keys of rows that must stay together: duplicate group, subject, sequence.

    A key is empty where a row has none. Subjects and sequences include their source: S005 of one
    dataset is not S005 of another.
    """
    subject = sources_of(manifest["path"]) + "/" + manifest["subject"]
    sequence = subject + "/" + manifest["sequence"]
    return {
        "duplicate_group": manifest["duplicate_group"],
        "subject": subject.where(manifest["subject"] != "", ""),
        "sequence": sequence.where(manifest["sequence"] != "", ""),
    }


def _crossings(manifest: pd.DataFrame, part: str) -> list[str]:
    """Law 5: no duplicate group, subject or sequence crosses a fold or a split."""
    rows = manifest[manifest[part] != ""]
    found = []
    for name, key in group_keys(rows).items():
        parts = rows.loc[key != "", part].groupby(key[key != ""]).nunique()
        crossing = sorted(parts[parts > 1].index)
        if crossing:
            found.append(
                f"{len(crossing)} {name}s cross a {part} (first: {crossing[0]}); "
                f"run `curate {part}` again"
            )
    return found


def _folds_keep_groups(manifest: pd.DataFrame) -> list[str]:
    return _crossings(manifest, "fold")


def _splits_keep_groups(manifest: pd.DataFrame) -> list[str]:
    return _crossings(kept_rows(manifest), "split")


def _all_kept_rows_are_split(manifest: pd.DataFrame) -> list[str]:
    kept = kept_rows(manifest)
    without = kept.loc[kept["split"] == "", "path"]
    if len(without) in (0, len(kept)):
        return []
    return [_format_breach(without, "kept rows have no split", "split")]


def _copies_point_to_kept_rows(manifest: pd.DataFrame) -> list[str]:
    """Law 6: a redundant copy points to a kept row with the same label."""
    copies = manifest[manifest["reason"].isin(["exact_copy", "near_copy"])]
    kept = kept_rows(manifest)
    label_at = copies["duplicate_of"].map(pd.Series(kept["label"].to_numpy(), index=kept["path"]))
    wrong = copies.loc[label_at != copies["label"], "path"]
    if wrong.empty:
        return []
    return [_format_breach(wrong, "copies point to no kept row of their label", "dedup")]


def _conflicts_are_marked(manifest: pd.DataFrame) -> list[str]:
    grouped = manifest[manifest["duplicate_group"] != ""]
    labels = grouped.groupby("duplicate_group")["given_label"].transform("nunique")
    wrong = grouped.loc[(labels > 1) != (grouped["label_conflict"] == "true"), "path"]
    if wrong.empty:
        return []
    return [_format_breach(wrong, "rows with a wrong label_conflict", "dedup")]


def _ranks_are_dense(manifest: pd.DataFrame) -> list[str]:
    ranks = manifest.loc[manifest["issue_rank"] != "", "issue_rank"].astype(int).sort_values()
    if list(ranks) == list(range(1, len(ranks) + 1)):
        return []
    return [f"{len(ranks)} issue ranks are not 1..{len(ranks)}; run `curate flag` again"]


def _suggestions_are_known(manifest: pd.DataFrame) -> list[str]:
    known = set(manifest["given_label"]) | {""}
    wrong = manifest.loc[~manifest["suggested_label"].isin(known), "path"]
    if wrong.empty:
        return []
    return [_format_breach(wrong, "suggested labels are no class of this manifest", "flag")]


def _format_breach(paths: "pd.Series[str]", what: str, stage: str) -> str:
    return f"{len(paths)} {what} (first: {paths.iloc[0]}); run `curate {stage}` again"


_Law = Callable[[pd.DataFrame], list[str]]
_LAWS: dict[str, tuple[_Law, ...]] = {
    "dedup": (_copies_point_to_kept_rows, _conflicts_are_marked),
    "fold": (_folds_keep_groups,),
    "flag": (_ranks_are_dense, _suggestions_are_known),
    "split": (_splits_keep_groups, _all_kept_rows_are_split),
}
