"""weights: class weights for the weighted cross-entropy -> class_weights.csv.

Computed from the kept rows of the train split (all kept rows while there is no split) and their
verdict labels, as merged or chosen by the class view (`--classes 5`).
"""

import numpy as np
import pandas as pd

from curate.class_weights import Scheme, weigh_classes
from curate.errors import ManifestError, amount
from curate.workspace.class_views import apply_class_view, find_class_view, format_outside
from curate.workspace.invariants import require_laws
from curate.workspace.manifest import kept_rows
from curate.workspace.receipts import StageResult

INPUT_COLUMNS = ("label", "status", "split")
TABLE = "class_weights.csv"


def weights(
    manifest: pd.DataFrame, scheme: Scheme = "balanced", *, class_view: str = ""
) -> StageResult:
    """Weigh the classes so that rare ones count more.

    Parameters
    ----------
    class_view : name of a class view, empty for all classes

    Raises
    ------
    UsageError  if the class view is unknown
    ManifestError  if no row is kept or none is in the train split, or some kept rows have no split
    """
    require_laws(manifest, "split")
    view = find_class_view(class_view)
    kept = kept_rows(apply_class_view(manifest, view))
    if kept.empty:
        raise ManifestError("manifest.csv: no row is kept: `curate status` shows why")
    has_split = bool((kept["split"] != "").any())
    labels = kept.loc[kept["split"] == "train", "label"] if has_split else kept["label"]
    if labels.empty:
        raise ManifestError(
            "manifest.csv: no kept row is in the train split: run `curate split` with a share for "
            "it, as in `--ratios 70 15 15`"
        )
    classes = sorted(set(labels))
    counts = labels.value_counts().reindex(classes).to_numpy(dtype=np.int64)
    values = weigh_classes(counts, scheme)
    weight_of = dict(zip(classes, values.tolist(), strict=True))
    printed = [f"{value:.6f}" for value in values]
    table = {"class": classes, "count": counts.astype(str), "weight": printed}
    of = "the train split" if has_split else "all kept rows (no split yet)"
    named = ", ".join(f"{name} {value:.2f}" for name, value in weight_of.items())
    outside = format_outside(manifest, view)
    return StageResult(
        f"weights: {scheme} on {amount(len(labels), 'row')} of {of}: {named}{outside}",
        tables={TABLE: pd.DataFrame(table, dtype=str)},
        counts={name: round(value, 6) for name, value in weight_of.items()},
    )
