"""weights: class weights for the weighted cross-entropy -> class_weights.csv.

Counted on the kept rows of the train split (of all kept rows while there is no split), by the verdict label as the view
(`--classes 5`) sees it.
"""

import numpy as np
import pandas as pd

from curate.class_weights import Scheme, weigh_classes
from curate.errors import ManifestError
from curate.labels import find_class_view
from curate.workspace.class_views import format_outside, look_through
from curate.workspace.invariants import require_laws
from curate.workspace.manifest import kept_rows
from curate.workspace.receipts import StageResult

INPUT_COLUMNS = ("label", "status", "split")
TABLE = "class_weights.csv"


def weights(
    manifest: pd.DataFrame, scheme: Scheme = "balanced", *, class_view: str = ""
) -> StageResult:
    """Weigh the classes so that rare ones are not drowned.

    Parameters
    ----------
    class_view : name of a class view, empty for all

    Raises
    ------
    UsageError  if the class view is unknown
    ManifestError  if no row is kept or none is in the train split, or some kept rows have no split
    """
    require_laws(manifest, "split")
    seen = find_class_view(class_view)
    kept = kept_rows(look_through(manifest, seen))
    if kept.empty:
        raise ManifestError("manifest.csv: no row is kept: `curate status` says why")
    has_split = bool((kept["split"] != "").any())
    labels = kept.loc[kept["split"] == "train", "label"] if has_split else kept["label"]
    if labels.empty:
        raise ManifestError(
            "manifest.csv: no kept row is in the train split: run `curate split` again"
        )
    classes = sorted(set(labels))
    counts = labels.value_counts().reindex(classes).to_numpy(dtype=np.int64)
    values = weigh_classes(counts, scheme)
    table = pd.DataFrame(
        {
            "class": classes,
            "count": counts.astype(str),
            "weight": [f"{value:.6f}" for value in values],
        },
        dtype=str,
    )
    of = "the train split" if has_split else "all kept rows (no split yet)"
    named = ", ".join(f"{name} {value:.2f}" for name, value in zip(classes, values, strict=True))
    return StageResult(
        f"weights: {scheme} on {len(labels):,} rows of {of}: {named}{format_outside(manifest, seen)}",
        tables={TABLE: table},
        counts={name: round(float(value), 6) for name, value in zip(classes, values, strict=True)},
    )
