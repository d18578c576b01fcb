"""Hugging Face's imagefolder: pictures beside a metadata.csv that names their labels.

    root/metadata.csv             file_name,label[,split][,subject]
    root/train/metadata.csv       or one in each split's folder
    root/train/0001.png           `file_name` is relative to the folder of its metadata.csv

metadata.jsonl is read too. Labels that are numbers need `--map 0=angry` and so on. Where the
metadata has no label, class folders are (layout `folder`).
"""

from pathlib import Path

from curate.sources import folder
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.table import has_columns, list_table
from curate.sources.tables.pictures import subfolders, unwrap

NAME = "imagefolder"
LOOKS_LIKE = "metadata.csv (or metadata.jsonl) with the columns file_name and label"
RECOGNISED_BY = "the file metadata.csv, in the root or in the folders of the splits"

FILES = ("metadata.csv", "metadata.jsonl")


def detect(root: Path) -> bool:
    """Whether such a table lies there."""
    return root.is_dir() and bool(_find_tables(root))


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every labelled row of each table whose picture is there; raises what a table raises."""
    top = unwrap(root)
    found: list[SourceRow] = []
    notes: tuple[str, ...] = ()
    for table in _find_tables(root):
        split = "" if table.parent == top else folder.split_of(table.parent)
        listed, noted = list_table(table, top, options, split)
        found += listed
        notes += noted
    return Listing(top, found, notes)


def _find_tables(root: Path) -> list[Path]:
    """The tables with labels: in the root (or its archive's own folder), or in folders of it."""
    top = unwrap(root)
    if folder.split_of(top) and top != root:
        top = top.parent
    places = [
        top,
        *subfolders(top),
        *(each for data in (top / "data",) if data.is_dir() for each in subfolders(data)),
    ]
    tables = [place / name for place in places for name in FILES]
    return [table for table in tables if table.is_file() and has_columns(table)]
