"""The numbers at the top of the page."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from curate.errors import amount
from curate.pages.render import format_count, format_percent
from curate.reports.audit import Leak
from curate.reports.status import Status


@dataclass(frozen=True)
class Tile:
    """One number: its name, a line below, and the id of the section that explains it."""

    value: str
    name: str
    note: str
    section: str


def count_headlines(
    manifest: pd.DataFrame, status: Status, leaks: Sequence[Leak] | None
) -> list[Tile]:
    """The numbers that a person wants to know first.

    Parameters
    ----------
    leaks : of `audit`; None if the copies or the splits are not known
    """
    reasons = status.per_reason
    exact, near = reasons.get("exact_copy", 0), reasons.get("near_copy", 0)
    by_kind = f"{exact:,} exact, {near:,} near"
    kept = format_percent(status.kept / max(status.rows, 1))
    conflicts = manifest[manifest["label_conflict"] == "true"]
    groups = conflicts["duplicate_group"].nunique()
    degenerate = int((manifest["quality"] != "").sum())
    return [
        Tile(format_count(status.rows), "images", f"{status.kept:,} kept ({kept})", "balance"),
        Tile(format_count(exact + near), "copies dropped", by_kind, "copies"),
        *_count_leaks(leaks or ()),
        Tile(
            format_count(len(conflicts)),
            "copies under two labels",
            amount(groups, "group"),
            "conflicts",
        ),
        _count_suspects(manifest, status),
        Tile(format_count(degenerate), "without a face to see", "by curate inspect", "degenerate"),
        Tile(
            format_count(status.decisions),
            "decided by people",
            f"{sum(status.machine_labels.values()):,} by machines",
            "deciders",
        ),
    ]


def _count_leaks(leaks: Sequence[Leak]) -> list[Tile]:
    """The leaked share of the held-out rows, per split."""
    names = {"source_split": "leaked, dataset's split", "split": "leaked, new split"}
    tiles = []
    for split, name in names.items():
        totals = [leak for leak in leaks if leak.split == split and leak.label == "all"]
        rows, copies = (sum(getattr(leak, key) for leak in totals) for key in ("rows", "copies"))
        if rows:
            note = f"{copies:,} of {rows:,} val and test"
            tiles.append(Tile(format_percent(copies / rows), name, note, "leaks"))
    return tiles


def _count_suspects(manifest: pd.DataFrame, status: Status) -> Tile:
    """The labels that flag marks as wrong, and how many it expects to be wrong."""
    errors = status.errors.get("errors")
    if not errors:
        return Tile("-", "suspect labels", "curate flag has not run", "suspects")
    marked = int((manifest["issue"] == "wrong").sum())
    note = f"the models call {errors['count']:,} wrong: not calibrated"
    if "low" in errors:
        note = f"about {errors['count']:,} are wrong ({errors['low']:,} to {errors['high']:,})"
    return Tile(format_count(marked), "marked as wrong", note, "suspects")
