"""The tables of a published curation: their columns, their keys, and the order of their rows.

A row is an image of the data set. Its key in every table is `pixel_sha256, given_label,
occurrence`: the hash of the decoded pixels, which any copy of the data set has, whatever its file
names are; the label that the data set gives; and a number for the images that share both. Nothing
is read or written here.
"""

import re
from collections.abc import Mapping

import pandas as pd

from curate.workspace.manifest import SPLITS, source_of

SCHEMA = 1
DIGITS = 64  # hex digits of a whole SHA-256
LEAST_DIGITS = 16
RECORD = "curation.json"
WITHDRAWN = "withdrawn.csv"
SPLIT_FOLDER = "splits"
KEY = ["pixel_sha256", "given_label", "occurrence"]
IMAGE_COLUMNS = [
    *KEY, "place", "source_split", "phash", "descriptor", "group", "subject", "quality", "status",
    "reason", "copy_of",
]  # fmt: skip
PAIR_COLUMNS = [
    "pixel_sha256_a", "place_a", "pixel_sha256_b", "place_b", "score", "transform", "band",
]  # fmt: skip
LABEL_COLUMNS = [
    *KEY, "suspicion_rank", "self_confidence", "error_probability", "suggested_label", "issue",
    "verdict", "verdict_label", "verdict_by", "machine_label", "machine_by",
]  # fmt: skip
SPLIT_COLUMNS = [*KEY, "label", "split"]
WITHDRAWN_COLUMNS = ["pixel_sha256"]
TABLES: Mapping[str, list[str]] = {
    "images.csv": IMAGE_COLUMNS,
    "pairs.csv": PAIR_COLUMNS,
    "labels.csv": LABEL_COLUMNS,
}
OFFICIAL = "official-"  # begins the name of a split of the source's own
CLEAN = "clean"  # begins the name of the workspace's split
PIXEL_TABLE = "fer2013_csv"  # the layout whose pictures have no file: their place is their row
GROUP_DIGITS = 16
HASH_RULE = (
    "SHA-256 of the ASCII text of the shape, as (48, 48) or (48, 48, 3), followed by the decoded "
    "pixels, uint8, row by row; a colour picture of equal channels is grey"
)
OCCURRENCE_RULE = (
    "images of equal pixel_sha256 and given_label are numbered 0, 1, ... in the order of the "
    "source: its split (train, val, test, none), then the row, or the file name with its numbers "
    "read as numbers"
)
_ROW = re.compile(r"[^/]+/([0-9]+)\.png")


def columns_of(table: str) -> list[str]:
    """The columns of a table, by its name in the curation."""
    if table.startswith(f"{SPLIT_FOLDER}/"):
        return SPLIT_COLUMNS
    return WITHDRAWN_COLUMNS if table == WITHDRAWN else TABLES[table]


def name_split_table(split: str) -> str:
    """`splits/NAME.csv`."""
    return f"{SPLIT_FOLDER}/{split}.csv"


def name_places(manifest: pd.DataFrame, layouts: Mapping[str, str]) -> "pd.Series[str]":
    """Where each row is in its source: `SOURCE/ROW` of a pixel table, else the manifest's path.

    Parameters
    ----------
    layouts : source -> its layout
    """

    def name_place(path: str) -> str:
        source = source_of(path)
        row = _ROW.fullmatch(path.removeprefix(f"{source}/"))
        if layouts.get(source) == PIXEL_TABLE and row:
            return f"{source}/{int(row[1])}"
        return path

    return manifest["path"].map(name_place)


def number_occurrences(rows: pd.DataFrame) -> "pd.Series[str]":
    """The column `occurrence` of rows with `pixel_sha256, given_label, source_split, place`."""
    rank = {name: k for k, name in enumerate((*SPLITS, ""))}
    keys = [
        (rank[split], natural_key(place))
        for split, place in zip(rows["source_split"], rows["place"], strict=True)
    ]
    order = sorted(range(len(rows)), key=keys.__getitem__)
    number = rows.iloc[order].groupby(KEY[:2]).cumcount()
    return number.reindex(rows.index).astype(str)


def natural_key(place: str) -> tuple[tuple[str, int], ...]:
    """Sorts `im9.png` before `im10.png`: runs of digits count as numbers."""
    parts = re.split(r"([0-9]+)", place)
    numbers = [int(digits) for digits in parts[1::2]]
    return tuple(zip(parts[::2], [*numbers, -1], strict=True))


def sort_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table in the order of their keys."""
    number = table["occurrence"].astype(int)
    order = table.assign(occurrence=number).sort_values(KEY, kind="stable").index
    return table.loc[order].reset_index(drop=True)
