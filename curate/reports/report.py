"""report: one self-contained page that shows what curation did.

In: the manifest, receipts and label_errors.csv of a workspace. Out: report.html with the counts and
with images of copies, label conflicts, suspect labels and degenerate images; the same bytes for the
same data.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from curate.errors import ManifestError, WorkspaceError, first_line
from curate.files import write_atomically
from curate.reports.audit import audit_workspace, format_audit
from curate.reports.html import embed_images, render_page
from curate.reports.status import format_status, read_status
from curate.result import Result
from curate.workspace.manifest import kept_rows
from curate.workspace.places import locate_named
from curate.workspace.receipts import note_unlike_receipt
from curate.workspace.workspace import Workspace

SHOWN = 24  # images a section
SHOWN_GROUPS = 12
SHOWN_OF_GROUP = 8  # images a duplicate group

Locate = Callable[[str], Path]
Records = list[dict[str, str]]


@dataclass(frozen=True)
class ClassTable:
    """One row per given label: the label and a count per column."""

    columns: list[str]
    rows: list[tuple[str, list[int]]]


@dataclass(frozen=True)
class LeakageTable:
    """The table of `curate audit`, or the reason why there is none."""

    table: str = ""
    reason: str = ""


@dataclass(frozen=True)
class ErrorCell:
    """How many labels of one pair of classes are wrong, with the interval.

    `share` is the count divided by the highest count of the table, in [0, 1]: the darkness.
    """

    count: str
    low: str
    high: str
    share: str


@dataclass(frozen=True)
class ErrorTable:
    """One row per given label: the label and a cell per suggested label, None without an error."""

    suggested: list[str]
    rows: list[tuple[str, list[ErrorCell | None]]]


def report(workspace: Workspace, *, dry_run: bool = False) -> Result:
    """Write report.html (unless `dry_run`).

    Raises
    ------
    ManifestError  if there is no manifest
    """
    manifest = workspace.read()
    locate = locate_named(workspace, manifest["path"])
    table = workspace.root / "label_errors.csv"
    page = render_page(
        "report.html.j2",
        title=f"Candid: {workspace.root.name}",
        heading="What curation did",
        status=format_status(read_status(workspace)),
        classes=count_classes(manifest),
        leakage=_audit(workspace),
        errors=read_errors(table),
        machines=count_machine_pairs(manifest),
        suspects=_suspects(manifest, locate),
        conflicts=_conflicts(manifest, locate),
        near_copies=_near_copies(manifest, locate),
        degenerate=_degenerate(manifest, locate),
    ).encode()
    note_unlike_receipt(workspace.root, "flag", table, "curate flag")
    file = workspace.root / "report.html"
    if not dry_run:
        write_atomically(file, page)
    summary = f"report: {len(page) / 1e6:.1f} MB -> {file}"
    return Result(summary, counts={"file": str(file), "bytes": len(page)})


def count_classes(manifest: pd.DataFrame) -> ClassTable:
    """Per given label: rows given, kept, dropped by reason, and kept under this label now."""
    fate = manifest["reason"].where(manifest["status"] == "drop", "kept")
    table = pd.crosstab(manifest["given_label"], fate)
    if "kept" in table:
        reasons = [name for name in table.columns if name != "kept"]
        table = table[["kept", *reasons]]
    table.insert(0, "given", table.sum(axis=1))
    kept_labels = kept_rows(manifest)["label"].value_counts()
    table["label now"] = kept_labels.reindex(table.index, fill_value=0)
    counts = [[int(count) for count in row] for row in table.to_numpy()]
    labels = [str(label) for label in table.index]
    return ClassTable(list(table.columns), list(zip(labels, counts, strict=True)))


def _audit(workspace: Workspace) -> LeakageTable:
    try:
        return LeakageTable(table=format_audit(audit_workspace(workspace)))
    except ManifestError as error:
        return LeakageTable(reason=str(error))


def read_errors(file: Path) -> ErrorTable | None:
    """The counts that flag wrote to label_errors.csv; None if there is no such file."""
    if not file.exists():
        return None
    try:
        pairs = pd.read_csv(file, dtype=str, keep_default_na=False)
        counts = [int(count) for count in pairs["count"]]
        most = max([1, *counts])
        cells = {}
        for pair, count in zip(pairs.to_dict("records"), counts, strict=True):
            cell = ErrorCell(pair["count"], pair["low"], pair["high"], f"{count / most:.2f}")
            cells[pair["given_label"], pair["suggested_label"]] = cell
    except (OSError, ValueError, KeyError, OverflowError) as error:
        raise WorkspaceError(
            f"{file}: no table of label errors ({first_line(error)}): run `curate flag` again"
        ) from error
    suggested = sorted(set(pairs["suggested_label"]))
    rows = []
    for label in sorted(set(pairs["given_label"])):
        rows.append((label, [cells.get((label, other)) for other in suggested]))
    return ErrorTable(suggested, rows)


def count_machine_pairs(manifest: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Given label, label by a machine, and kept images, of the accepted suggestions."""
    rows = manifest[(manifest["reason"] == "machine") & (manifest["status"] == "keep")]
    counts = Counter(zip(rows["given_label"], rows["label"], strict=True))
    return [(given, label, count) for (given, label), count in counts.most_common()]


def _suspects(manifest: pd.DataFrame, locate: Locate) -> Records:
    is_flagged = (manifest["issue_rank"] != "") & (manifest["suggested_label"] != "")
    flagged = manifest[is_flagged]
    ranked = flagged["issue_rank"].astype(int).sort_values().index
    return embed_images(locate, flagged.loc[ranked[:SHOWN]])


def _conflicts(manifest: pd.DataFrame, locate: Locate) -> list[Records]:
    return _groups(manifest[manifest["label_conflict"] == "true"], locate)


def _near_copies(manifest: pd.DataFrame, locate: Locate) -> list[Records]:
    near = manifest.loc[manifest["duplicate_kind"] == "near", "duplicate_group"]
    is_shown = manifest["duplicate_group"].isin(set(near)) & (manifest["label_conflict"] == "")
    return _groups(manifest[is_shown], locate)


def _groups(rows: pd.DataFrame, locate: Locate) -> list[Records]:
    """The first duplicate groups, each with its first images."""
    groups = list(rows.groupby("duplicate_group", sort=True))[:SHOWN_GROUPS]
    return [embed_images(locate, group.head(SHOWN_OF_GROUP)) for _, group in groups]


def _degenerate(manifest: pd.DataFrame, locate: Locate) -> Records:
    found = manifest[manifest["quality"] != ""]
    return embed_images(locate, found.head(SHOWN))
