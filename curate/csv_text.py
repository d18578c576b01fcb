"""The text of a CSV file, whatever program wrote it: its encoding and its delimiter.

In: a file. Out: its rows as lists of strings. UTF-8 and UTF-16 are recognised by their bytes; any
other text is read as Windows-1252 (Latin-1). The delimiter is the one of `,`, `;`, tab and `|` that
gives the header most columns; Excel's line `sep=;` names it.
"""

import codecs
import csv
import io
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pandas as pd

from curate.errors import SourceError, shorten
from curate.files import open_regular, read_bounded

DELIMITERS = (",", ";", "\t", "|")
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_CHUNK = 1 << 20  # bytes
_WIDEST = 1 << 24  # characters of one value or line; pixels of a face take 10,000
# After the last line: a quote that is never closed would swallow it. No file holds the character.
_END = "\ufdd0end"
# What a spreadsheet takes for a formula: cells that begin so, the wide forms of East Asia too. The
# marks that `escape_cell` has put before one count as well, so that `read_cell` is its inverse.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff0b\uff0d\uff1d\uff20]")
_NUMBERS = re.compile(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?( -?[0-9]+)*")  # -3.5e-7, and a box: -3 5 40 40
MAX_TEXT_BYTES = 1 << 30  # of a text that is read as a whole; a million rows of votes take 0.1 GB


@dataclass(frozen=True)
class CsvForm:
    """How a CSV file is written: its encoding, its delimiter, and the lines before its header."""

    encoding: str
    delimiter: str = ","
    skipped_lines: int = 0


def is_formula(text: str) -> bool:
    """Whether a spreadsheet might run the cell; a number is none."""
    return _FORMULA.match(text) is not None and _NUMBERS.fullmatch(text) is None


def escape_cell(text: str) -> str:
    """The text of a cell for a table that leaves the workspace: `'` goes before a formula."""
    return f"'{text}" if is_formula(text) else text


def read_cell(text: str) -> str:
    """The text that `escape_cell` has written."""
    return text[1:] if text.startswith("'") and is_formula(text[1:]) else text


def find_form(file: Path, *, whole: bool = True) -> CsvForm:
    """The encoding and delimiter of a CSV file.

    Parameters
    ----------
    whole : whether the encoding must hold for the whole file, or for its first megabyte

    Raises
    ------
    SourceError  if the bytes are no text, or the file cannot be opened or is no regular one
    """
    try:
        encoding = _find_encoding(file, whole)
        with _open(file, encoding) as stream:
            first = stream.readline(_CHUNK).rstrip("\r\n")
    except UnicodeError as error:
        raise _no_text(file, error) from error
    except OSError as error:
        raise _cannot_read(file, error) from error
    if first.lower().startswith("sep=") and len(first) == len("sep=,"):
        return CsvForm(encoding, first[-1], 1)
    return CsvForm(encoding, _find_delimiter(first))


def read_csv(file: Path, form: CsvForm) -> Iterator[list[str]]:
    """Each row that is not blank as a list of values, the header among them.

    Raises
    ------
    SourceError  if the file is no CSV text, or cannot be opened or is no regular one
    """
    csv.field_size_limit(min(sys.maxsize, _WIDEST))
    try:
        with _open(file, form.encoding) as stream:
            for _ in range(form.skipped_lines):
                stream.readline(_WIDEST)
            reader = csv.reader(_read_lines(stream), delimiter=form.delimiter)
            begins = 1
            for row in reader:
                if row == [_END]:
                    return
                if row and _END in row[-1]:  # it is within quotes
                    line = form.skipped_lines + begins
                    raise csv.Error(f"a quote in line {line} is not closed: close it or double it")
                if row:
                    yield row
                begins = reader.line_num + 1
    except (csv.Error, UnicodeError) as error:
        raise _no_text(file, error) from error
    except OSError as error:
        raise _cannot_read(file, error) from error


def read_frame(file: Path) -> pd.DataFrame:
    """The whole table as text: an empty cell is an empty string.

    Raises
    ------
    SourceError  if the bytes are no text, or over `MAX_TEXT_BYTES`
    OSError  if it cannot be opened or is no regular file
    ValueError  if pandas finds no table in it, a row has more cells than the header, or two columns
        have one name, in whatever case
    """
    data, form = read_bounded(file, MAX_TEXT_BYTES), find_form(file)
    header = [name.strip().lower() for name in next(read_csv(file, form), [])]
    twice = [name for name, count in Counter(header).items() if count > 1 and name]
    if twice:
        raise ValueError(f"the column {shorten(twice[0])} is there {header.count(twice[0])} times")
    with warnings.catch_warnings():
        # Without `index_col` the cells of a row that is too long move into other columns.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            return pd.read_csv(
                io.BytesIO(data),
                dtype=str,
                keep_default_na=False,
                encoding=form.encoding,
                sep=form.delimiter,
                skiprows=form.skipped_lines,
                index_col=False,
            ).fillna("")
        except pd.errors.ParserWarning as warning:
            raise ValueError("rows have more cells than the header") from warning


