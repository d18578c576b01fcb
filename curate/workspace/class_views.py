"""A manifest looked at through a view of its classes: what split, weights and training see under --classes or --group.

The class view is never written. Rows outside of it are as good as dropped for the stage that looks, and each such stage says how
many they are.
"""

import pandas as pd

from curate.errors import ManifestError
from curate.labels import ClassView


def look_through(manifest: pd.DataFrame, class_view: ClassView) -> pd.DataFrame:
    """The manifest with the labels as the view sees them; a row outside has status drop and no label.

    Raises
    ------
    ManifestError  if the view leaves no kept row
    """
    label = manifest["label"].map(class_view.class_of).fillna("").astype(manifest["label"].dtype)
    outside = label == ""
    seen = manifest.assign(label=label, status=manifest["status"].mask(outside, "drop"))
    if (manifest["status"] == "keep").any() and not (seen["status"] == "keep").any():
        raise ManifestError(
            f"manifest.csv: no kept row is of the classes {', '.join(class_view.class_of)}: choose others or leave the option out"
        )
    return seen


def count_outside(manifest: pd.DataFrame, class_view: ClassView) -> dict[str, int]:
    """Class -> kept rows that the view leaves out."""
    kept = manifest.loc[manifest["status"] == "keep", "label"]
    counts = kept[~kept.isin(list(class_view.class_of))].value_counts().sort_index()
    return {str(name): int(count) for name, count in counts.items()}


def format_outside(manifest: pd.DataFrame, class_view: ClassView) -> str:
    """The end of a stage's summary, or nothing where there is none."""
    if not class_view.name:
        return ""
    counts = count_outside(manifest, class_view)
    named = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return f"; view {class_view.name}: {sum(counts.values()):,} kept rows are outside of it" + (
        f" ({named})" if named else ""
    )
