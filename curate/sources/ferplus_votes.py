"""FER+: ten crowd votes for every row of FER2013, joined to any form of FER2013.

    fer2013new.csv      Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF

The table has neither pixels nor Kaggle's file names: only the order of fer2013.csv. Pictures that came from the whole of that
CSV know their row. JPEG folders and tables from which rows were taken do not, so each picture looks for the row of fer2013.csv
that shows it: the nearest in pixels, and accepted only if it is near and no other photograph is nearly as near. Rows with
identical pixels are one photograph: the row with the picture's own usage and label is taken, else the first of them. What
finds no row gets no votes and is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curate import engine
from curate.errors import SourceError, UsageError, examples
from curate.images.decode import Pixels, UnreadableImageError, read_grey
from curate.sources.fer2013 import USAGES
from curate.sources.fer2013_csv import CODES, FILES
from curate.sources.layout import Listing, SourceRow
from curate.sources.tables.pixel_tables import SIDE, parse_pixels
from curate.sources.tables.text_tables import read_header, read_rows
from curate.workspace.manifest import split_face
from curate.workspace.votes import CROWD, votes_to_json

HEADER = (
    "usage", "image name", "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "nf",
)  # fmt: skip
# Root mean square of grey levels, 0-255. FER2013 saved again as JPEG lies 1.7 (quality 90) to 5.3 (75) from itself, 8.8 at
# most; half of all photographs lie over 40 from any other, and those nearer than 10 are re-crops of one photograph.
MAX_DISTANCE = 10.0
# Another photograph within this factor of the nearest is a rival: then usage and label must decide. FER2013 saved again at
# quality 92 (Kaggle's) finds every row up to a factor of 1.3; at 75 it loses 23 of 35,887 pictures here, 94 at 1.15; none of
# these finds a wrong photograph.
RIVAL_FACTOR = 1.02
CANDIDATES = 6
POOLED = 12  # side of the thumbnails that are searched: a sixteenth of the pixels finds the same neighbours
BLOCK = 2048  # pictures compared at once: 113 MB of floats

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CrowdTable:
    """The votes (JSON) and the usage's split of every row of fer2013.csv."""

    votes: list[str]
    splits: list[str]


@dataclass(frozen=True)
class PixelTable:
    """(N, 48, 48) uint8 of fer2013.csv, with label and split of every row."""

    pixels: Pixels
    labels: list[str]
    splits: list[str]


def is_ferplus(file: Path) -> bool:
    """Whether the file has FER+'s own columns."""
    return tuple(read_header(file)) == HEADER


def find_pixels(votes: Path, asked: Path | None) -> Path | None:
    """The pixel table to join by: the one asked for, or one that lies beside the votes."""
    if asked is not None and not asked.is_file():
        raise UsageError(
            f"build: --pixels {asked}: no such file: name fer2013.csv or icml_face_data.csv"
        )
    beside = (votes.parent / name for name in FILES[:2])
    return asked or next((file for file in beside if file.is_file()), None)


def join_votes(
    listing: Listing,
    votes: Path,
    pixels: Path | None,
    *,
    engine_name: engine.Engine,
    workers: int | None,
) -> tuple[Listing, str]:
    """The listing with FER+'s votes, and a note with the numbers.

    Raises
    ------
    SourceError  if a table is damaged, the tables do not fit each other or the rows, or there are no pixels to join by
    """
    table = _read_crowd(votes)
    if _knows_rows(listing, table):
        return _join_by_row(listing, table, votes)
    if pixels is None:
        raise SourceError(
            f"{votes}: of these {len(listing.rows):,} pictures it is not known which of its {len(table.votes):,} rows they are, "
            "so their pixels must find it: put the whole fer2013.csv beside the votes or name it with --pixels"
        )
    known = _read_pixels(pixels)
    if known.splits != table.splits:
        raise SourceError(
            f"{pixels}: its {len(known.splits):,} rows are not the {len(table.splits):,} rows of {votes.name} "
            "(number or Usage differ): take the CSV of the challenge in its own order"
        )
    images, readable = _read_images(listing, engine_name, workers)
    found = match_pixels(images, [listing.rows[k] for k in readable], known)
    row_of = dict(zip(readable, found.tolist(), strict=True))
    joined = [
        replace(row, votes=table.votes[row_of[k]]) if row_of.get(k, -1) >= 0 else row
        for k, row in enumerate(listing.rows)
    ]
    lost = [row.path for k, row in enumerate(listing.rows) if row_of.get(k, -1) < 0]
    return replace(listing, rows=joined), _summarize(len(joined), lost, "by pixels")


