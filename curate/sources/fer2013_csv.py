"""FER2013 as the challenge shipped it: pixels in a CSV.

    fer2013.csv           emotion,pixels,Usage
    icml_face_data.csv    emotion, Usage, pixels      (leading spaces, other order)

`pixels` are 2,304 grey values of a 48 x 48 image. Each row becomes a PNG `<Usage>/<row>.png` under the workspace, the row
counted from 0 as FER+ counts it.
"""

import csv
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from curate.engine import track
from curate.errors import SourceError, examples
from curate.files import cannot_write, remove_quietly
from curate.images import Pixels, encode_png
from curate.sources import Listing, SourceRow
from curate.sources.fer2013 import USAGES

NAME = "fer2013_csv"
LOOKS_LIKE = "a CSV (or the folder of fer2013.csv, icml_face_data.csv) with the columns emotion, pixels, Usage"

FILES = ("fer2013.csv", "icml_face_data.csv")
COLUMNS = ("emotion", "pixels", "usage")
# The challenge's own codes.
CODES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
SIDE = 48


def detect(root: Path) -> bool:
    """Whether it is such a CSV, or a folder that holds one."""
    return _table_of(root) is not None


def rows(root: Path, *, unpack_to: Path, spellings: Mapping[str, str]) -> Listing:  # noqa: ARG001 - codes, not names
    """Write the pictures and list them, sorted by path.

    Raises
    ------
    SourceError  if a column is missing, or a row has another code, usage or number of pixels; no picture is written then
    WorkspaceError  if a picture cannot be written
    """
    table = _table_of(root)
    assert table is not None
    found = [_read_row(table, number, row)[0] for number, row in enumerate(track(_records(table), "rows"))]
    if not found:
        raise SourceError(f"{table}: the table has no row")
    for number, record in enumerate(track(_records(table), "pictures")):
        row, pixels = _read_row(table, number, record)
        _write_png(unpack_to / row.path, pixels)
    return Listing(unpack_to, sorted(found, key=lambda row: row.path))


def _table_of(root: Path) -> Path | None:
    if root.is_file():
        return root if root.suffix.lower() == ".csv" else None
    return next((root / name for name in FILES if (root / name).is_file()), None)


def _records(table: Path) -> Iterator[dict[str, str]]:
    csv.field_size_limit(min(sys.maxsize, 1 << 24))
    with table.open(newline="", encoding="utf-8-sig") as stream:
        reader = _lines(csv.reader(stream), table)
        header = [name.strip().strip('"').lower() for name in next(reader, [])]
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise SourceError(
                f"{table}: columns missing ({examples(missing)}; it has {examples(header, 5)}): {LOOKS_LIKE}"
            )
        yield from (dict(zip(header, (value.strip() for value in values), strict=False)) for values in reader)


def _lines(reader: Iterator[list[str]], table: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except (csv.Error, UnicodeDecodeError) as error:
        raise SourceError(f"{table}: no CSV text ({error}): restore the file") from error


def _read_row(table: Path, number: int, record: Mapping[str, str]) -> tuple[SourceRow, Pixels]:
    where = f"{table} row {number}"
    code, usage = record.get("emotion", ""), record.get("usage", "")
    if code not in map(str, range(len(CODES))):
        raise SourceError(f"{where}: emotion '{code}' is no code: 0 to 6 are {', '.join(CODES)}")
    if usage not in USAGES:
        raise SourceError(f"{where}: Usage '{usage}' is unknown: {', '.join(USAGES)}")
    row = SourceRow(f"{usage}/{number:05d}.png", CODES[int(code)], code, USAGES[usage])
    return row, _parse_pixels(record.get("pixels", ""), where)


def _parse_pixels(text: str, where: str) -> Pixels:
    try:
        values = [int(value) for value in text.split()]
    except ValueError as error:
        raise SourceError(f"{where}: pixels hold something that is no number: restore the file") from error
    if len(values) != SIDE * SIDE or min(values) < 0 or max(values) > 255:
        raise SourceError(
            f"{where}: {len(values)} pixels where {SIDE * SIDE} from 0 to 255 should be: restore the file"
        )
    return np.array(values, np.uint8).reshape(SIDE, SIDE)


def _write_png(file: Path, pixels: Pixels) -> None:
    partial = file.with_suffix(".tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(encode_png(pixels))  # no fsync for each: lost pictures are unpacked again
        partial.replace(file)
    except OSError as error:
        raise cannot_write(file, error) from error
    finally:
        remove_quietly(partial)
