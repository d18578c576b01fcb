"""audit: how many test and val images have a copy in train, in the dataset's own split and in ours.

In: the manifest. Out: counts per split, part and class. Nothing is written. A model has trained on
a copy of a leaked image, so its score on that image is too high. Exact means pixel-identical; a
copy is any other image of the same duplicate group.
"""

from dataclasses import asdict, dataclass

import pandas as pd

from curate.duplicates.pair_table import require_copies
from curate.errors import ManifestError
from curate.stderr import note_once
from curate.workspace.receipts import knows_near_copies
from curate.workspace.workspace import Workspace

HELD_OUT = ("val", "test")


@dataclass(frozen=True)
class Leak:
    """Leakage of one held-out part of a split, for one class or for all.

    Attributes
    ----------
    split : column of the split, `source_split` or `split`
    part : val or test
    label : class, or `all`
    rows : number of rows
    exact : rows with a pixel-identical copy in train
    copies : rows with any copy in train
    agree, disagree : rows with a copy in train under their own label; rows all of whose copies have
        another label
    """

    split: str
    part: str
    label: str
    rows: int
    exact: int
    copies: int
    agree: int
    disagree: int


NEAR_UNKNOWN = (
    "audit: dedup has looked for exact copies alone, so altered copies are not counted: run "
    "`curate dedup`, then audit again"
)


def audit_workspace(workspace: Workspace) -> list[Leak]:
    """`audit` of a workspace in which dedup is up to date.

    Raises
    ------
    ManifestError  if dedup has not run, or not since the images changed
    """
    manifest = workspace.read()
    require_copies(workspace, manifest)
    if not knows_near_copies(workspace.root):
        note_once(NEAR_UNKNOWN)
    return audit(manifest)


def audit(manifest: pd.DataFrame) -> list[Leak]:
    """The leakage of the source's split (all rows) and of ours (kept rows), per part and class.

    The last entry of a part is the sum, with the label `all`.

    Raises
    ------
    ManifestError  if there is neither split, or dedup has not run
    """
    pixel_hashes = manifest.loc[manifest["pixel_hash"] != "", "pixel_hash"]
    if not (manifest["duplicate_group"] != "").any() and pixel_hashes.duplicated().any():
        raise ManifestError("manifest.csv: the copies are not known yet: run `curate dedup` first")
    leaks: list[Leak] = []
    for split, rows, label_column in filled_splits(manifest):
        leaks += _audit_split(split, rows, rows[label_column])
    if not leaks:
        raise ManifestError(
            "manifest.csv: no split to audit: none has rows in train: run `curate split --ratios "
            "70 15 15`"
        )
    return leaks


def filled_splits(manifest: pd.DataFrame) -> list[tuple[str, pd.DataFrame, str]]:
    """(column, its rows, column of their label) of each split that has a train part."""
    kept = manifest[manifest["status"] == "keep"]
    splits = (("source_split", manifest, "given_label"), ("split", kept, "label"))
    return [(name, rows, label) for name, rows, label in splits if (rows[name] == "train").any()]


def audit_rows(leaks: list[Leak]) -> list[dict[str, object]]:
    """The leaks as records, for JSON."""
    return [asdict(leak) for leak in leaks]


def format_audit(leaks: list[Leak]) -> str:
    """A table for people."""
    lines = [
        f"{'split':<14}{'part':<6}{'class':<10}{'rows':>8}{'exact':>8}{'any copy':>10}"
        f"{'share':>8}{'same label':>12}{'other':>7}"
    ]
    for leak in leaks:
        share = f"{100 * leak.copies / leak.rows:.1f} %" if leak.rows else "-"
        lines.append(
            f"{leak.split:<14}{leak.part:<6}{leak.label:<10}"
            f"{leak.rows:>8,}{leak.exact:>8,}{leak.copies:>10,}"
            f"{share:>8}{leak.agree:>12,}{leak.disagree:>7,}"
        )
    return "\n".join(lines)


def summarize_audit(leaks: list[Leak]) -> str:
    """The summary: the held-out rows of each split together."""
    sentences = []
    for split in dict.fromkeys(leak.split for leak in leaks):
        totals = [leak for leak in leaks if leak.split == split and leak.label == "all"]
        rows = sum(leak.rows for leak in totals)
        if not rows:
            sentences.append(f"{split}: no val and test rows")
            continue
        exact = sum(leak.exact for leak in totals)
        copies = sum(leak.copies for leak in totals)
        sentences.append(
            f"{split}: {copies:,} of {rows:,} val and test rows have a copy in train"
            f" ({exact:,} exact)"
        )
    return "audit: " + "; ".join(sentences)


def _audit_split(split: str, rows: pd.DataFrame, label: "pd.Series[str]") -> list[Leak]:
    part, group = rows[split], rows["duplicate_group"]
    train = part == "train"
    exact = rows["pixel_hash"].isin(set(rows.loc[train, "pixel_hash"]) - {""})
    group_in_train = group[train & (group != "")]
    copies = exact | group.isin(set(group_in_train))
    labelled = set(zip(group_in_train, label[group_in_train.index], strict=True))
    has_own_label = [pair in labelled for pair in zip(group, label, strict=True)]
    agree = copies & pd.Series(has_own_label, index=rows.index, dtype=bool)
    leaks = []
    for held_out in HELD_OUT:
        inside = part == held_out
        for value in [*sorted(set(label[inside])), "all"]:
            chosen = inside if value == "all" else inside & (label == value)
            found = (chosen, chosen & exact, chosen & copies, chosen & agree)
            n_rows, n_exact, n_copies, n_agree = (int(mask.sum()) for mask in found)
            disagree = n_copies - n_agree
            leaks.append(Leak(split, held_out, value, n_rows, n_exact, n_copies, n_agree, disagree))
    return leaks