def match_pixels(images: Pixels, rows: Sequence[SourceRow], known: PixelTable) -> Rows:
    """The row of the table that shows each picture, or -1.

    Parameters
    ----------
    images : (M, 48, 48) uint8 grey
    rows : (M,) what the pictures' dataset says of them; split and label decide between equals
    known : N rows
    """
    if not len(images):
        return np.full(0, -1, np.int64)
    first, photograph = _find_photographs(known.pixels)
    nearest, distance = _find_nearest(images, known.pixels[first])
    rows_of: dict[int, list[int]] = {}
    for table_row, number in enumerate(photograph.tolist()):
        rows_of.setdefault(number, []).append(table_row)
    found = np.full(len(images), -1, np.int64)
    for k, row in enumerate(rows):
        near = distance[k] <= max(
            distance[k, 0] * RIVAL_FACTOR, 0.5
        )  # 0.5: rounding, should two be all but equal
        if distance[k, 0] <= MAX_DISTANCE:
            found[k] = _choose_row(
                [rows_of[number] for number in nearest[k, near].tolist()], row, known
            )
    return found


def _choose_row(photographs: Sequence[list[int]], wanted: SourceRow, known: PixelTable) -> int:
    """The row of the nearest photograph, unless a rival is as good a match; -1 then."""
    agreeing = [
        [
            r
            for r in rows
            if (known.splits[r], known.labels[r]) == (wanted.source_split, wanted.given_label)
        ]
        for rows in photographs
    ]
    if len(photographs) == 1:
        return (agreeing[0] or photographs[0])[0]
    only = [rows for rows in agreeing if rows]
    return only[0][0] if len(only) == 1 else -1


def _find_photographs(pixels: Pixels) -> tuple[Rows, Rows]:
    """The first row of each photograph, and the photograph of each row; identical pixels are one photograph."""
    number_of: dict[bytes, int] = {}
    photograph = np.array(
        [number_of.setdefault(image.tobytes(), len(number_of)) for image in pixels], np.int64
    )
    return np.unique(photograph, return_index=True)[1].astype(np.int64), photograph


def _find_nearest(images: Pixels, known: Pixels) -> tuple[Rows, Floats]:
    """(M, C) photographs and their distances in grey levels, nearest first; candidates by thumbnails, distances in full."""
    import faiss

    index = faiss.IndexFlatL2(POOLED * POOLED)
    index.add(_pool(known))
    numbers, distances = [], []
    for start in engine.track(range(0, len(images), BLOCK), "picture blocks"):
        block = images[start : start + BLOCK].astype(np.float32)
        _, near = index.search(_pool(images[start : start + BLOCK]), min(CANDIDATES, len(known)))
        distance = np.stack(
            [
                np.sqrt(((block - known[near[:, c]]) ** 2).mean(axis=(1, 2)))
                for c in range(near.shape[1])
            ],
            axis=1,
        )
        order = np.argsort(distance, axis=1, kind="stable")
        numbers.append(np.take_along_axis(near, order, 1))
        distances.append(np.take_along_axis(distance, order, 1))
    return np.concatenate(numbers), np.concatenate(distances)


