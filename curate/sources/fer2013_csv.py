"""FER2013 as the challenge shipped it: pixels in a CSV.

    fer2013.csv           emotion,pixels,Usage
    icml_face_data.csv    emotion, Usage, pixels    (leading spaces, other order)
    train.csv             emotion,pixels            (the Training rows)
    test.csv              emotion,pixels            (or pixels alone: no labels)

`pixels` are 2,304 grey values of a 48 x 48 image. Each row becomes a PNG `<Usage>/<row>.png` under
the workspace, the row counted from 0 as FER+ counts it. `emotion` is the challenge's code 0 to 6 or
a word. Without a column `Usage` the file's name (train, val, test) is the split. Rows without an
emotion have no label; they are counted and skipped.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from curate.errors import SourceError, amount, examples
from curate.sources.layout import LayoutOptions, Listing
from curate.sources.tables.pictures import note_skipped, unwrap
from curate.sources.tables.pixel_tables import (
    NO_USAGE,
    list_rows,
    open_tables,
    read_row,
    refuse_half_map,
)
from curate.sources.tables.splits import USAGE_WORDS
from curate.sources.tables.text_tables import SUFFIXES, note_unlabelled, read_header, read_rows

NAME = "fer2013_csv"
LOOKS_LIKE = (
    "a CSV (or the folder of fer2013.csv, icml_face_data.csv, train.csv) "
    "with the columns emotion, pixels, Usage"
)
RECOGNISED_BY = "the column pixels, with codes 0 to 6"

# The whole table: train.csv and test.csv beside it hold the same rows.
FILES = ("fer2013.csv", "icml_face_data.csv")
# The challenge's own codes.
CODES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def detect(root: Path) -> bool:
    """Whether it is such a CSV, or a folder that holds one."""
    return bool(_find_tables(root))


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Write the pictures and list them.

    Raises
    ------
    SourceError  if a column is missing, or a row has another code, usage or number of pixels; no
        picture is written then
    WorkspaceError  if a picture cannot be written
    """
    there = _find_tables(root)
    chosen = _choose_tables(there, root)
    labelled = [table for table in chosen if _has_labels(table)]
    if not labelled:
        raise SourceError(
            f"{chosen[0]}: has no emotions, so no labels: name train.csv or fer2013.csv"
        )
    where = str(labelled[0])
    records = open_tables([(table, _usage_of(table)) for table in labelled], LOOKS_LIKE)
    read = partial(read_row, CODES, options.spellings)
    found = list_rows(records, read, where, options.unpack_to)
    refuse_half_map(found.rows, CODES, options.spellings, where)
    beside = [table.name for table in there if table not in chosen]
    notes = (
        *note_unlabelled(found.total - len(found.rows), labelled),
        *(note for table in chosen if table not in labelled for note in _count_unlabelled(table)),
        *note_skipped(beside, "pixel table", f"beside {chosen[0].name} with its rows"),
    )
    return Listing(
        options.unpack_to or labelled[0].parent,
        found.rows,
        notes,
        table_length=found.total,
        open_pixels=found.open_pixels,
    )


def _find_tables(root: Path) -> list[Path]:
    """The table itself, or the pixel tables in the folder, the whole ones first."""
    if root.is_file():
        return [root] if _is_table(root) else []
    if not root.is_dir():
        return []
    inside = [file for file in sorted(unwrap(root).iterdir()) if _is_table(file)]
    return sorted(inside, key=lambda file: file.name not in FILES)


def _is_table(file: Path) -> bool:
    if file.suffix.lower() not in SUFFIXES or not file.is_file() or file.name.startswith("."):
        return False
    return file.name in FILES or "pixels" in read_header(file)


def _choose_tables(tables: Sequence[Path], root: Path) -> list[Path]:
    """The one whole table, else the tables that are named after a split.

    Raises
    ------
    SourceError  if there are several tables and their names do not name their splits
    """
    if len(tables) == 1 or tables[0].name in FILES:
        return [tables[0]]
    parts = [table for table in tables if table.stem.lower() in USAGE_WORDS]
    if len(parts) < len(tables):
        raise SourceError(
            f"{root}: holds {len(tables)} pixel tables "
            f"({examples([table.name for table in tables])}) and no fer2013.csv: "
            f"name one, as in `curate build {tables[0]}`"
        )
    order = ("train", "val", "test")
    return sorted(parts, key=lambda table: order.index(USAGE_WORDS[table.stem.lower()]))


def _usage_of(table: Path) -> str:
    """The Usage of the rows of a table without such a column; empty where it must have one."""
    if table.name in FILES or "usage" in read_header(table):
        return ""
    split = USAGE_WORDS.get(table.stem.lower(), "")
    return "Training" if split == "train" else split or NO_USAGE


def _has_labels(table: Path) -> bool:
    split = USAGE_WORDS.get(table.stem.lower(), "")
    return split in ("", "train") or "emotion" in read_header(table)


def _count_unlabelled(table: Path) -> tuple[str, ...]:
    """A note with the number of pictures of a table without emotions."""
    count = sum(1 for _ in read_rows(table, ("pixels",), looks_like=LOOKS_LIKE))
    return (f"skipped {amount(count, 'picture')} of {table.name} without a label",)
