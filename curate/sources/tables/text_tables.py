"""Rows of the datasets' own CSV files.

Comes in: a CSV with the header and spaces as its authors wrote them. Goes out: lower-case columns
and stripped values. A damaged file is refused.
"""

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from curate.errors import SourceError, examples


def read_header(file: Path) -> list[str]:
    """Column names in lower case without spaces and quotes; empty if the file is no CSV text."""
    try:
        return _clean(next(_open_rows(file), []))
    except (SourceError, OSError):
        return []


def read_rows(file: Path, needs: Sequence[str], *, looks_like: str) -> Iterator[dict[str, str]]:
    """Each row as column -> value, without the spaces around them; columns in lower case.

    Raises
    ------
    SourceError  if a needed column is missing, or the file is no CSV text
    """
    rows = _open_rows(file)
    header = _clean(next(rows, []))
    missing = [name for name in needs if name not in header]
    if missing:
        raise SourceError(
            f"{file}: columns missing ({examples(missing)}; it has {examples(header, 5)}): "
            f"{looks_like}"
        )
    empty = dict.fromkeys(needs, "")  # for a row that was cut off
    for row in rows:
        yield empty | dict(zip(header, map(str.strip, row), strict=False))


def read_lists(file: Path) -> Iterator[list[str]]:
    """Each line as a list of values, the header (if there is one) among them.

    Raises
    ------
    SourceError  if the file is no CSV text
    """
    for row in _open_rows(file):
        yield [value.strip() for value in row]


def _open_rows(file: Path) -> Iterator[list[str]]:
    csv.field_size_limit(min(sys.maxsize, 1 << 24))
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            yield from (row for row in csv.reader(stream) if row)  # a blank line is no row
    except (csv.Error, UnicodeDecodeError) as error:
        raise SourceError(f"{file}: no CSV text ({error}): restore the file") from error


def _clean(header: list[str]) -> list[str]:
    return [name.strip().strip('"').strip().lower() for name in header]
