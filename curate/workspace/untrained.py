"""Classes that no model of a split can learn: they are in val or test and not in train.

Comes in: a manifest with a split. Goes out: the classes with their rows, and one warning.
"""

from collections.abc import Mapping

import pandas as pd

from curate.result import format_counts
from curate.workspace.manifest import kept_rows


def count_untrained(manifest: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Class -> split (val, test) -> its kept rows, of the classes that train does not have.

    Parameters
    ----------
    manifest : under the class view in use; empty if its train is empty, as with `--ratios 0 0 100`
    """
    kept = kept_rows(manifest)
    trained = set(kept.loc[kept["split"] == "train", "label"])
    untrained = kept[~kept["label"].isin(trained) & (kept["split"] != "")]
    if not trained:
        return {}
    counts: dict[str, dict[str, int]] = {}
    for label, rows in untrained.groupby("label"):
        per_split = rows["split"].value_counts().sort_index()
        counts[str(label)] = {str(split): int(count) for split, count in per_split.items()}
    return counts


def warn_of_untrained(counts: Mapping[str, Mapping[str, int]], command: str) -> list[str]:
    """At most one warning; `command` begins it, and `counts` is that of `count_untrained`."""
    if not counts:
        return []
    classes = "; ".join(f"{label}: {format_counts(splits)}" for label, splits in counts.items())
    plural = "classes are" if len(counts) > 1 else "class is"
    return [
        f"{command}: warning: {len(counts)} {plural} in no row of train ({classes}): no model "
        "learns it, and `train evaluate` refuses these rows; run `curate split` with another "
        "--seed or --ratios, relabel or drop them, or leave the class out with --classes"
    ]
