"""From manifest rows to pixels: every face as (S, S) uint8 grey, in memory where they fit, else read as they are needed.

Both forms answer `images[rows]` with the same bytes, so nothing after this module knows which it holds. Decoded pixels are
kept in the workspace's cache under a name made from the manifest's pixel hashes, so a changed image is never served stale.
"""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate import engine
from curate.errors import ManifestError, SourceError
from curate.files import write_atomically
from curate.images import UnreadableImageError, read_grey
from curate.labels import TRAINED_CLASSES
from curate.workspace import Workspace

Rows = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]
# FER2013 takes 83 MB and AffectNet at 48 pixels 1 GB; beyond this a laptop with 8 GB would begin to swap.
MEMORY_BUDGET_BYTES = 2 << 30
CHUNK_IMAGES = 256


class Images(Protocol):
    """`images[rows]` is (len(rows), S, S) uint8, by row number of the manifest."""

    def __getitem__(self, rows: Rows, /) -> Any: ...


@dataclass(frozen=True)
class FileImages:
    """Images that are read from their files at every access, for datasets larger than memory."""

    items: Sequence[tuple[Path, str]]
    size: int

    def __getitem__(self, rows: Rows) -> Pixels:
        return np.stack([read_face((*self.items[row], self.size)) for row in rows])


@dataclass(frozen=True)
class Examples:
    """Rows of the manifest to learn from.

    Attributes
    ----------
    images : all images, by row number
    rows : (N,) row numbers
    targets : (N,) class indices
    weights : (N,) float32, the factor of each row's loss, 1 for none
    """

    images: Images
    rows: Rows
    targets: Rows
    weights: npt.NDArray[np.float32]


def load_images(
    workspace: Workspace, manifest: pd.DataFrame, size: int = 48, budget_bytes: int = MEMORY_BUDGET_BYTES
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
    items = _list_files(workspace.locate(), manifest)
    if len(manifest) * size * size > budget_bytes:
        return FileImages(items, size)
    digest = _digest_pixels(manifest, size)
    file = workspace.cache / f"pixels-{size}-{digest}.npy"
    if not file.is_file():
        _write_cache(file, _decode(items, manifest, size))
    return np.asarray(np.load(file))


def read_face(item: tuple[Path, str, int]) -> Pixels:
    """(S, S) uint8 of (file, box, S)."""
    file, box, size = item
    try:
        return read_grey(file, box, size)
    except UnreadableImageError as problem:
        raise SourceError(
            f"{file}: cannot be read any more ({problem}): bring the image back or run `curate build` again"
        ) from problem


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


def _list_files(file_of: Callable[[str], Path], manifest: pd.DataFrame) -> list[tuple[Path, str]]:
    return [(file_of(path), box) for path, box in zip(manifest["path"], manifest["box"], strict=True)]


def _decode(items: Sequence[tuple[Path, str]], manifest: pd.DataFrame, size: int) -> Pixels:
    readable = number_rows(manifest["pixel_hash"] != "")
    images = np.zeros((len(items), size, size), np.uint8)
    work = [(*items[row], size) for row in readable]
    decoded = engine.map(read_face, work, what="images", chunk_size=CHUNK_IMAGES)
    for row, image in zip(readable, decoded, strict=True):
        images[row] = image
    return images


def _digest_pixels(manifest: pd.DataFrame, size: int) -> str:
    text = "\n".join(manifest["path"] + "\t" + manifest["pixel_hash"])
    return hashlib.sha256(f"{size}\n{text}".encode()).hexdigest()[:16]


def _write_cache(file: Path, images: Pixels) -> None:
    buffer = io.BytesIO()
    np.save(buffer, images)
    write_atomically(file, buffer.getvalue())
    for old in file.parent.glob(f"{file.name.rpartition('-')[0]}-*.npy"):
        if old != file:
            old.unlink(missing_ok=True)