def _pool(images: Pixels) -> Floats:
    """(M, 48, 48) -> (M, 144) means of 4 x 4 pixels."""
    side = SIDE // POOLED
    pooled: Floats = images.reshape(-1, POOLED, side, POOLED, side).mean(
        axis=(2, 4), dtype=np.float32
    )
    return pooled.reshape(-1, POOLED**2)


def _read_image(item: tuple[Path, str]) -> Pixels | None:
    try:
        return read_grey(*item, SIDE)
    except UnreadableImageError:
        return None


def _read_images(
    listing: Listing, engine_name: engine.Engine, workers: int | None
) -> tuple[Pixels, list[int]]:
    """The pictures that can be read, and which rows they are."""
    items = [(listing.image_root / split_face(row.path)[0], row.box) for row in listing.rows]
    decoded = engine.map(
        _read_image,
        items,
        what="pictures to join",
        engine=engine_name,
        workers=workers,
        chunk_size=256,
    )
    images = np.zeros((len(items), SIDE, SIDE), np.uint8)
    readable = []
    for k, image in enumerate(decoded):
        if image is not None:
            images[k] = image
            readable.append(k)
    return images[readable], readable


def _knows_rows(listing: Listing, table: CrowdTable) -> bool:
    """Whether every picture knows its row: rows that were counted in a table are those of the whole table alone."""
    numbers = {row.table_row for row in listing.rows}
    return None not in numbers and (
        len(numbers) == len(table.votes) or numbers != set(range(len(numbers)))
    )


def _join_by_row(listing: Listing, table: CrowdTable, file: Path) -> tuple[Listing, str]:
    wrong = [
        row.path
        for row in listing.rows
        if row.table_row is not None
        and (row.table_row >= len(table.splits) or table.splits[row.table_row] != row.source_split)
    ]
    if wrong:
        raise SourceError(
            f"{file}: its {len(table.splits):,} rows are not those of the pictures: Usage differs at {len(wrong):,} of "
            f"{len(listing.rows):,} ({examples(wrong)}): take the table of the challenge in its own order"
        )
    joined = [replace(row, votes=table.votes[row.table_row or 0]) for row in listing.rows]
    return replace(listing, rows=joined), _summarize(len(joined), [], "by row")


def _summarize(total: int, lost: Sequence[str], how: str) -> str:
    share = 100 * (total - len(lost)) / total
    rest = f"; {len(lost):,} found no row ({examples(lost)})" if lost else ""
    return f"FER+ votes joined {how}: {total - len(lost):,} of {total:,} pictures ({share:.2f} %){rest}"


def _read_crowd(file: Path) -> CrowdTable:
    votes, splits = [], []
    for number, row in enumerate(read_rows(file, HEADER, looks_like="FER+'s fer2013new.csv")):
        counts = [row.get(name, "") for name in HEADER[2:]]
        if row["usage"] not in USAGES or not all(count.isdigit() for count in counts):
            raise SourceError(
                f"{file} row {number}: no Usage with {len(CROWD)} counts: restore the file"
            )
        votes.append(votes_to_json(dict(zip(CROWD, map(int, counts), strict=True))))
        splits.append(USAGES[row["usage"]])
    return CrowdTable(votes, splits)


def _read_pixels(file: Path) -> PixelTable:
    images, labels, splits = [], [], []
    needs = ("emotion", "pixels", "usage")
    for number, row in enumerate(
        engine.track(read_rows(file, needs, looks_like="the challenge's fer2013.csv"), "rows")
    ):
        where = f"{file} row {number}"
        if row["usage"] not in USAGES or row["emotion"] not in map(str, range(len(CODES))):
            raise SourceError(
                f"{where}: emotion '{row['emotion']}', Usage '{row['usage']}': restore the file"
            )
        images.append(parse_pixels(row["pixels"], where))
        labels.append(CODES[int(row["emotion"])])
        splits.append(USAGES[row["usage"]])
    if not images:
        raise SourceError(f"{file}: the table has no row")
    return PixelTable(np.stack(images), labels, splits)
