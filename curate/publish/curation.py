"""A published curation on disk: read and checked, written whole.

In: a folder, or a record and its tables. Out: a `Curation` whose bytes fit the digests of
curation.json, or the files. `check` has the laws between the tables.
"""

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curate.csv_text import read_cell
from curate.errors import WorkspaceError, amount, find_reason, first_line, shorten
from curate.files import (
    SIGNATURE,
    ignore_sigint,
    read_bounded,
    record_bytes,
    remove_quietly,
    write_atomically,
)
from curate.publish.schema import (
    DIGITS,
    LEAST_DIGITS,
    OFFICIAL,
    RECORD,
    SCHEMA,
    SPLIT_FOLDER,
    TABLES,
    WITHDRAWN,
    columns_of,
    name_split_table,
)
from curate.workspace.manifest import export_bytes

MOST_BYTES = 1 << 30  # of one file; a million images take 0.2 GB
_COUNTS = ("rows", "unreadable")  # of each source
_HASH = re.compile(f"[0-9a-f]{{{LEAST_DIGITS},{DIGITS}}}")
AGAIN = "take an untouched copy of the curation, or `curate publish` it again"


@dataclass(frozen=True)
class Curation:
    """A curation.

    Attributes
    ----------
    record : curation.json without its digest
    tables : `images.csv`, `pairs.csv`, `labels.csv`, `splits/NAME.csv` -> rows of text
    """

    record: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.record['name']} {self.record['version']}"

    @property
    def images(self) -> pd.DataFrame:
        """The rows of images.csv."""
        return self.tables["images.csv"]

    @property
    def digits(self) -> int:
        """How many hex digits of a pixel hash the tables hold."""
        return int(self.record["pixel_sha256"]["digits"])

    @property
    def splits(self) -> dict[str, pd.DataFrame]:
        """Name -> rows of each split."""
        start = f"{SPLIT_FOLDER}/"
        names = [name for name in self.tables if name.startswith(start)]
        return {name[len(start) : -len(".csv")]: self.tables[name] for name in names}


def table_digests(tables: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, object]]:
    """File -> its SHA-256 and number of rows, for curation.json."""
    return {
        name: {"sha256": hashlib.sha256(export_bytes(table)).hexdigest(), "rows": len(table)}
        for name, table in sorted(tables.items())
    }


def write_curation(folder: Path, curation: Curation) -> list[str]:
    """Write the files of a curation; splits of an earlier publishing that it has no more are gone.

    The record is first: after a kill its digests refuse the older tables, until they are published
    again.

    Returns
    -------
    the files that changed

    Raises
    ------
    WorkspaceError  if a file cannot be written
    """
    earlier = [name for name in _list_known(folder) if name.startswith(f"{SPLIT_FOLDER}/")]
    data = {RECORD: record_bytes(curation.record)}
    data |= {name: export_bytes(table) for name, table in curation.tables.items()}
    with ignore_sigint():
        changed = [name for name, each in data.items() if write_atomically(folder / name, each)]
        for name in sorted(set(earlier) - set(data)):
            remove_quietly(folder / name)
            changed.append(name)
    return changed


def _list_known(folder: Path) -> list[str]:
    """The tables of an earlier publishing into the folder; none if its record is damaged."""
    try:
        names = list(json.loads(read_bounded(folder / RECORD, MOST_BYTES))["tables"])
    except (OSError, ValueError, LookupError, TypeError):
        return []
    return [name for name in names if _is_plain(name)]


def _is_plain(name: object) -> bool:
    """Whether a name of the record is one of our tables, and none outside of the folder."""
    if not isinstance(name, str):
        return False
    folder, _, file = name.rpartition("/")
    is_split = folder == SPLIT_FOLDER and re.fullmatch(r"[\w+-]+\.csv", file) is not None
    return is_split or name in TABLES


def read_record(folder: Path) -> dict[str, Any]:
    """curation.json, checked against its own digest and the schema of this version.

    Raises
    ------
    WorkspaceError  if it is missing, damaged, edited, or of another schema
    """
    file = folder / RECORD
    try:
        record = json.loads(read_bounded(file, MOST_BYTES))
        schema = record.get("schema")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        reason = find_reason(error)
        raise WorkspaceError(
            f"{file}: no curation ({reason}): name the folder that `curate publish` has written"
        ) from error
    if schema != SCHEMA:
        raise WorkspaceError(
            f"{file}: schema {schema}, and this version of Candid reads schema {SCHEMA}: "
            + ("update Candid" if _is_newer(schema) else "publish it again with this version")
        )
    signature = record.pop(SIGNATURE, "")
    if json.loads(record_bytes(record))[SIGNATURE] != signature:
        raise WorkspaceError(f"{file}: was changed after it was published: {AGAIN}")
    _require_fields(file, record)
    return dict(record)


