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
from PIL import Image

from curate.engine import track
from curate.errors import SourceError, examples
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
    SourceError  if a column is missing, or a row has another code, usage or number of pixels
    """
    table = _table_of(root)
    assert table is not None
    found = [_unpack(table, number, row, unpack_to) for number, row in enumerate(track(_records(table), "rows"))]
    if not found:
        raise SourceError(f"{table}: the table has no row")
    return Listing(unpack_to, sorted(found, key=lambda row: row.path))


def _table_of(root: Path) -> Path | None:
    if root.is_file():
        return root if root.suffix.lower() == ".csv" else None
    return next((root / name for name in FILES if (root / name).is_file()), None)


def _records(table: Path) -> Iterator[dict[str, str]]:
    csv.field_size_limit(min(sys.maxsize, 1 << 24))
    with table.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream)
        header = [name.strip().strip('"').lower() for name in next(reader, [])]
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise SourceError(
                f"{table}: columns missing ({examples(missing)}; it has {examples(header, 5)}): {LOOKS_LIKE}"
            )
        yield from (dict(zip(header, (value.strip() for value in values), strict=False)) for values in reader)


def _unpack(table: Path, number: int, record: Mapping[str, str], folder: Path) -> SourceRow:
    where = f"{table} row {number}"
    code, usage = record.get("emotion", ""), record.get("usage", "")
    if code not in map(str, range(len(CODES))):
        raise SourceError(f"{where}: emotion '{code}' is no code: 0 to 6 are {', '.join(CODES)}")
    if usage not in USAGES:
        raise SourceError(f"{where}: Usage '{usage}' is unknown: {', '.join(USAGES)}")
    path = f"{usage}/{number:05d}.png"
    _write_png(folder / path, record.get("pixels", ""), where)
    return SourceRow(path, CODES[int(code)], code, USAGES[usage])


def _write_png(file: Path, text: str, where: str) -> None:
    try:
        values = np.array(text.split(), dtype=np.int64)
    except ValueError as error:
        raise SourceError(f"{where}: pixels hold something that is no number: restore the file") from error
    if values.size != SIDE * SIDE or values.min() < 0 or values.max() > 255:
        raise SourceError(
            f"{where}: {values.size} pixels where {SIDE * SIDE} from 0 to 255 should be: restore the file"
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".tmp")
    Image.fromarray(values.astype(np.uint8).reshape(SIDE, SIDE)).save(partial, format="png")
    partial.replace(file)
