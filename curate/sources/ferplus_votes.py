"""FER+: ten crowd votes for every row of FER2013, joined to any form of FER2013.

    fer2013new.csv      Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,
                        contempt,unknown,NF

Comes in: a listing of faces and the table of votes. Goes out: the listing with votes. The table has
neither pixels nor Kaggle's file names: only the order of fer2013.csv. Pictures that were unpacked
from the whole of that CSV have their row number. JPEG folders and incomplete tables do not, so each
picture is matched to the row of fer2013.csv with the nearest pixels, and accepted only if it is
near and no other image is nearly as near. Rows with identical pixels are one image: the row with
the picture's own usage and label is taken, else the first of them. A picture without a row gets no
votes and is counted.
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
    "usage", "image name", "neutral", "happiness", "surprise", "sadness", "anger", "disgust",
    "fear", "contempt", "unknown", "nf",
)  # fmt: skip
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


def find_pixels(votes: Path, given: Path | None) -> Path | None:
    """The pixel table to join by: the given one, else one that lies beside the votes."""
    if given is not None and not given.is_file():
        raise UsageError(
            f"build: --pixels {given}: no such file: name fer2013.csv or icml_face_data.csv"
        )
    beside = (votes.parent / name for name in FILES[:2])
    return given or next((file for file in beside if file.is_file()), None)


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
    SourceError  if a table is damaged, the tables do not fit each other or the rows, or there are
        no pixels to join by
    """
    table = _read_crowd(votes)
    if _knows_rows(listing, table):
        return _join_by_row(listing, table, votes)
    if pixels is None:
        raise SourceError(
            f"{votes}: the row numbers of these {len(listing.rows):,} pictures among its "
            f"{len(table.votes):,} rows are unknown, so they are matched by pixels: put the whole "
            "fer2013.csv beside the votes or name it with --pixels"
        )
    known = _read_pixels(pixels)
    if known.splits != table.splits:
        raise SourceError(
            f"{pixels}: its {len(known.splits):,} rows are not the {len(table.splits):,} rows of "
            f"{votes.name} (number or Usage differ): take the CSV of the challenge in its own order"
        )
    images, readable = _read_images(listing, engine_name, workers)
    found = match_pixels(images, [listing.rows[k] for k in readable], known)
    row_of = {k: row for k, row in zip(readable, found.tolist(), strict=True) if row >= 0}
    joined = [
        replace(row, votes=table.votes[row_of[k]]) if k in row_of else row
        for k, row in enumerate(listing.rows)
    ]
    unmatched = [row.path for k, row in enumerate(listing.rows) if k not in row_of]
    return replace(listing, rows=joined), _summarize(len(joined), unmatched, "by pixels")


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
    nearest, distance = _find_nearest(images, known.pixels[first])
    rows_of: dict[int, list[int]] = {}
    for table_row, number in enumerate(image_of.tolist()):
        rows_of.setdefault(number, []).append(table_row)
    found = np.full(len(images), -1, np.int64)
    for k, row in enumerate(rows):
        if distance[k, 0] <= MAX_DISTANCE:
            near = distance[k] <= max(distance[k, 0] * RIVAL_FACTOR, ROUNDING)
            candidates = [rows_of[number] for number in nearest[k, near].tolist()]
            found[k] = _choose_row(candidates, row, known)
    return found


def _choose_row(candidates: Sequence[list[int]], wanted: SourceRow, known: PixelTable) -> int:
    """The row of the nearest image, or -1 if a rival is as good a match.

    `candidates` are the table rows of each near image, nearest image first.
    """
    agrees = (wanted.source_split, wanted.given_label)
    agreeing = [
        [row for row in rows if (known.splits[row], known.labels[row]) == agrees]
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
    for start in engine.track(range(0, len(images), BLOCK), "picture blocks"):
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
    """Whether the row numbers are those of the whole table.

    Rows numbered 0 to n - 1 are those of a shorter table, unless n is the length of the whole one.
    """
    numbers = {row.table_row for row in listing.rows}
    if None in numbers:
        return False
    return len(numbers) == len(table.votes) or numbers != set(range(len(numbers)))


def _join_by_row(listing: Listing, table: CrowdTable, file: Path) -> tuple[Listing, str]:
    wrong = [
        row.path
        for row in listing.rows
        if row.table_row is not None
        and (row.table_row >= len(table.splits) or table.splits[row.table_row] != row.source_split)
    ]
    if wrong:
        raise SourceError(
            f"{file}: its {len(table.splits):,} rows are not those of the pictures: Usage differs "
            f"at {len(wrong):,} of {len(listing.rows):,} ({examples(wrong)}): "
            "take the table of the challenge in its own order"
        )
    joined = [replace(row, votes=table.votes[row.table_row or 0]) for row in listing.rows]
    return replace(listing, rows=joined), _summarize(len(joined), [], "by row")


def _summarize(total: int, unmatched: Sequence[str], how: str) -> str:
    matched = total - len(unmatched)
    share = 100 * matched / total
    rest = f"; {len(unmatched):,} found no row ({examples(unmatched)})" if unmatched else ""
    return f"FER+ votes joined {how}: {matched:,} of {total:,} pictures ({share:.2f} %){rest}"


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
    known_codes = set(map(str, range(len(CODES))))
    records = engine.track(read_rows(file, needs, looks_like="the challenge's fer2013.csv"), "rows")
    for number, row in enumerate(records):
        where = f"{file} row {number}"
        if row["usage"] not in USAGES or row["emotion"] not in known_codes:
            raise SourceError(
                f"{where}: emotion '{row['emotion']}', Usage '{row['usage']}': restore the file"
            )
        images.append(parse_pixels(row["pixels"], where))
        labels.append(CODES[int(row["emotion"])])
        splits.append(USAGES[row["usage"]])
    if not images:
        raise SourceError(f"{file}: the table has no row")
    return PixelTable(np.stack(images), labels, splits)
