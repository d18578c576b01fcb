"""split: train, val and test -> the column `split` of the kept rows.

Stratified by the verdict label; a duplicate group, a subject and a sequence stay whole (law 5).
Dropped rows get no split. Under a class view (`--classes 5`) the chosen or merged classes are
stratified; kept rows outside of it are split too, so that another class view of the same split does
not leak, and are counted apart.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.errors import ManifestError, UsageError, amount
from curate.result import format_counts
from curate.stages.large_units import warn_of_units
from curate.stages.stratify import assign_parts
from curate.workspace.class_views import (
    ClassView,
    apply_class_view,
    find_class_view,
    format_outside,
)
from curate.workspace.links import Units, link_kept_units
from curate.workspace.manifest import SPLITS, kept_rows, sources_of
from curate.workspace.receipts import StageResult
from curate.workspace.untrained import count_untrained, warn_of_untrained

INPUT_COLUMNS = ("label", "status", "subject", "sequence", "duplicate_group", "source_split")
RATIOS = (70.0, 15.0, 15.0)  # percent of train, val, test
COPIES_UNKNOWN = (
    "split: the copies among these images are not known, so some may be in two parts: run `curate "
    "dedup`, then split again"
)
NEAR_UNKNOWN = (
    "split: dedup has looked for exact copies alone, so altered copies may be in two parts: run "
    "`curate dedup`, then split again"
)
FAR_OFF = 0.05  # of all rows, between the requested and the real share of a part
FEW = 3  # rows; a small set cannot be parted as requested


def parse_ratios(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Shares of train, val, test from percent or fractions.

    Raises
    ------
    UsageError  unless they are three numbers >= 0 that sum to 100 or 1
    """
    total = sum(ratios)
    is_whole = np.isclose(total, 100) or np.isclose(total, 1)
    if len(ratios) != len(SPLITS) or min(ratios) < 0 or not is_whole:
        typed = " ".join(f"{ratio:g}" for ratio in ratios)
        raise UsageError(
            f"split: --ratios {typed} sum to {total:g}: must be >= 0 and sum to 100 or 1"
        )
    train, val, test = (ratio / total for ratio in ratios)
    return train, val, test


def split(
    manifest: pd.DataFrame,
    ratios: Sequence[float] | None = None,
    *,
    from_source: bool = False,
    by_subject: bool = False,
    class_view: str = "",
    seed: int = 0,
) -> StageResult:
    """Split the kept rows anew, or keep the split of the dataset.

    Parameters
    ----------
    ratios : percent or shares of train, val, test; None for `RATIOS`
    from_source : keep the split that the dataset ships; excludes `ratios`
    by_subject : refuse unless every kept row has a subject
    class_view : name of a class view, empty for all classes

    Raises
    ------
    UsageError  if both `ratios` and `from_source` are given, or the class view is unknown
    ManifestError  if no row is kept, none is inside of the class view, or `by_subject` finds a row
        without a subject
    """
    view = find_class_view(class_view)
    if from_source and ratios is not None:
        raise UsageError("split: --ratios and --from-source exclude each other: name one")
    if not (manifest["status"] == "keep").any():
        raise ManifestError("manifest.csv: no row is kept: `curate status` shows why")
    apply_class_view(manifest, view)  # raises if no kept row is inside of it
    if by_subject:
        _require_subjects(manifest)
    if from_source:
        return split_from_source(manifest, view)
    return split_by_ratios(manifest, ratios or RATIOS, seed, view)


def split_by_ratios(
    manifest: pd.DataFrame, ratios: Sequence[float], seed: int, class_view: ClassView
) -> StageResult:
    """Parts of the requested sizes with the class shares of the whole."""
    kept = kept_rows(manifest).reset_index(drop=True)
    # Rows outside of the view have classes of their own, so that every part gets its share of them.
    outside = "outside: " + kept["label"]
    labels, _ = pd.factorize(kept["label"].map(class_view.class_of).fillna(outside), sort=True)
    units = _units_of_kept(manifest)
    shares = parse_ratios(ratios)
    part = assign_parts(labels, units, shares, seed)
    result = _result(manifest, pd.Series(np.array(SPLITS)[part]), class_view, "")
    return replace(result, notes=[*_note_sizes(part, shares), *result.notes])


def _note_sizes(part: npt.NDArray[np.int64], shares: Sequence[float]) -> list[str]:
    """A note for each part far from the share that was requested: groups cannot be divided."""
    notes = []
    for number, (name, share) in enumerate(zip(SPLITS, shares, strict=True)):
        got = float((part == number).mean())
        off = abs(got - share)
        if (off > FAR_OFF and off * len(part) > FEW) or (not got and share * len(part) > 0.5):
            notes.append(
                f"split: {name} has {100 * got:.1f} % of the rows where {100 * share:g} % were "
                "requested: copies and the images of a subject stay together; other --ratios fit "
                "better"
            )
    return notes


