"""split: train, val and test -> the column `split` of the kept rows.

Stratified by the verdict label; a duplicate group, a subject and a sequence stay whole (law 5). Dropped rows have none.
Under a view (`--classes 5`) the merged or chosen classes are stratified; kept rows outside of it are split too, so that
another view of the same split leaks nothing, and are counted apart.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from curate.errors import ManifestError, UsageError
from curate.labels import ClassView, find_class_view
from curate.stages.stratify import assign_parts, link_rows
from curate.workspace.class_views import format_outside, look_through
from curate.workspace.invariants import linked_by
from curate.workspace.manifest import SPLITS
from curate.workspace.receipts import StageResult

INPUT_COLUMNS = ("label", "status", "subject", "sequence", "duplicate_group", "source_split")


RATIOS = (70.0, 15.0, 15.0)


def parse_ratios(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Shares of train, val, test from percent or fractions.

    Raises
    ------
    UsageError  unless they are three numbers >= 0 that sum to 100 or 1
    """
    total = sum(ratios)
    if (
        len(ratios) != len(SPLITS)
        or min(ratios) < 0
        or not (np.isclose(total, 100) or np.isclose(total, 1))
    ):
        raise UsageError(
            f"split: --ratios {' '.join(f'{r:g}' for r in ratios)} sum to {total:g}: must be >= 0 and sum to 100 or 1"
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
    """Split the kept rows anew by `ratios` (default `RATIOS`), or keep the split that the dataset ships.

    Parameters
    ----------
    by_subject : refuse unless every kept row names a person
    class_view : name of a class view, empty for all

    Raises
    ------
    UsageError  if both are asked for, or the class view is unknown
    ManifestError  if no row is kept, or none inside of the view, or one has no subject where all must
    """
    seen = find_class_view(class_view)
    if from_source and ratios is not None:
        raise UsageError("split: --ratios and --from-source exclude each other: name one")
    if not (manifest["status"] == "keep").any():
        raise ManifestError("manifest.csv: no row is kept: `curate status` says why")
    look_through(manifest, seen)
    if by_subject:
        _require_subjects(manifest)
    return (
        split_from_source(manifest, seen)
        if from_source
        else split_by_ratios(manifest, ratios or RATIOS, seed, seen)
    )


def split_by_ratios(
    manifest: pd.DataFrame, ratios: Sequence[float], seed: int, class_view: ClassView
) -> StageResult:
    """Parts of the asked sizes with the class shares of the whole."""
    kept = manifest[manifest["status"] == "keep"].reset_index(drop=True)
    outside = (
        "outside: " + kept["label"]
    )  # a class of its own each, so that every part gets its share of them too
    labels, _ = pd.factorize(kept["label"].map(class_view.class_of).fillna(outside), sort=True)
    part = assign_parts(
        labels, link_rows(list(linked_by(kept).values())), parse_ratios(ratios), seed
    )
    return _result(manifest, pd.Series(np.array(SPLITS)[part]), class_view, "")


def split_from_source(manifest: pd.DataFrame, class_view: ClassView) -> StageResult:
    """Keep the split that the dataset ships.

    A photograph with copies in several splits goes whole to the most held-out of them (test, then val), so that the
    published test set stays complete and the training set gives way.

    Raises
    ------
    ManifestError  if a kept row has no split of its source
    """
    kept = manifest[manifest["status"] == "keep"].reset_index(drop=True)
    without = kept.loc[kept["source_split"] == "", "path"]
    if len(without):
        raise ManifestError(
            f"manifest.csv: {len(without)} kept rows have no split in their source (first: {without.iloc[0]}): "
            "use --ratios instead of --from-source"
        )
    order = pd.Series(range(len(SPLITS)), index=SPLITS)
    units = link_rows(list(linked_by(kept).values()))
    held_out = kept["source_split"].map(order).groupby(units).transform("max")
    parts = held_out.map(dict(enumerate(SPLITS)))
    moved = int((parts != kept["source_split"]).sum())
    note = f"; {moved:,} rows moved so that no photograph or subject crosses the splits"
    return _result(manifest, parts, class_view, note)


def _require_subjects(manifest: pd.DataFrame) -> None:
    nameless = manifest.loc[(manifest["status"] == "keep") & (manifest["subject"] == ""), "path"]
    if len(nameless):
        sources = nameless.str.split("/", n=1).str[0].value_counts().sort_index()
        named = ", ".join(f"{name} {count:,}" for name, count in sources.items())
        raise ManifestError(
            f"manifest.csv: {len(nameless):,} kept rows name no person ({named}; first: {nameless.iloc[0]}): their dataset does "
            "not say who is shown, so a person may cross the splits; leave --by-subject out, or the source"
        )


def _result(
    manifest: pd.DataFrame, parts: "pd.Series[str]", class_view: ClassView, note: str
) -> StageResult:
    """The column, and a summary of the rows inside of the view."""
    column = pd.Series("", index=manifest.index, dtype=manifest["path"].dtype)
    column[manifest["status"] == "keep"] = parts.to_numpy()
    inside = column[look_through(manifest, class_view)["status"] == "keep"]
    sizes = {name: int((inside == name).sum()) for name in SPLITS}
    kept = len(inside)
    named = ", ".join(
        f"{name} {size:,} ({100 * size / kept:.2f} %)" for name, size in sizes.items()
    )
    return StageResult(
        f"split: {named}{note}{format_outside(manifest, class_view)}",
        columns=column.to_frame("split"),
        counts=sizes,
    )
