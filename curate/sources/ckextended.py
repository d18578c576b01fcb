"""CK+ in the form of fer2013.csv (Kaggle's ckextended.csv).

    ckextended.csv        emotion,pixels,Usage        920 rows: 327 peaks and 593 neutral frames

FER2013's codes and 7 for contempt. The table names no person, though CK+ shows 123 of them several
times: a new split cannot keep people apart, so `curate split --by-subject` refuses it. Its Usage
was drawn by rows and separates no people either. Use CK+48 or the official tree where you have
them.
"""

from functools import partial
from itertools import islice
from pathlib import Path

from curate.sources.fer2013_csv import CODES as FER_CODES
from curate.sources.layout import LayoutOptions, Listing
from curate.sources.tables.pixel_tables import (
    list_rows,
    open_tables,
    read_row,
    refuse_half_map,
)
from curate.sources.tables.text_tables import SUFFIXES, note_unlabelled, read_header, read_rows

NAME = "ckextended"
LOOKS_LIKE = "ckextended.csv (or its folder): columns emotion, pixels, Usage, codes 0 to 7"
RECOGNISED_BY = "the file name, or exactly 920 rows of pixels"

FILE = "ckextended.csv"
ROWS = 920  # 327 peaks and 593 neutral frames
CODES = (*FER_CODES, "contempt")
COLUMNS = ("emotion", "pixels", "usage")
NOTE = (
    "the table names no person, and CK+ shows each several times: splits cannot keep people apart "
    "(`curate split --by-subject` refuses), so scores on it are too high"
)


def detect(root: Path) -> bool:
    """Whether it is the file of that name, or a pixel table of exactly its length."""
    table = root / FILE if root.is_dir() else root
    if table.suffix.lower() not in SUFFIXES or not table.is_file():
        return False
    if not set(COLUMNS) <= set(read_header(table)):
        return False
    if table.name == FILE:
        return True
    first_rows = islice(read_rows(table, COLUMNS, looks_like=LOOKS_LIKE), ROWS + 1)
    return sum(1 for _ in first_rows) == ROWS


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Write the pictures and list them; raises what FER2013's table raises."""
    table = root / FILE if root.is_dir() else root
    read = partial(read_row, CODES, options.spellings)
    found = list_rows(open_tables([(table, "")], LOOKS_LIKE), read, str(table), options.unpack_to)
    refuse_half_map(found.rows, CODES, options.spellings, str(table))
    notes = (NOTE, *note_unlabelled(found.total - len(found.rows), [table]))
    return Listing(
        options.unpack_to or table.parent,
        found.rows,
        notes,
        table_length=found.total,
        open_pixels=found.open_pixels,
    )
