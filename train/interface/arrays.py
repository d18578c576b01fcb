"""One split of a workspace as arrays, for a training of your own.

In: a workspace and a split. Out: the kept images with their labels and weights, those that `train
run` would train on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.errors import ManifestError, UsageError
from curate.stderr import notes_as_warnings
from curate.workspace.class_views import join_class_view
from curate.workspace.manifest import SPLITS
from curate.workspace.workspace import Workspace
from train.data.dataset import load_images, read_dataset, select_examples
from train.recipes.presets import FAST
from train.recipes.recipe import Recipe

MOST_PIXELS = 4096  # the side of a face; more is a mistake, and would fill the memory


@dataclass(frozen=True)
class LoadedSplit:
    """The kept images of one split; `images, labels, weights = train.load(…)` works too.

    Attributes
    ----------
    images : (N, S, S) uint8 grey, 0-255
    labels : (N,) int64, indices into `classes`
    weights : (N,) float32, the factor of each image in the loss; 1 without class weights
    classes : the classes of split train, in the order of the labels, whichever split was loaded
    paths : (N,) the path of each image in the manifest
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    classes: tuple[str, ...]
    paths: tuple[str, ...]

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        return iter((self.images, self.labels, self.weights))

    def __len__(self) -> int:
        return len(self.labels)


def load(
    workspace: str | Path = "manifests",
    split: str = "train",
    classes: str | int | Sequence[str] = "",
    *,
    size: int = 48,
    class_weights: str = "none",
) -> LoadedSplit:
    """The kept images of one split, each under the label that counts.

    Nothing counts how often split test is read this way; `train evaluate` does.

    Parameters
    ----------
    workspace : the folder with manifest.csv
    split : train, val or test
    classes : a class view: 5, 7, polarity, or two and more classes; empty for all
    size : S, side in pixels to which the faces are scaled
    class_weights : none, balanced, sqrt or effective (from the counts of split train), workspace
        (of `curate weights`) or a file; the same factors in every split

    Raises
    ------
    UsageError  if there is no such split, class view or scheme of class weights
    ManifestError  if a split is empty, a duplicate group is in two splits, or a label is not among
        the classes of split train
    WorkspaceError  if the class weights do not fit
    SourceError  if an image is gone or has changed
    """
    if split not in SPLITS:
        raise UsageError(f"split {split}: must be one of {', '.join(SPLITS)}")
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST_PIXELS:
        raise UsageError(f"size {size!r}: must be a whole number of 1 to {MOST_PIXELS:,} pixels")
    recipe = replace(FAST, class_weights=class_weights)  # of the rest only the targets count here
    class_view = join_class_view(classes)
    with notes_as_warnings():
        return _load(Workspace(Path(workspace)), split, recipe, class_view, size)


def _load(
    workspace: Workspace, split: str, recipe: Recipe, class_view: str, size: int
) -> LoadedSplit:
    dataset = read_dataset(workspace, recipe, class_view)
    viewed = dataset.viewed
    if not ((viewed["status"] == "keep") & (viewed["split"] == split)).any():
        raise ManifestError(
            f"manifest.csv: no kept row has split {split}: run `curate split --ratios 70 15 15`"
        )
    images = load_images(workspace, dataset.manifest, size)
    chosen = select_examples(dataset, images, split, recipe)
    return LoadedSplit(
        np.asarray(chosen.images[chosen.rows]),
        chosen.targets,
        chosen.weights,
        tuple(dataset.classes),
        tuple(viewed.loc[chosen.rows, "path"]),
    )
