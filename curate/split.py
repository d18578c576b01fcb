"""split: train, val and test -> the column `split` of the kept rows.

Stratified by the verdict label; a duplicate group, a subject and a sequence stay whole (law 5). Dropped rows have none.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from curate.errors import ManifestError, UsageError
from curate.laws import linked_by
from curate.manifest import SPLITS
from curate.receipts import StageResult
from curate.stratify import assign_parts, link_rows

READS = ("label", "status", "subject", "sequence", "duplicate_group", "source_split")


RATIOS = (70.0, 15.0, 15.0)


def parse_ratios(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Shares of train, val, test from percent or fractions.

    Raises
    ------
    UsageError  unless they are three numbers >= 0 that sum to 100 or 1
    """
    total = sum(ratios)
    if len(ratios) != len(SPLITS) or min(ratios) < 0 or not (np.isclose(total, 100) or np.isclose(total, 1)):
        raise UsageError(
            f"split: --ratios {' '.join(f'{r:g}' for r in ratios)} sum to {total:g}: must be >= 0 and sum to 100 or 1"
        )
    train, val, test = (ratio / total for ratio in ratios)
    return train, val, test


def split(
    manifest: pd.DataFrame, ratios: Sequence[float] | None = None, *, from_source: bool = False, seed: int = 0
) -> StageResult:
    """Split the kept rows anew by `ratios` (default `RATIOS`), or keep the split that the dataset ships.

    Raises
    ------
    UsageError  if both are asked for
    ManifestError  if no row is kept
    """
    if from_source and ratios is not None:
        raise UsageError("split: --ratios and --from-source exclude each other: name one")
    if not (manifest["status"] == "keep").any():
        raise ManifestError("manifest.csv: no row is kept: `curate status` says why")
    return split_from_source(manifest) if from_source else split_by_ratios(manifest, ratios or RATIOS, seed)


def split_by_ratios(manifest: pd.DataFrame, ratios: Sequence[float], seed: int) -> StageResult:
    """Parts of the asked sizes with the class shares of the whole."""
    kept = manifest[manifest["status"] == "keep"].reset_index(drop=True)
    labels, _ = pd.factorize(kept["label"], sort=True)
    part = assign_parts(labels, link_rows(list(linked_by(kept).values())), parse_ratios(ratios), seed)
    return _result(manifest, pd.Series(np.array(SPLITS)[part]), "")


def split_from_source(manifest: pd.DataFrame) -> StageResult:
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
    return _result(manifest, parts, f"; {moved:,} rows moved so that no photograph or subject crosses the splits")


def _result(manifest: pd.DataFrame, parts: "pd.Series[str]", note: str) -> StageResult:
    column = pd.Series("", index=manifest.index, dtype=manifest["path"].dtype)
    column[manifest["status"] == "keep"] = parts.to_numpy()
    sizes = {name: int((parts == name).sum()) for name in SPLITS}
    kept = len(parts)
    named = ", ".join(f"{name} {size:,} ({100 * size / kept:.2f} %)" for name, size in sizes.items())
    return StageResult(f"split: {named}{note}", column.to_frame("split"), counts=sizes)
