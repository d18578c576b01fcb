"""Which row of fer2013.csv a picture shows, by its pixels.

Comes in: 48 x 48 grey pictures, and the whole pixel table with label and split of every row. Goes
out: the row of each picture, or -1. A picture that equals an image of the table has its row. Any
other has the row of the nearest image, if that is near and no other image is nearly as near. Rows
with identical pixels are one image: the row with the picture's own usage and label is taken, else
the first of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.images.decode import Pixels
from curate.sources.layout import SourceRow
from curate.sources.tables.pixel_tables import SIDE
from curate.stderr import with_progress

# Root mean square of grey levels, 0-255. FER2013 saved again as JPEG lies 1.7 (quality 90) to 5.3
# (75) from itself, 8.8 at most; half of all images lie over 40 from any other, and those nearer
# than 10 are re-crops of one photograph.
MAX_DISTANCE = 10.0
# Another image within this factor of the nearest is a rival: then usage and label must decide.
# FER2013 saved again at quality 92 (Kaggle's) finds every row up to a factor of 1.3; at 75 it loses
# 23 of 35,887 pictures here, 94 at 1.15; none of these finds a wrong image.
RIVAL_FACTOR = 1.02
ROUNDING = 0.5  # grey levels; nearer than this two distances may be equal
CANDIDATES = 6
POOLED = 12  # side of the searched thumbnails: a sixteenth of the pixels, the same neighbours
BLOCK = 2048  # pictures compared at once: 113 MB of floats

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PixelTable:
    """(N, 48, 48) uint8 of fer2013.csv, with label and split of every row."""

    pixels: Pixels
    labels: list[str]
    splits: list[str]


def match_pixels(images: Pixels, rows: Sequence[SourceRow], known: PixelTable) -> Rows:
    """The row of the table that shows each picture, or -1.

    Parameters
    ----------
    images : (M, 48, 48) uint8 grey
    rows : (M,) the pictures in their own dataset; split and label decide between equals
    known : N rows
    """
    if not len(images):
        return np.full(0, -1, np.int64)
    first, image_of = _find_distinct(known.pixels)
    number_of = {known.pixels[row].tobytes(): number for number, row in enumerate(first.tolist())}
    nearest, distance = _find_nearest(images, known.pixels[first])
    rows_of: dict[int, list[int]] = {}
    for table_row, number in enumerate(image_of.tolist()):
        rows_of.setdefault(number, []).append(table_row)
    found = np.full(len(images), -1, np.int64)
    for k, row in enumerate(rows):
        identical = number_of.get(images[k].tobytes())
        if identical is not None:
            found[k] = _choose_row([rows_of[identical]], row, known)
        elif distance[k, 0] <= MAX_DISTANCE:
            near = distance[k] <= max(distance[k, 0] * RIVAL_FACTOR, ROUNDING)
            candidates = [rows_of[number] for number in nearest[k, near].tolist()]
            found[k] = _choose_row(candidates, row, known)
    return found


def _choose_row(candidates: Sequence[list[int]], wanted: SourceRow, known: PixelTable) -> int:
    """The row of the nearest image, or -1 if a rival is as good a match.

    `candidates` are the table rows of each near image, nearest image first.
    """
    agreeing = [
        [
            row
            for row in rows
            if known.labels[row] == wanted.given_label
            and wanted.source_split in ("", known.splits[row])
        ]
        for rows in candidates
    ]
    if len(candidates) == 1:
        return (agreeing[0] or candidates[0])[0]
    matches = [rows for rows in agreeing if rows]
    return matches[0][0] if len(matches) == 1 else -1


def _find_distinct(pixels: Pixels) -> tuple[Rows, Rows]:
    """The first row of each distinct image, and the number of the distinct image of each row."""
    number_of: dict[bytes, int] = {}
    numbers = [number_of.setdefault(image.tobytes(), len(number_of)) for image in pixels]
    image_of = np.array(numbers, np.int64)
    return np.unique(image_of, return_index=True)[1].astype(np.int64), image_of


def _find_nearest(images: Pixels, known: Pixels) -> tuple[Rows, Floats]:
    """(M, C) distinct images and their distances in grey levels, nearest first.

    The candidates are searched by thumbnails; the distances are of the full images.
    """
    import faiss

    index = faiss.IndexFlatL2(POOLED * POOLED)
    index.add(_pool(known))
    numbers, distances = [], []
    for start in with_progress(range(0, len(images), BLOCK), "picture blocks"):
        block = images[start : start + BLOCK].astype(np.float32)
        _, near = index.search(_pool(images[start : start + BLOCK]), min(CANDIDATES, len(known)))
        columns = [_measure_distance(block, known[column]) for column in near.T]
        distance = np.stack(columns, axis=1)
        order = np.argsort(distance, axis=1, kind="stable")
        numbers.append(np.take_along_axis(near, order, 1))
        distances.append(np.take_along_axis(distance, order, 1))
    return np.concatenate(numbers), np.concatenate(distances)


def _measure_distance(a: Floats, b: Pixels) -> Floats:
    """(M,) root mean square difference of (M, 48, 48) images in grey levels."""
    distance: Floats = np.sqrt(((a - b) ** 2).mean(axis=(1, 2)))
    return distance


def _pool(images: Pixels) -> Floats:
    """(M, 48, 48) -> (M, 144) means of 4 x 4 pixels."""
    side = SIDE // POOLED
    blocks = images.reshape(-1, POOLED, side, POOLED, side)
    pooled: Floats = blocks.mean(axis=(2, 4), dtype=np.float32)
    return pooled.reshape(-1, POOLED**2)
