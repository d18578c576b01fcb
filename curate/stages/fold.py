"""fold: K parts for out-of-fold predictions -> the column `fold`.

Every image that can be read gets a fold, dropped copies too, so that all of them are predicted. A
duplicate group, a subject and a sequence stay whole (law 5), so that no image is predicted by a
model that learned from its copy.
"""

import numpy as np
import pandas as pd

from curate.errors import ManifestError, UsageError
from curate.stages.large_units import warn_of_units
from curate.stages.stratify import assign_parts
from curate.workspace.links import link_rows
from curate.workspace.manifest import group_keys
from curate.workspace.receipts import StageResult

COPIES_UNKNOWN = (
    "fold: the copies among these images are not known, so a model may learn from a copy of what "
    "it predicts: run `curate dedup`, then fold again"
)
NEAR_UNKNOWN = (
    "fold: dedup has looked for exact copies alone, so a model may learn from an altered copy of "
    "what it predicts: run `curate dedup`, then fold again"
)
INPUT_COLUMNS = ("pixel_hash", "given_label", "subject", "sequence", "duplicate_group")


def fold(manifest: pd.DataFrame, k: int, seed: int = 0) -> StageResult:
    """Give each readable row a fold 0..k-1, stratified by given label.

    Raises
    ------
    ManifestError  if no image can be read, or all are of one photograph or subject
    UsageError  if there are fewer units (duplicate groups, subjects, single images) than folds
    """
    rows = manifest[manifest["pixel_hash"] != ""].reset_index(drop=True)
    if rows.empty:
        raise ManifestError(
            "manifest.csv: no image can be read: `curate status` shows what was found"
        )
    units = link_rows(group_keys(rows).values())
    unit_count = len(np.unique(units))
    if unit_count < 2:
        raise ManifestError(
            "manifest.csv: all images are of one photograph or subject: a fold needs others to "
            "learn from: build more images"
        )
    if k < 2 or k > unit_count:
        raise UsageError(
            f"fold: --k {k}: must be 2 to {unit_count}, the number of photographs and subjects here"
        )
    labels, _ = pd.factorize(rows["given_label"], sort=True)
    part = assign_parts(labels, units, [1 / k] * k, seed)
    column = pd.Series("", index=manifest.index, dtype=manifest["path"].dtype)
    column[manifest["pixel_hash"] != ""] = part.astype(str)
    sizes = np.bincount(part, minlength=k).tolist()
    summary = (
        f"fold: {len(rows):,} readable rows, copies too, in {k} folds of {min(sizes):,} to "
        f"{max(sizes):,}; {unit_count:,} units (a photograph with its copies, a person) stay whole"
    )
    counts = {"sizes": sizes, "units": unit_count}
    notes = warn_of_units(rows, units, "fold")
    return StageResult(summary, columns=column.to_frame("fold"), counts=counts, notes=notes)