def _is_newer(schema: object) -> bool:
    return isinstance(schema, int) and schema > SCHEMA


def _require_fields(file: Path, record: Mapping[str, Any]) -> None:
    try:
        is_whole = _has_whole_fields(record)
    except (LookupError, TypeError, ValueError, AttributeError):
        is_whole = False
    if not is_whole:
        raise WorkspaceError(f"{file}: fields are missing: {AGAIN}")


def _has_whole_fields(record: Mapping[str, Any]) -> bool:
    """Whether the fields that are read have their types; a missing one raises LookupError."""
    texts = [record[name] for name in ("name", "version", "licence", "cite", "default_split")]
    texts += [each["sha256"] for each in record["tables"].values()]
    counts = [each[name] for each in record["sources"].values() for name in _COUNTS]
    counts += [each["rows"] for each in record["tables"].values()]
    counts += [record["withdrawn"], record["pixel_sha256"]["digits"]]
    objects = [*record["splits"].values(), *record.get("stages", {}).values()]
    has_types = (
        all(isinstance(each, kind) for each in values)
        for values, kind in ((texts, str), (counts, int), (objects, dict))
    )
    is_known = set(TABLES) <= set(record["tables"]) and all(map(_is_plain, record["tables"]))
    return all(has_types) and is_known and record["pixel_sha256"]["digits"] > 0


def read_curation(folder: Path) -> Curation:
    """A curation whose every table has its digest, rows and columns.

    Raises
    ------
    WorkspaceError  if a file is missing, damaged, edited, or of another schema
    """
    record = read_record(folder)
    tables = {}
    for name, expected in record["tables"].items():
        data = _read_bytes(folder / name)
        if hashlib.sha256(data).hexdigest() != expected["sha256"]:
            raise WorkspaceError(
                f"{folder / name}: does not have the digest of {RECORD}, so it is not as it was "
                f"published: {AGAIN}"
            )
        tables[name] = parse_table(folder / name, data, columns_of(name))
        if len(tables[name]) != expected["rows"]:
            raise WorkspaceError(
                f"{folder / name}: {amount(len(tables[name]), 'row')}, and {RECORD} has "
                f"{expected['rows']}: {AGAIN}"
            )
    return Curation(record, tables)


def _read_bytes(file: Path) -> bytes:
    try:
        return read_bounded(file, MOST_BYTES)
    except OSError as error:
        raise WorkspaceError(f"{file}: cannot be read ({error.strerror}): {AGAIN}") from error


def parse_table(file: Path, data: bytes, columns: list[str]) -> pd.DataFrame:
    """The rows of a table of text; WorkspaceError unless it has exactly these columns."""
    try:
        table = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, UnicodeDecodeError) as error:
        raise WorkspaceError(f"{file}: no CSV table ({first_line(error)}): {AGAIN}") from error
    if list(table.columns) != columns:
        raise WorkspaceError(f"{file}: its columns are not {', '.join(columns)}: {AGAIN}")
    return table.map(read_cell)


def read_withdrawn(folder: Path) -> frozenset[str]:
    """The hashes of withdrawn.csv, or the first digits of some; none without the file.

    Raises
    ------
    WorkspaceError  if it is no such table
    """
    file = folder / WITHDRAWN
    if not file.is_file():
        return frozenset()
    table = parse_table(file, _read_bytes(file), columns_of(WITHDRAWN))
    hashes = table["pixel_sha256"].str.strip().str.lower()
    return require_hashes(str(file), frozenset(hashes) - {""})


def require_hashes(where: str, hashes: frozenset[str]) -> frozenset[str]:
    """The hashes; WorkspaceError unless each is 16 to 64 hex digits."""
    wrong = [each for each in sorted(hashes) if not _HASH.fullmatch(each)]
    if wrong:
        raise WorkspaceError(
            f"{where}: {amount(len(wrong), 'text is', 'texts are')} no pixel hash (first: "
            f"{shorten(wrong[0])}): copy pixel_sha256 from images.csv"
        )
    return hashes


def name_default_split(splits: Mapping[str, pd.DataFrame]) -> str:
    """The split that is applied unless another is named: the clean one; empty without any."""
    clean = [name for name in splits if not name.startswith(OFFICIAL)]
    return next(iter([*clean, *splits]), "")


def split_files(splits: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """`splits/NAME.csv` -> rows."""
    return {name_split_table(name): table for name, table in splits.items()}
