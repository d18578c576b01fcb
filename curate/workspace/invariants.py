"""The laws between rows and between the columns of several stages, as far as one table shows them.

A stage's own laws are checked when it writes. A later run of another stage, or a decision, may
break them until the stage runs again, so a manifest with broken laws can still be read; `curate
check` lists all broken laws, and every command that uses a split calls `require_split`.
"""

from collections.abc import Callable
from typing import Any

import pandas as pd

from curate.errors import FoundError, ManifestError, amount
from curate.workspace.links import Units, link_kept_units, link_units
from curate.workspace.manifest import group_keys, kept_rows


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


def require_whole_split(manifest: pd.DataFrame) -> None:
    """`require_split`, but a manifest without any split is well: what leaves the workspace."""
    if (manifest["split"] != "").any():
        require_laws(manifest, "split")


def require_no_broken_law(findings: list[str], of: str = "") -> None:
    """Raise FoundError (exit code 3) that lists the broken laws, one a line."""
    if findings:
        broken = amount(len(findings), f"law{of} is", f"laws{of} are")
        raise FoundError(f"{broken} broken:\n  " + "\n  ".join(findings))


def _crossings(
    manifest: pd.DataFrame, part: str, link: Callable[[pd.DataFrame], Units]
) -> list[str]:
    """Law 5: no duplicate group, subject or sequence crosses a fold or a split.

    Rows that are linked only through others, as two subjects through a dropped copy, do not either.

    Parameters
    ----------
    part : fold or split
    link : the unit of each row; the rows without a part link others too
    """
    has_part = manifest[part] != ""
    rows = manifest[has_part]
    found = []
    known: list[int] = []  # rows of a crossing that is listed already
    for name, key in group_keys(rows).items():
        crossing = _find_crossing(rows[part], key[key != ""])
        if len(crossing):
            known += crossing.index.tolist()
            first = min(crossing.tolist())
            found.append(
                f"{amount(crossing.nunique(), f'{name} crosses', f'{name}s cross')} a {part} "
                f"(first: {first}); run `curate {part}` again"
            )
    keys = group_keys(manifest)
    if not ((keys["duplicate_group"] != "") & (keys["subject"] + keys["sequence"] != "")).any():
        return found  # no row has two keys that would link others
    unit = pd.Series(link(manifest), manifest.index)[has_part]
    linked = _find_crossing(rows[part], unit[~unit.isin(set(unit[known]))])
    if len(linked):
        found.append(
            f"linked by copies across a {part}: {amount(linked.nunique(), 'set')} of rows "
            f"(first: {rows['path'][linked.index[0]]}); run `curate {part}` again"
        )
    return found


def _find_crossing(part: "pd.Series[str]", key: "pd.Series[Any]") -> "pd.Series[Any]":
    """The keys of the rows whose key is in several parts, by row."""
    return key[part[key.index].groupby(key).transform("nunique") > 1]


def _folds_keep_groups(manifest: pd.DataFrame) -> list[str]:
    return _crossings(manifest, "fold", link_units)


def _splits_keep_groups(manifest: pd.DataFrame) -> list[str]:
    kept = manifest["split"].where(manifest["status"] == "keep", "")
    return _crossings(manifest.assign(split=kept), "split", link_kept_units)


def _all_kept_rows_are_split(manifest: pd.DataFrame) -> list[str]:
    kept = kept_rows(manifest)
    without = kept.loc[kept["split"] == "", "path"]
    if len(without) in (0, len(kept)):
        return []
    return [_format_breach(without, ("kept row has", "kept rows have"), "no split", "split")]


def _copies_point_to_kept_rows(manifest: pd.DataFrame) -> list[str]:
    """Law 6: a redundant copy points to a kept row with the same label."""
    copies = manifest[manifest["reason"].isin(["exact_copy", "near_copy"])]
    kept = kept_rows(manifest)
    label_at = copies["duplicate_of"].map(pd.Series(kept["label"].to_numpy(), index=kept["path"]))
    wrong = copies.loc[label_at != copies["label"], "path"]
    if wrong.empty:
        return []
    return [
        _format_breach(
            wrong, ("copy points", "copies point"), "to no kept row of that label", "dedup"
        )
    ]


def _conflicts_are_marked(manifest: pd.DataFrame) -> list[str]:
    grouped = manifest[manifest["duplicate_group"] != ""]
    labels = grouped.groupby("duplicate_group")["given_label"].transform("nunique")
    wrong = grouped.loc[(labels > 1) != (grouped["label_conflict"] == "true"), "path"]
    if wrong.empty:
        return []
    return [_format_breach(wrong, ("row has", "rows have"), "a wrong label_conflict", "dedup")]


def _ranks_are_dense(manifest: pd.DataFrame) -> list[str]:
    ranks = manifest.loc[manifest["issue_rank"] != "", "issue_rank"].astype(int).sort_values()
    if list(ranks) == list(range(1, len(ranks) + 1)):
        return []
    return [f"the issue ranks are not 1 to {len(ranks):,}; run `curate flag` again"]


def _suggestions_are_known(manifest: pd.DataFrame) -> list[str]:
    known = set(manifest["given_label"]) | {""}
    wrong = manifest.loc[~manifest["suggested_label"].isin(known), "path"]
    if wrong.empty:
        return []
    return [
        _format_breach(
            wrong, ("suggested label is", "suggested labels are"), "no class here", "flag"
        )
    ]


def _format_breach(paths: "pd.Series[str]", subject: tuple[str, str], what: str, stage: str) -> str:
    count = amount(len(paths), *subject)
    return f"{count} {what} (first: {paths.iloc[0]}); run `curate {stage}` again"


_Law = Callable[[pd.DataFrame], list[str]]
_LAWS: dict[str, tuple[_Law, ...]] = {
    "dedup": (_copies_point_to_kept_rows, _conflicts_are_marked),
    "fold": (_folds_keep_groups,),
    "flag": (_ranks_are_dense, _suggestions_are_known),
    "split": (_splits_keep_groups, _all_kept_rows_are_split),
}
