"""FER2013 as the challenge shipped it: pixels in a CSV.

    fer2013.csv           emotion,pixels,Usage
    icml_face_data.csv    emotion, Usage, pixels    (leading spaces, other order)
    train.csv             emotion,pixels            (the Training rows; test.csv has no emotions)

`pixels` are 2,304 grey values of a 48 x 48 image. Each row becomes a PNG `<Usage>/<row>.png` under
the workspace, the row counted from 0 as FER+ counts it. The pictures of test.csv have no label;
they are counted and skipped.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from curate.errors import SourceError
from curate.sources.layout import LayoutOptions, Listing
from curate.sources.tables.pixel_tables import list_rows, read_row
from curate.sources.tables.text_tables import read_header, read_rows

NAME = "fer2013_csv"
LOOKS_LIKE = (
    "a CSV (or the folder of fer2013.csv, icml_face_data.csv, train.csv) "
    "with the columns emotion, pixels, Usage"
)
RECOGNISED_BY = "the column pixels, with codes 0 to 6"

FILES = ("fer2013.csv", "icml_face_data.csv", "train.csv")
# The challenge's own codes.
CODES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def detect(root: Path) -> bool:
    """Whether it is such a CSV, or a folder that holds one."""
    table = find_table(root)
    return table is not None and (table.name in FILES[:2] or "pixels" in read_header(table))


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Write the pictures and list them.

    Raises
    ------
    SourceError  if a column is missing, or a row has another code, usage or number of pixels; no
        picture is written then
    WorkspaceError  if a picture cannot be written
    """
    table = find_table(root)
    assert table is not None
    header = read_header(table)
    if table.name == "test.csv" and "emotion" not in header:
        raise SourceError(f"{table}: has no emotions, so no labels: name train.csv or fer2013.csv")
    usage = "Training" if table.name == "train.csv" and "usage" not in header else ""
    records, read = partial(_read_records, table, usage), partial(read_row, table, CODES)
    found = list_rows(records, read, str(table), options.unpack_to)
    numbered = [replace(row, table_row=number) for number, row in enumerate(found)]
    notes = _count_test(table) if usage else ()
    return Listing(options.unpack_to or table.parent, numbered, notes)


def find_table(root: Path) -> Path | None:
    """The table itself, or the one in the folder."""
    if root.is_file():
        return root if root.suffix.lower() == ".csv" else None
    for table in (root / name for name in FILES):
        if table.is_file() and (table.name != "train.csv" or "pixels" in read_header(table)):
            return table
    return None


def _read_records(table: Path, usage: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Row number and columns; `usage` for a table that has no such column."""
    needs = ("emotion", "pixels") if usage else ("emotion", "pixels", "usage")
    known = {"usage": usage} if usage else {}
    for number, record in enumerate(read_rows(table, needs, looks_like=LOOKS_LIKE)):
        yield number, {**record, **known}


def _count_test(table: Path) -> tuple[str, ...]:
    """A note with the number of unlabelled pictures in test.csv; none without that file."""
    test = table.with_name("test.csv")
    if not test.is_file():
        return ()
    count = sum(1 for _ in read_rows(test, ("pixels",), looks_like=LOOKS_LIKE))
    return (f"{count:,} pictures of test.csv have no label and were skipped",)