def split_from_source(manifest: pd.DataFrame, class_view: ClassView) -> StageResult:
    """Keep the split that the dataset ships.

    Rows that belong together (copies, a subject, a sequence) and are shipped in several splits all
    go to the most held-out of them (test, then val): the published test set stays complete, the
    training set gives way.

    Raises
    ------
    ManifestError  if a kept row has no split of its source
    """
    kept = kept_rows(manifest).reset_index(drop=True)
    without = kept.loc[kept["source_split"] == "", "path"]
    if len(without):
        raise ManifestError(
            f"manifest.csv: {amount(len(without), 'kept row has', 'kept rows have')} no split in "
            f"their source (first: {without.iloc[0]}): use --ratios instead of --from-source"
        )
    order = pd.Series(range(len(SPLITS)), index=SPLITS)
    units = _units_of_kept(manifest)
    most_held_out = kept["source_split"].map(order).groupby(units).transform("max")
    parts = most_held_out.map(dict(enumerate(SPLITS)))
    moved = int((parts != kept["source_split"]).sum())
    note = f"; {amount(moved, 'row')} moved so that no photograph or subject crosses the splits"
    return _result(manifest, parts, class_view, note)


def _units_of_kept(manifest: pd.DataFrame) -> Units:
    """(M,) the unit of each kept row, numbered by their first rows; dropped copies link too."""
    is_kept = (manifest["status"] == "keep").to_numpy()
    units, _ = pd.factorize(link_kept_units(manifest)[is_kept])
    return units.astype(np.int64)


def _require_subjects(manifest: pd.DataFrame) -> None:
    kept = kept_rows(manifest)
    nameless = kept.loc[kept["subject"] == "", "path"]
    if len(nameless):
        named = format_counts(sources_of(nameless).value_counts().sort_index().to_dict())
        raise ManifestError(
            f"manifest.csv: {amount(len(nameless), 'kept row names', 'kept rows name')} no person "
            f"({named}; first: {nameless.iloc[0]}): their dataset does not name its subjects, so a "
            "person may cross the splits; leave --by-subject out, or the source"
        )


def _note_gaps(viewed: pd.DataFrame, class_view: ClassView) -> list[str]:
    """A note of empty parts, and one of classes that no row of val or test shows.

    Parameters
    ----------
    viewed : the manifest with its new split under the class view
    """
    kept = kept_rows(viewed)
    parts = {name: set(kept.loc[kept["split"] == name, "label"]) for name in SPLITS}
    notes = [] if parts["train"] else ["split: train has no row"]
    gaps = [
        f"{label} in {name}"
        for label in sorted(set(kept["label"]))
        for name in ("val", "test")
        if parts[name] and label not in parts[name]
    ]
    if gaps:
        notes.append(
            f"split: no row of {', '.join(gaps)}: such a class is not scored there; add images, or "
            "try other --ratios or another --seed"
        )
    absent = sorted(set(class_view.class_of.values()) - set(kept["label"]))
    if absent and class_view.name:
        notes.append(f"split: no kept row is of class {', '.join(absent)}")
    return notes


def _note_moved(before: "pd.Series[str]", now: "pd.Series[str]") -> list[str]:
    """A note if rows of the earlier test are in train or val now."""
    held_out = before == "test"
    counts = now[held_out & now.isin(["train", "val"])].value_counts()
    if counts.empty:
        return []
    named = format_counts(counts.sort_index().to_dict())
    return [
        f"split: {int(counts.sum()):,} of the {int(held_out.sum()):,} rows of the earlier test are "
        f"elsewhere now ({named}): scores of models that were trained before do not compare with "
        "later ones: train them anew"
    ]


def _result(
    manifest: pd.DataFrame, parts: "pd.Series[str]", class_view: ClassView, note: str
) -> StageResult:
    """The column, a summary of the rows inside of the class view, and warnings."""
    column = pd.Series("", index=manifest.index, dtype=manifest["path"].dtype)
    column[manifest["status"] == "keep"] = parts.to_numpy()
    viewed = apply_class_view(manifest.assign(split=column), class_view)
    inside = column[viewed["status"] == "keep"]
    sizes = {name: int((inside == name).sum()) for name in SPLITS}
    kept = len(inside)
    shares = [f"{name} {size:,} ({100 * size / kept:.2f} %)" for name, size in sizes.items()]
    summary = f"split: {', '.join(shares)}{note}{format_outside(manifest, class_view)}"
    untrained = count_untrained(viewed)
    notes = [
        *warn_of_untrained(untrained, "split"),
        *_note_gaps(viewed, class_view),
        *_note_moved(manifest["split"], column),
        *warn_of_units(kept_rows(manifest), _units_of_kept(manifest), "split"),
    ]
    counts = {**sizes, "not_in_train": untrained}
    return StageResult(summary, columns=column.to_frame("split"), counts=counts, notes=notes)
