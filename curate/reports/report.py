"""report: one self-contained page that shows what curation did.

In: the manifest, journal, receipts and tables of a workspace. Out: report.html with a section for
each question of a person who wants to trust the set; the same bytes for the same data. The sections
are modules of `curate.reports.sections`.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from curate.duplicates.pair_table import read_pairs
from curate.errors import ManifestError
from curate.files import write_atomically
from curate.pages.render import render_page
from curate.reports.album import Album
from curate.reports.audit import Leak, audit_workspace
from curate.reports.sections.balance import SERIES, compare_balance
from curate.reports.sections.copies import show_copies
from curate.reports.sections.deciders import count_deciders
from curate.reports.sections.degenerate import show_degenerate
from curate.reports.sections.face_map import FILE as MAP
from curate.reports.sections.face_map import draw_map
from curate.reports.sections.headline import count_headlines
from curate.reports.sections.label_errors import count_machine_pairs, read_errors
from curate.reports.sections.leakage import Leakage, show_leakage
from curate.reports.sections.next_steps import list_receipts, list_steps
from curate.reports.sections.suspects import show_suspects
from curate.reports.snapshot import Snapshot
from curate.reports.status import Status, read_status
from curate.reports.status_text import format_status
from curate.result import Result
from curate.workspace.receipts import note_unlike_receipt, read_receipts
from curate.workspace.workspace import Workspace

FILE = "report.html"
# Tables that the page reads -> the command that wrote them.
TABLES = {
    "pairs.csv": "curate dedup",
    "label_errors.csv": "curate flag",
    "issues.csv": "curate flag",
    MAP: "train oof",
}


def report(workspace: Workspace, *, has_images: bool = True, dry_run: bool = False) -> Result:
    """Write report.html (unless `dry_run`).

    Parameters
    ----------
    has_images : whether the page shows faces; without them it opens no picture

    Raises
    ------
    ManifestError  if there is no manifest
    WorkspaceError  if a table is damaged, or the pictures lie in a folder that is not named
    """
    workspace = Snapshot(workspace.root)
    manifest = workspace.read()
    status = read_status(workspace)
    album = Album(workspace, manifest, has_images=has_images)
    page = render_page(
        "curate.reports",
        "report.html.j2",
        title=f"Candid: {workspace.root.resolve().name}",
        heading="What curation did",
        has_images=has_images,
        **_show_copies(workspace, manifest, album, status),
        **_show_labels(workspace, manifest, album),
        **_show_state(workspace, manifest, status),
    ).encode()
    for name, command in TABLES.items():
        stage = command.rpartition(" ")[2]
        note_unlike_receipt(workspace.root, stage, workspace.root / name, command)
    file = workspace.root / FILE
    if not dry_run:
        write_atomically(file, page)
    summary = f"report: {len(page) / 1e6:.1f} MB -> {file}"
    return Result(summary, counts={"file": str(file), "bytes": len(page)})


def _show_copies(
    workspace: Workspace, manifest: pd.DataFrame, album: Album, status: Status
) -> dict[str, Any]:
    """Headlines, leaks and duplicate groups."""
    pairs = read_pairs(workspace.pairs, may_lack=True)
    leaks, leakage = _audit(workspace, manifest, pairs, album)
    copies, conflicts = show_copies(manifest, pairs, album)
    return {
        "tiles": count_headlines(manifest, status, leaks),
        "leakage": leakage,
        "copies": copies,
        "conflicts": conflicts,
        "degenerate": show_degenerate(manifest, album),
    }


def _audit(
    workspace: Workspace, manifest: pd.DataFrame, pairs: pd.DataFrame, album: Album
) -> tuple[Sequence[Leak] | None, Leakage]:
    """The leaks, or the reason why they are not known."""
    try:
        leaks = audit_workspace(workspace)
    except ManifestError as error:
        return None, Leakage(reason=str(error))
    return leaks, show_leakage(workspace.root, manifest, leaks, pairs, album)


def _show_labels(workspace: Workspace, manifest: pd.DataFrame, album: Album) -> dict[str, Any]:
    """Class balance, suspects and errors."""
    return {
        "series": SERIES,
        "balance": compare_balance(manifest),
        "suspects": show_suspects(workspace.root, manifest, album),
        "errors": read_errors(workspace.root / "label_errors.csv"),
        "machines": count_machine_pairs(manifest),
        "map": draw_map(workspace.root, manifest, album),
    }


def _show_state(workspace: Workspace, manifest: pd.DataFrame, status: Status) -> dict[str, Any]:
    """Who decided, receipts, next steps."""
    deciders = count_deciders(workspace)
    receipts = read_receipts(workspace.root)
    return {
        "deciders": deciders,
        "status": format_status(status),
        "receipts": list_receipts(workspace.root, receipts, status.stages),
        "steps": list_steps(manifest, status, deciders),
    }
