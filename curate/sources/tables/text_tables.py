"""Rows of the datasets' own tables: CSV, JSON lines and Parquet, all values as text.

Comes in: a table with the header and spaces as its authors wrote them; a CSV in any usual encoding
and with any usual delimiter. Goes out: lower-case columns and stripped values. A damaged file is
refused.
"""

import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from curate.csv_text import CsvForm, find_form, read_csv, read_text
from curate.errors import SourceError, amount, examples, shorten
from curate.sources.tables.parquet_tables import read_parquet, write_cell
from curate.stderr import note_once

SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".parquet")
# A value that means "no label" where a program wrote the table.
NO_LABEL = frozenset({"", "nan", "null", "n/a"})
_LONGEST = 40  # characters of a column name in a message; a pixel row without header has 8,000


def read_header(file: Path) -> list[str]:
    """Column names in lower case without spaces and quotes; empty if the file is no table."""
    try:
        return read_columns(file)
    except SourceError:
        return []


def read_columns(file: Path) -> list[str]:
    """`read_header`, with the reason for a file that is no table.

    Raises
    ------
    SourceError  if the file is no table, or cannot be opened
    """
    if file.suffix.lower() in _OTHERS:
        return _clean(next(_open_rows(file), []))
    return _clean(next(read_csv(file, find_form(file, whole=False)), []))


# Role -> the names that its column may have.
UNIT_NAMES = {
    "subject": ("subject", "person", "subject_id"),
    "sequence": ("sequence", "video", "clip"),
}


def read_rows(file: Path, needs: Sequence[str], *, looks_like: str) -> Iterator[dict[str, str]]:
    """Each row as column -> value, without the spaces around them; columns in lower case.

    Raises
    ------
    SourceError  if a needed column is missing or there twice, a row has more values than the header
        has columns, or the file is no CSV text
    """
    rows = _open_rows(file)
    header = _clean(next(rows, []))
    missing = [name for name in needs if name not in header]
    twice = [name for name in needs if header.count(name) > 1]
    if twice:
        raise SourceError(
            f"{file}: has the column {shorten(twice[0], _LONGEST)} {header.count(twice[0])} times, "
            "in whatever case: rename or remove all but one"
        )
    if missing:
        raise SourceError(
            f"{file}: columns missing ({examples(missing)}; it has {name_columns(header, 5)}): "
            f"must be {looks_like}"
        )
    empty = dict.fromkeys(needs, "")  # for a row that was cut off
    short = 0
    for number, row in enumerate(rows, start=1):
        if len(row) > len(header) and any(value.strip() for value in row[len(header) :]):
            raise SourceError(
                f"{file}: row {number} below the header has {len(row)} values for "
                f"{amount(len(header), 'column')}: write a value that holds the delimiter in quotes"
            )
        short += len(row) < len(header)
        yield empty | dict(zip(header, map(str.strip, row), strict=False))
    if short:
        note_once(
            f"{file}: {amount(short, 'row has', 'rows have')} fewer values than columns: what is "
            "missing counts as empty at the end"
        )


def read_lists(
    file: Path, is_line: Callable[[list[str]], bool] = lambda _: True
) -> Iterator[list[str]]:
    """Each line as a list of values, the header (if there is one) among them.

    Parameters
    ----------
    is_line : whether a list of values can be a line; where the first line is none with commas, the
        delimiter of its form is taken

    Raises
    ------
    SourceError  if the file is no CSV text
    """
    form = find_form(file)
    commas = CsvForm(form.encoding, ",", form.skipped_lines)
    first = [value.strip() for value in next(read_csv(file, commas), [])]
    for row in read_csv(file, commas if is_line(first) else form):
        yield [value.strip() for value in row]


def name_columns(header: Sequence[str], most: int = 8) -> str:
    """The first columns for a message, long names cut."""
    return examples([shorten(name, _LONGEST) for name in header], most)


def is_no_label(value: str) -> bool:
    """Whether the value of a label's column means no label."""
    return value.lower() in NO_LABEL


def note_unlabelled(count: int, tables: Sequence[Path]) -> tuple[str, ...]:
    """A note with the number of rows without a label; none for no such row."""
    if not count:
        return ()
    names = examples([table.name for table in tables])
    return (f"skipped {amount(count, 'row')} of {names} without a label",)


def _open_rows(file: Path) -> Iterator[list[str]]:
    """The header and each row."""
    other = _OTHERS.get(file.suffix.lower())
    yield from other(file) if other else read_csv(file, find_form(file))


def _read_json_lines(file: Path) -> Iterator[list[str]]:
    """The names that any object has, and the values of each object."""
    try:
        lines = read_text(file, "utf-8-sig", errors="strict").splitlines()
        records = [json.loads(line) for line in lines if line.strip()]
        header = list(dict.fromkeys(name for record in records for name in dict(record)))
    except (ValueError, TypeError) as error:
        raise SourceError(
            f"{file}: no JSON object on each line ({error}): save it as CSV with UTF-8 encoding"
        ) from error
    yield header
    for record in records:
        yield [write_cell(record.get(name)) for name in header]


_OTHERS: dict[str, Callable[[Path], Iterator[list[str]]]] = {
    ".jsonl": _read_json_lines,
    ".parquet": read_parquet,
}


def _clean(header: list[str]) -> list[str]:
    return [name.strip().strip('"').strip().lower() for name in header]


def read_unit(role: str, cell: str, where: str) -> str:
    """The name of a subject or sequence, in the one spelling that it has in every row.

    Accents are composed (NFC), and `3.0` is `3`: so pandas writes whole numbers of a column in
    which some are missing.

    Raises
    ------
    SourceError  if it holds a control character, as a line break
    """
    if any(ord(character) < 32 for character in cell):
        raise SourceError(
            f"{where}: the {role} {shorten(repr(cell))} holds a line break or another control "
            "character: remove it from the table"
        )
    name = unicodedata.normalize("NFC", cell)
    whole, _, fraction = name.partition(".")
    return whole if fraction == "0" and whole.isdecimal() else name


def find_unit(role: str, record: Mapping[str, str], where: str) -> str:
    """The subject or sequence of a row, under any of its `UNIT_NAMES`; empty without one."""
    cells = (record.get(name, "") for name in UNIT_NAMES[role])
    return read_unit(role, next(filter(None, cells), ""), where)
