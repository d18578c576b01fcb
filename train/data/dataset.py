"""What a recipe learns from: the kept rows of split train and val, as a view of the classes sees them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from curate.errors import ManifestError
from curate.labels import find_class_view
from curate.workspace.class_views import look_through
from curate.workspace.invariants import require_split
from curate.workspace.manifest import kept_rows
from curate.workspace.workspace import Workspace
from train.data.images import (
    Examples,
    Images,
    count_labels,
    encode_labels,
    list_classes,
    number_rows,
)
from train.data.targets import choose_class_weights, soften_labels
from train.recipes.recipe import Recipe


@dataclass(frozen=True)
class Dataset:
    """The rows of a workspace as a run learns from them.

    `sha256` is that of manifest.csv just before it was read: one that is rewritten meanwhile has another.
    """

    sha256: str
    manifest: pd.DataFrame
    seen: pd.DataFrame
    classes: list[str]
    rows: dict[str, dict[str, int]]
    class_weights: dict[str, float] | None


def read_dataset(workspace: Workspace, recipe: Recipe, class_view: str = "") -> Dataset:
    """The rows of a workspace as the recipe would learn from them.

    Raises
    ------
    ManifestError  if there is nothing to train or to validate on, or a photograph stands on both sides of the split
    WorkspaceError  if class weights are asked for and there are none that fit
    """
    manifest, sha256 = workspace.read_hashed()
    require_split(manifest)
    seen = look_through(manifest, find_class_view(class_view))
    classes, rows = _count_rows(seen)
    weights = choose_class_weights(recipe.class_weights, workspace.class_weights, rows["train"])
    return Dataset(sha256, manifest, seen, classes, rows, weights)


def choose_rows(
    dataset: Dataset, images: Images, split: str, recipe: Recipe, class_view: str = ""
) -> Examples:
    """The kept rows of a split with their targets; those of train with weights, and with votes where they are asked for."""
    seen, classes, weights = dataset.seen, dataset.classes, dataset.class_weights
    rows = number_rows((seen["status"] == "keep") & (seen["split"] == split))
    targets = encode_labels(seen.loc[rows, "label"], classes, f"split {split}")
    factors = np.array([weights[name] if weights else 1.0 for name in classes], np.float32)
    is_soft = recipe.soft_labels and split == "train"
    beliefs = (
        soften_labels(
            seen.loc[rows, "votes"],
            targets,
            classes,
            find_class_view(class_view),
            (seen.loc[rows, "reason"] == "human").tolist(),
        )
        if is_soft
        else None
    )
    return Examples(images, rows, targets, factors[targets], beliefs)


def _count_rows(manifest: pd.DataFrame) -> tuple[list[str], dict[str, dict[str, int]]]:
    """The classes of split train, and the kept rows per split and class."""
    kept = kept_rows(manifest)
    counts = {
        split: count_labels(kept.loc[kept["split"] == split, "label"]) for split in ("train", "val")
    }
    for split, labels in counts.items():
        if not labels:
            raise ManifestError(
                f"manifest.csv: no kept row has split {split}: run `curate split --ratios 70 15 15`"
            )
    classes = list_classes(kept.loc[kept["split"] == "train", "label"])
    if len(classes) < 2:
        raise ManifestError(
            f"manifest.csv: the rows of split train are all {classes[0]}: there is nothing to tell apart"
        )
    return classes, counts
