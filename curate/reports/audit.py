"""audit: which test and val images have a copy in train, in the dataset's own split and in ours.

A leaked image is scored on what the model was shown in training. Exact means pixel-identical; a copy is any member of the
same duplicate group. Reads the manifest only; changes nothing.
"""

from dataclasses import asdict, dataclass

import pandas as pd

from curate.errors import ManifestError
from curate.workspace.receipts import digest_column, read_receipts
from curate.workspace.workspace import Workspace

HELD_OUT = ("val", "test")


@dataclass(frozen=True)
class Leak:
    """Leakage of one held-out part, for one class or all: rows, and how many of them have a copy in train.

    `agree` counts the rows with a copy under their own label, `disagree` those whose copies all have another.
    """

    split: str
    part: str
    label: str
    rows: int
    exact: int
    copies: int
    agree: int
    disagree: int


def audit_workspace(workspace: Workspace) -> list[Leak]:
    """`audit` of a workspace whose copies are known.

    Raises
    ------
    ManifestError  if dedup has not run, or not since the images changed
    """
    manifest = workspace.read()
    receipt = read_receipts(workspace.root).get("dedup")
    known = receipt and {**receipt["reads"], **receipt["outputs"]}
    if not known or any(
        known[name] != digest_column(manifest, name) for name in ("pixel_hash", "duplicate_group")
    ):
        raise ManifestError(
            "manifest.csv: the copies are not known yet, or no longer: run `curate dedup` first"
        )
    return audit(manifest)


def audit(manifest: pd.DataFrame) -> list[Leak]:
    """Every leak of the source's split (all rows) and of ours (kept rows), per part and class, `all` last.

    Raises
    ------
    ManifestError  if there is neither split, or dedup has not run
    """
    if (
        not (manifest["duplicate_group"] != "").any()
        and manifest.loc[manifest["pixel_hash"] != "", "pixel_hash"].duplicated().any()
    ):
        raise ManifestError("manifest.csv: the copies are not known yet: run `curate dedup` first")
    found = [
        leak
        for name, rows, label in filled_splits(manifest)
        for leak in _audit_split(name, rows, rows[name], rows[label])
    ]
    if not found:
        raise ManifestError(
            "manifest.csv: no split to audit: the source has none and `curate split` has not run"
        )
    return found


def filled_splits(manifest: pd.DataFrame) -> list[tuple[str, pd.DataFrame, str]]:
    """The split columns that are filled, with the rows and the label that they stand for."""
    kept = manifest[manifest["status"] == "keep"]
    splits = (("source_split", manifest, "given_label"), ("split", kept, "label"))
    return [(name, rows, label) for name, rows, label in splits if (rows[name] == "train").any()]


def audit_rows(leaks: list[Leak]) -> list[dict[str, object]]:
    """The leaks as records, for JSON."""
    return [asdict(leak) for leak in leaks]


def format_audit(leaks: list[Leak]) -> str:
    """A table for people."""
    lines = [
        f"{'split':<14}{'part':<6}{'class':<10}{'rows':>8}{'exact':>8}{'any copy':>10}{'share':>8}{'same label':>12}{'other':>7}"
    ]
    for leak in leaks:
        share = f"{100 * leak.copies / leak.rows:.1f} %" if leak.rows else "-"
        lines.append(
            f"{leak.split:<14}{leak.part:<6}{leak.label:<10}{leak.rows:>8,}{leak.exact:>8,}{leak.copies:>10,}{share:>8}"
            f"{leak.agree:>12,}{leak.disagree:>7,}"
        )
    return "\n".join(lines)


def summarize_audit(leaks: list[Leak]) -> str:
    """The summary: the held-out rows of each split together."""
    stories = []
    for split in dict.fromkeys(leak.split for leak in leaks):
        totals = [leak for leak in leaks if leak.split == split and leak.label == "all"]
        rows, exact, copies = (
            sum(getattr(leak, name) for leak in totals) for name in ("rows", "exact", "copies")
        )
        stories.append(
            f"{split}: {copies:,} of {rows:,} val and test rows have a copy in train ({exact:,} exact)"
        )
    return "audit: " + "; ".join(stories)


def _audit_split(
    name: str, rows: pd.DataFrame, part: "pd.Series[str]", label: "pd.Series[str]"
) -> list[Leak]:
    train = part == "train"
    exact = rows["pixel_hash"].isin(set(rows.loc[train, "pixel_hash"]) - {""})
    group = rows["duplicate_group"]
    in_train = group[train & (group != "")]
    copies = exact | group.isin(set(in_train))
    labelled = set(zip(in_train, label[in_train.index], strict=True))
    agree = copies & pd.Series(
        [pair in labelled for pair in zip(group, label, strict=True)], index=rows.index, dtype=bool
    )
    leaks = []
    for held_out in HELD_OUT:
        inside = part == held_out
        for value in [*sorted(set(label[inside])), "all"]:
            chosen = inside if value == "all" else inside & (label == value)
            leaks.append(
                Leak(
                    name,
                    held_out,
                    value,
                    int(chosen.sum()),
                    *(
                        int((chosen & what).sum())
                        for what in (exact, copies, agree, copies & ~agree)
                    ),
                )
            )
    return leaks