def read_text(file: Path, encoding: str = "utf-8", *, errors: str = "replace") -> str:
    """The whole text of a file.

    Parameters
    ----------
    errors : `replace` puts a mark for bytes that are no such text, `strict` raises UnicodeError

    Raises
    ------
    SourceError  if it cannot be opened, is no regular file, or holds over `MAX_TEXT_BYTES`
    """
    try:
        return read_bounded(file, MAX_TEXT_BYTES).decode(encoding, errors)
    except OSError as error:
        raise _cannot_read(file, error) from error


def _open(file: Path, encoding: str) -> TextIO:
    """The text of a regular file; a pipe, whose end might never come, is refused."""
    return open(open_regular(file), encoding=encoding, newline="")  # noqa: PTH123 - a descriptor


def _read_lines(stream: TextIO) -> Iterator[str]:
    """The lines, and `_END`; csv.Error for one that is endless, as a file of zeros is."""
    while line := stream.readline(_WIDEST):
        if len(line) == _WIDEST:
            raise csv.Error(f"a line has over {_WIDEST:,} characters")
        yield line
    yield _END


def _find_encoding(file: Path, whole: bool) -> str:
    with open(open_regular(file), "rb") as stream:  # noqa: PTH123 - a descriptor
        head = stream.read(_CHUNK)
        marked = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "")
        if marked:
            return marked
        if b"\0" in head:
            return _find_utf16(file, head)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while head:
                following = stream.read(_CHUNK) if whole else b""
                if b"\0" in following:  # as the hole of a sparse file, which may be endless
                    raise _no_text(file, "it holds zero bytes")
                decoder.decode(head, final=whole and not following)
                head = following
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


def _find_utf16(file: Path, head: bytes) -> str:
    """The byte order of UTF-16 without a mark: Latin text has a zero in every second byte."""
    zeros = [head[start::2].count(0) / max(1, len(head[start::2])) for start in (0, 1)]
    if max(zeros) < 0.9 or min(zeros) > 0.1:
        raise _no_text(file, "it holds zero bytes")
    return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"


def _find_delimiter(header: str) -> str:
    """The delimiter that gives the header most columns; a comma where none gives two."""

    def count(delimiter: str) -> int:
        try:
            return len(next(csv.reader([header], delimiter=delimiter), []))
        except csv.Error:
            return 0

    return max(DELIMITERS, key=count)  # the first of equals


def _cannot_read(file: Path, error: OSError) -> SourceError:
    return SourceError(
        f"{file}: cannot be read ({error.strerror}): restore it, or make it readable"
    )


def _no_text(file: Path, reason: object) -> SourceError:
    return SourceError(
        f"{file}: no CSV text ({reason}): save it as CSV with UTF-8 encoding and commas"
    )
