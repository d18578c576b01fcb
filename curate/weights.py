"""weights: class weights for the weighted cross-entropy -> class_weights.csv.

Counted on the kept rows of the train split (of all kept rows while there is no split), by the verdict label as the view
(`--classes 5`) sees it.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.errors import ManifestError
from curate.labels import find_view
from curate.laws import require_laws
from curate.manifest import kept_rows
from curate.receipts import StageResult
from curate.views import look_through, tell_outside

READS = ("label", "status", "split")
TABLE = "class_weights.csv"
# Cui et al. try 0.9 to 0.9999 and take 0.9999 for long-tailed sets of this size.
BETA = 0.9999

Scheme = Literal["balanced", "sqrt", "effective"]


def weights(manifest: pd.DataFrame, scheme: Scheme = "balanced", *, view: str = "") -> StageResult:
    """Weigh the classes so that rare ones are not drowned.

    Parameters
    ----------
    view : name of a view of the classes, empty for all

    Raises
    ------
    UsageError  if the view is unknown
    ManifestError  if no row is kept or none is in the train split, or some kept rows have no split
    """
    require_laws(manifest, "split")
    seen = find_view(view)
    kept = kept_rows(look_through(manifest, seen))
    if kept.empty:
        raise ManifestError("manifest.csv: no row is kept: `curate status` says why")
    has_split = bool((kept["split"] != "").any())
    labels = kept.loc[kept["split"] == "train", "label"] if has_split else kept["label"]
    if labels.empty:
        raise ManifestError("manifest.csv: no kept row is in the train split: run `curate split` again")
    classes = sorted(set(labels))
    counts = labels.value_counts().reindex(classes).to_numpy(dtype=np.int64)
    values = weigh_classes(counts, scheme)
    table = pd.DataFrame(
        {"class": classes, "count": counts.astype(str), "weight": [f"{value:.6f}" for value in values]}, dtype=str
    )
    of = "the train split" if has_split else "all kept rows (no split yet)"
    named = ", ".join(f"{name} {value:.2f}" for name, value in zip(classes, values, strict=True))
    return StageResult(
        f"weights: {scheme} on {len(labels):,} rows of {of}: {named}{tell_outside(manifest, seen)}",
        tables={TABLE: table},
        counts={name: round(float(value), 6) for name, value in zip(classes, values, strict=True)},
    )


def weigh_classes(counts: npt.NDArray[np.integer], scheme: Scheme) -> npt.NDArray[np.float64]:
    """One weight per class; the mean weight of an image is 1, so that the loss keeps its size.

    Parameters
    ----------
    counts : (K,) images of each class, each >= 1
    scheme : `balanced`: N / (K count), scikit-learn's `compute_class_weight`; `sqrt`: its square root; `effective`:
        (1 - beta) / (1 - beta^count)

    References
    ----------
    G. King, L. Zeng, Logistic Regression in Rare Events Data, 2001 (balanced); Y. Cui et al., Class-Balanced Loss Based on
    Effective Number of Samples, CVPR 2019 (effective)
    """
    if scheme == "effective":
        raw = (1 - BETA) / (1 - BETA ** counts.astype(np.float64))
    else:
        from sklearn.utils.class_weight import compute_class_weight

        rows = np.repeat(np.arange(len(counts)), counts)
        raw = compute_class_weight("balanced", classes=np.arange(len(counts)), y=rows)
        raw = np.sqrt(raw) if scheme == "sqrt" else raw
    weighed: npt.NDArray[np.float64] = raw * counts.sum() / (raw @ counts)
    return weighed
