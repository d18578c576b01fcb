"""Hugging Face's imagefolder: pictures beside a metadata.csv that names their labels.

    root/metadata.csv             file_name,label[,split][,subject]
    root/train/metadata.csv       or one in each split's folder
    root/train/0001.png           `file_name` is relative to the folder of its metadata.csv

A picture in a folder `train`, `validation` or `test` is of that split unless a column says another.
metadata.jsonl is read too. Labels that are numbers need `--map 0=angry` and so on. Where the
metadata has no label, class folders are (layout `folder`).
"""

from dataclasses import replace
from pathlib import Path, PurePosixPath

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
        found += [replace(row, source_split=row.source_split or _split_in(row)) for row in listed]
        notes += noted
    return Listing(top, found, notes)


def _split_in(row: SourceRow) -> str:
    """The split that the folders of the picture name, those of the root first; or empty."""
    folders = reversed(PurePosixPath(row.path).parents[:-1])
    return next(filter(None, (folder.split_of(Path(each)) for each in folders)), "")


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
