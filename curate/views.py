"""A manifest looked at through a view of its classes: what split, weights and training see under --classes or --group.

The view is never written. Rows outside of it are as good as dropped for the stage that looks, and each such stage says how
many they are.
"""

import pandas as pd

from curate.errors import ManifestError
from curate.labels import View


def look_through(manifest: pd.DataFrame, view: View) -> pd.DataFrame:
    """The manifest with the labels as the view sees them; a row outside has status drop and no label.

    Raises
    ------
    ManifestError  if the view leaves no kept row
    """
    label = manifest["label"].map(view.class_of).fillna("").astype(manifest["label"].dtype)
    outside = label == ""
    seen = manifest.assign(label=label, status=manifest["status"].mask(outside, "drop"))
    if (manifest["status"] == "keep").any() and not (seen["status"] == "keep").any():
        raise ManifestError(
            f"manifest.csv: no kept row is of the classes {', '.join(view.class_of)}: choose others or leave the option out"
        )
    return seen


def count_outside(manifest: pd.DataFrame, view: View) -> dict[str, int]:
    """Class -> kept rows that the view leaves out."""
    kept = manifest.loc[manifest["status"] == "keep", "label"]
    counts = kept[~kept.isin(list(view.class_of))].value_counts().sort_index()
    return {str(name): int(count) for name, count in counts.items()}


def tell_outside(manifest: pd.DataFrame, view: View) -> str:
    """The end of a stage's story, or nothing where no view was asked for."""
    if not view.name:
        return ""
    counts = count_outside(manifest, view)
    named = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return f"; view {view.name}: {sum(counts.values()):,} kept rows are outside of it" + (
        f" ({named})" if named else ""
    )
