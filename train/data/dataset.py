"""The examples that a network trains on: images, targets and weights of the rows of a manifest.

Input: a workspace and a recipe. Output: a `Dataset` with the rows of the class view, and `Examples`
of one split. Every face is (S, S) uint8 grey, in memory if all of them fit, else mapped from the
cache. Both forms return the same bytes for `images[rows]`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.class_weights import Scheme, weigh_classes
from curate.errors import ManifestError, UsageError, amount
from curate.images.thumbnails import load_thumbnails
from curate.labels import TRAINED_CLASSES
from curate.workspace.class_views import apply_class_view, find_class_view
from curate.workspace.invariants import require_split
from curate.workspace.manifest import kept_rows
from curate.workspace.workspace import Workspace, read_class_weights
from train.data.targets import (
    Beliefs,
    mix_beliefs,
    read_beliefs,
    share_beliefs,
    soften_labels,
    weigh_targets,
)
from train.recipes.recipe import BELIEFS, SCHEMES, Recipe, find_targets

Rows = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]
# FER2013 takes 83 MB and AffectNet at 48 pixels 1 GB; a laptop with 8 GB swaps beyond this.
MEMORY_BUDGET_BYTES = 2 << 30
# The value of `--class-weights` given without one: the table of `curate weights`.
OF_WORKSPACE = "workspace"


class Images(Protocol):
    """`images[rows]` is (len(rows), S, S) uint8, by row number of the manifest."""

    def __getitem__(self, rows: Rows, /) -> Any: ...


@dataclass(frozen=True)
class Examples:
    """Rows of the manifest to train or validate on.

    Attributes
    ----------
    images : all images, by row number
    rows : (N,) row numbers
    targets : (N,) class indices
    weights : (N,) float32, the factor of each row's loss, 1 for none; the loss of a batch is the
        sum over its rows of weight * cross-entropy, divided by the number of rows
    soft_targets : (N, K) float32, each row sums to 1, in place of `targets`; or None
    """

    images: Images
    rows: Rows
    targets: Rows
    weights: npt.NDArray[np.float32]
    soft_targets: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Dataset:
    """The rows of a workspace that a recipe trains and validates on.

    Attributes
    ----------
    sha256 : of manifest.csv just before it was read; a later version of the file has another
    manifest : all rows, as in the file
    viewed : the same rows with the labels and statuses of the class view; under `--targets given`
        the labels are the given ones
    class_view : name of the class view, empty for all classes
    classes : the classes of split train, in the order of the model's outputs
    counts : split (train, val) -> class -> kept rows
    class_weights : class -> weight, or None for none
    beliefs : the tables that the loss aims at, or None
    """

    sha256: str
    manifest: pd.DataFrame
    viewed: pd.DataFrame
    class_view: str
    classes: list[str]
    counts: dict[str, dict[str, int]]
    class_weights: dict[str, float] | None
    beliefs: Beliefs | None = None

    @property
    def train_rows(self) -> int:
        """Number of kept rows of split train."""
        return sum(self.counts["train"].values())


def read_dataset(workspace: Workspace, recipe: Recipe, class_view: str = "") -> Dataset:
    """The rows of a workspace that the recipe would train on.

    Raises
    ------
    ManifestError  if split train or val is empty, or a duplicate group is in two splits
    UsageError  if class_weights.csv counts other labels than those that the recipe aims at
    WorkspaceError  if the recipe wants class weights and no fitting ones exist
    PredictionsError  if the recipe aims at a table that is missing, damaged, or made by models that
        learned from val or test
    """
    manifest, sha256 = workspace.read_hashed()
    require_split(manifest)
    viewed = aim_labels(manifest, recipe)
    if recipe.class_weights == OF_WORKSPACE and (viewed["label"] != manifest["label"]).any():
        raise UsageError(
            "--targets given: class_weights.csv counts the labels after decisions: give "
            "--class-weights balanced, sqrt, effective or a file of your own"
        )
    if class_view:
        viewed = apply_class_view(viewed, find_class_view(class_view))
    classes, counts = _count_rows(viewed)
    weights = choose_class_weights(recipe.class_weights, workspace.class_weights, counts["train"])
    beliefs = None
    if find_targets(recipe) in BELIEFS:
        beliefs = read_beliefs(workspace, manifest, recipe.targets)
    return Dataset(sha256, manifest, viewed, class_view, classes, counts, weights, beliefs)


def aim_labels(manifest: pd.DataFrame, recipe: Recipe) -> pd.DataFrame:
    """The rows with the label that the recipe aims at: the given one under `--targets given`.

    Rows that are dropped have none.
    """
    if find_targets(recipe) != "given":
        return manifest
    return manifest.assign(label=manifest["given_label"].where(manifest["status"] == "keep", ""))


def select_examples(dataset: Dataset, images: Images, split: str, recipe: Recipe) -> Examples:
    """The kept rows of a split with their targets; those of train with weights and soft targets.

    The classes of val are the labels; of a posterior, which has another convention, they are the
    most probable classes.
    """
    viewed, classes, weights = dataset.viewed, dataset.classes, dataset.class_weights
    rows = number_rows((viewed["status"] == "keep") & (viewed["split"] == split))
    targets = encode_labels(viewed.loc[rows, "label"], classes, f"split {split}")
    factors = np.array([weights[name] if weights else 1.0 for name in classes], np.float32)
    if dataset.beliefs is not None:
        soft = _believe(dataset, dataset.beliefs, rows, targets, recipe)
        if split == "val":
            chosen = soft.argmax(axis=1) if recipe.targets == "posterior" else targets
            return Examples(images, rows, chosen, factors[chosen])
        soft, row_factors = weigh_targets(soft, factors)
        return Examples(images, rows, targets, row_factors, soft)
    soft_targets = None
    if find_targets(recipe) == "crowd" and split == "train":
        soft_targets = soften_labels(
            viewed.loc[rows, "votes"],
            targets,
            classes,
            find_class_view(dataset.class_view),
            (viewed.loc[rows, "reason"] == "human").tolist(),
        )
    return Examples(images, rows, targets, factors[targets], soft_targets)


def _believe(
    dataset: Dataset, beliefs: Beliefs, rows: Rows, targets: Rows, recipe: Recipe
) -> npt.NDArray[np.float32]:
    """(N, K) the soft targets of the rows by the tables that the loss aims at."""
    chosen, class_view = dataset.viewed.loc[rows], find_class_view(dataset.class_view)
    shares = share_beliefs(beliefs, chosen["path"], dataset.classes, class_view)
    weight = 1.0 if recipe.targets == "posterior" else recipe.belief_weight
    return mix_beliefs(shares, targets, (chosen["reason"] == "human").to_numpy(), weight)


def load_images(
    workspace: Workspace,
    manifest: pd.DataFrame,
    size: int = 48,
    budget_bytes: int = MEMORY_BUDGET_BYTES,
) -> Images:
    """Every face of the manifest, by row number; the image of an unreadable row is black: skip it.

    Parameters
    ----------
    size : side in pixels to which faces are scaled
    budget_bytes : most memory that decoded faces may take; beyond it they stay on disk

    Raises
    ------
    SourceError  if an image that `build` could read is gone
    """
    locate = workspace.locate()
    images = load_thumbnails(
        [(locate(path), box) for path, box in zip(manifest["path"], manifest["box"], strict=True)],
        list(manifest["pixel_hash"]),
        size=size,
        cache=workspace.cache,
        memory_bytes=budget_bytes,
    )
    is_too_large = len(manifest) * size * size > budget_bytes
    return images if is_too_large else images[np.arange(len(manifest))]


def choose_class_weights(
    choice: str, of_workspace: Path, counts: Mapping[str, int]
) -> dict[str, float] | None:
    """Class -> weight, or None for none.

    Parameters
    ----------
    choice : none, balanced, sqrt, effective (by the counts), workspace, or a file
    of_workspace : class_weights.csv of `curate weights`
    counts : class -> rows of split train

    Raises
    ------
    UsageError  if the choice is neither a scheme nor a file
    WorkspaceError  if the table does not fit the rows
    """
    if choice == "none":
        return None
    if choice in SCHEMES:
        scheme: Scheme = choice  # type: ignore[assignment]  # not "none" here
        weights = weigh_classes(np.array(list(counts.values()), np.int64), scheme)
        return {name: round(float(weight), 6) for name, weight in zip(counts, weights, strict=True)}
    if choice == OF_WORKSPACE:
        return read_class_weights(of_workspace, counts)
    if not Path(choice).is_file():
        here = f"; from {Path.cwd()} there is none" if Path(choice).suffix else ""
        raise UsageError(
            f"--class-weights {choice}: must be one of {', '.join(SCHEMES)}, or an existing file"
            f"{here}"
        )
    return read_class_weights(Path(choice), counts, check_counts=False)


def find_weights_file(choice: str, of_workspace: Path) -> Path | None:
    """The table of class weights that `choice` names, or None where it names none."""
    if choice in SCHEMES:
        return None
    return of_workspace if choice == OF_WORKSPACE else Path(choice)


def list_classes(labels: "pd.Series[str]") -> list[str]:
    """The classes that occur, in the order of the vocabulary, merged ones last."""
    present = set(labels)
    return [name for name in TRAINED_CLASSES if name in present]


def encode_labels(labels: "pd.Series[str]", classes: Sequence[str], where: str) -> Rows:
    """(N,) class indices.

    Raises
    ------
    ManifestError  if a label is not among the classes
    """
    unknown = sorted(set(labels) - set(classes))
    if unknown:
        count = int(labels.isin(unknown).sum())
        raise ManifestError(
            f"{where}: {amount(count, 'row has', 'rows have')} the labels {', '.join(unknown)}, "
            f"which are not classes of the model ({', '.join(classes)}): relabel or drop them, or "
            "train a model with these classes"
        )
    index = {name: k for k, name in enumerate(classes)}
    return np.array([index[name] for name in labels], np.int64)


def number_rows(mask: "pd.Series[bool]") -> Rows:
    """(M,) row numbers where the mask holds."""
    return np.flatnonzero(mask.to_numpy()).astype(np.int64)


def count_labels(labels: "pd.Series[str]") -> dict[str, int]:
    """Rows per class, in the order of the vocabulary."""
    counts = labels.value_counts()
    return {name: int(counts[name]) for name in list_classes(labels)}


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
    classes = list(counts["train"])
    absent = {name: count for name, count in counts["val"].items() if name not in classes}
    if absent:
        raise ManifestError(
            f"manifest.csv: split train has no row of {', '.join(absent)}, but val has "
            f"{sum(absent.values()):,}: leave the class out (--classes {','.join(classes)}), or "
            "run `curate split` with another --seed"
        )
    if len(classes) < 2:
        raise ManifestError(
            f"manifest.csv: all rows of split train have the class {classes[0]}: "
            "training needs two and more"
        )
    return classes, counts
