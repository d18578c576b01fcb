"""From manifest rows to pixels: every face as (S, S) uint8 grey, in memory where they fit, else mapped from the cache.

Both forms answer `images[rows]` with the same bytes, so nothing after this module knows which it holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.errors import ManifestError
from curate.images.thumbnails import load_thumbnails
from curate.labels import TRAINED_CLASSES
from curate.workspace.workspace import Workspace

Rows = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]
# FER2013 takes 83 MB and AffectNet at 48 pixels 1 GB; beyond this a laptop with 8 GB would begin to swap.
MEMORY_BUDGET_BYTES = 2 << 30


class Images(Protocol):
    """`images[rows]` is (len(rows), S, S) uint8, by row number of the manifest."""

    def __getitem__(self, rows: Rows, /) -> Any: ...


@dataclass(frozen=True)
class Examples:
    """Rows of the manifest to learn from.

    Attributes
    ----------
    images : all images, by row number
    rows : (N,) row numbers
    targets : (N,) class indices
    weights : (N,) float32, the factor of each row's loss, 1 for none
    beliefs : (N, K) float32 soft targets that sum to 1, or None: the class index is all
    """

    images: Images
    rows: Rows
    targets: Rows
    weights: npt.NDArray[np.float32]
    beliefs: npt.NDArray[np.float32] | None = None


def load_images(
    workspace: Workspace,
    manifest: pd.DataFrame,
    size: int = 48,
    budget_bytes: int = MEMORY_BUDGET_BYTES,
) -> Images:
    """Every face of the manifest, by row number; an unreadable row is black and must not be asked for.

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
    return (
        images if len(manifest) * size * size > budget_bytes else images[np.arange(len(manifest))]
    )


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
            f"{where}: {count} rows are labelled {', '.join(unknown)}, which the model does not know "
            f"(it knows {', '.join(classes)}): relabel or drop them, or train a model with these classes"
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
