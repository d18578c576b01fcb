"""The manifest: one CSV, one row per face image, every fact and verdict in a column of its own.

Read and written only here, as text: by default pandas turns the hash `12345678e1234567` into
infinity and the label `None` into NaN. `check_rows` checks the rows at every read and write; the
laws between rows and stages are in `curate.workspace.invariants`.
"""

import csv
import io
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from curate.csv_text import escape_cell
from curate.errors import ManifestError, amount, examples, first_line
from curate.files import note_if_changed, write_watched
from curate.labels import VOCABULARY

Quoting = Literal[0, 1, 2, 3]  # of the csv module
SPLITS = ("train", "val", "test")
QUALITIES = ("unreadable", "blank", "black_and_white", "low_information", "unlike_faces")
# No stage can repair a table that it cannot read; nothing in it is lost for good.
REMEDY = "restore it, or remove it and run `curate build`; decisions stay in the journal"
ISSUES = ("wrong", "ambiguous")
REASONS = ("human", "machine", "unreadable", "degenerate", "exact_copy", "near_copy")

_CLASS = "|".join(VOCABULARY)
_HEX64 = "[0-9a-f]{64}"
_COUNT = "[1-9][0-9]*"


@dataclass(frozen=True)
class Column:
    """One column: the only stage that may write it, and the regular expression of its values."""

    name: str
    owner: str
    form: str


COLUMNS = (
    Column("path", "build", r"[^/\x00-\x1f]+(/[^/\x00-\x1f]+)+"),
    Column("sha256", "build", _HEX64),
    Column("pixel_hash", "build", f"({_HEX64})?"),
    Column("phash", "build", "([0-9a-f]{16})?"),
    Column("width", "build", f"({_COUNT})?"),
    Column("height", "build", f"({_COUNT})?"),
    Column("box", "build", f"([0-9]+ [0-9]+ {_COUNT} {_COUNT})?"),
    Column("given_label", "build", _CLASS),
    Column("source_label", "build", r"[^\x00-\x1f]*"),
    Column("source_split", "build", f"({'|'.join(SPLITS)})?"),
    Column("subject", "build", r"[^\x00-\x1f]*"),
    Column("sequence", "build", r"[^\x00-\x1f]*"),
    Column("votes", "build", r"(\{.*\})?"),
    Column("quality", "inspect", f"({'|'.join(QUALITIES)})?"),
    Column("duplicate_group", "dedup", ".*"),
    Column("duplicate_of", "dedup", ".*"),
    Column("duplicate_kind", "dedup", "(exact|near)?"),
    Column("label_conflict", "dedup", "(true)?"),
    Column("fold", "fold", "([0-9]+)?"),
    Column("self_confidence", "flag", r"(0\.[0-9]+|1\.0+)?"),
    Column("issue_rank", "flag", f"({_COUNT})?"),
    Column("suggested_label", "flag", f"({_CLASS})?"),
    Column("issue", "flag", f"({'|'.join(ISSUES)})?"),
    Column("label", "verdicts", f"({_CLASS})?"),
    Column("status", "verdicts", "(keep|drop)?"),
    Column("reason", "verdicts", f"({'|'.join(REASONS)})?"),
    Column("split", "split", f"({'|'.join(SPLITS)})?"),
)
NAMES = tuple(column.name for column in COLUMNS)


def owned_by(stage: str) -> tuple[str, ...]:
    """The columns that only `stage` may write, in the order of the table."""
    return tuple(column.name for column in COLUMNS if column.owner == stage)


def read_manifest(file: Path) -> pd.DataFrame:
    """All rows as text, sorted by `path`, checked.

    Raises
    ------
    ManifestError  if the file is missing, is not such a table, or a row breaks a rule
    """
    if not file.is_file():
        inner = file.parent / "manifests"
        fix = "run `curate build FOLDER` first (or name the workspace with -w)"
        if (inner / file.name).is_file():
            fix = f"name the workspace in it: `-w {shlex.quote(str(inner))}`"
        raise ManifestError(f"{file}: no manifest here: {fix}")
    data = file.read_bytes()
    if data and not data.endswith(b"\n"):  # pandas would read the lost cells as empty ones
        raise ManifestError(f"{file}: the last row is cut off: {REMEDY}")
    try:
        frame = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise ManifestError(f"{file}: not a CSV table ({first_line(error)}): {REMEDY}") from error
    check_rows(frame, where=file.name)
    note_if_changed(file, data)
    return frame


def write_manifest(file: Path, frame: pd.DataFrame) -> bool:
    """Check and write; returns whether a byte changed."""
    check_rows(frame, where=file.name)
    return write_watched(file, table_bytes(frame))


def table_bytes(frame: pd.DataFrame, *, quoting: Quoting = csv.QUOTE_MINIMAL) -> bytes:
    """The one CSV form of every table of a workspace: UTF-8, LF line ends, no index."""
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False, lineterminator="\n", quoting=quoting)
    return buffer.getvalue().encode()


def export_bytes(frame: pd.DataFrame) -> bytes:
    """`table_bytes` of a table for people and other programs: no cell is a formula.

    `curate.csv_text.read_cell` gives the text back. The tables that Candid itself reads hold every
    text as it is.
    """
    escaped = frame.map(_escape)
    # The writer leaves a lone carriage return bare, which many readers take for the end of a row.
    texts = (value for name in escaped for value in escaped[name] if isinstance(value, str))
    quoting: Quoting = csv.QUOTE_ALL if any("\r" in text for text in texts) else csv.QUOTE_MINIMAL
    return table_bytes(escaped, quoting=quoting)


def _escape(value: object) -> object:
    return escape_cell(value) if isinstance(value, str) else value


def empty_manifest(paths: Sequence[str]) -> pd.DataFrame:
    """A table of these paths, sorted, with every other column empty."""
    frame = pd.DataFrame(dict.fromkeys(NAMES, ""), index=range(len(paths)), dtype=str)
    frame["path"] = sorted(paths)
    return frame


def kept_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows whose verdict is keep."""
    return frame[frame["status"] == "keep"]


def find_contradictions(manifest: pd.DataFrame) -> "pd.Series[bool]":
    """Whether each row is kept and a copy of it is kept under another label.

    Two given labels, or two decisions: people may have judged the copies apart.
    """
    is_open = (manifest["status"] == "keep") & (manifest["duplicate_group"] != "")
    rows = manifest[is_open]
    labels = rows.groupby("duplicate_group")["label"].transform("nunique")
    return (labels > 1).reindex(manifest.index, fill_value=False).astype(bool)


def source_of(path: str) -> str:
    """The source of one row: the first part of its path."""
    return path.partition("/")[0]


def sources_of(paths: "pd.Series[str]") -> "pd.Series[str]":
    """`source_of` each path of a column."""
    return pd.Series([source_of(path) for path in paths], paths.index, dtype=str)


def group_keys(manifest: pd.DataFrame) -> dict[str, "pd.Series[str]"]:
    """The keys of rows that must stay together: duplicate group, subject, sequence.

    A key is empty where a row has none. Subjects and sequences include their source: S005 of one
    dataset is not S005 of another.
    """
    subject = sources_of(manifest["path"]) + "/" + manifest["subject"]
    sequence = subject + "/" + manifest["sequence"]
    return {
        "duplicate_group": manifest["duplicate_group"],
        "subject": subject_keys(manifest),
        "sequence": sequence.where(manifest["sequence"] != "", ""),
    }


def subject_keys(manifest: pd.DataFrame) -> "pd.Series[str]":
    """`SOURCE/SUBJECT` of each row; empty where a row has no subject."""
    subject = sources_of(manifest["path"]) + "/" + manifest["subject"]
    return subject.where(manifest["subject"] != "", "")


def split_face(path: str) -> tuple[str, str]:
    """("a/b.jpg", "2") of "a/b.jpg#2"; the number is empty for a picture with one face."""
    file, mark, face = path.rpartition("#")
    return (file, face) if mark and face.isdigit() else (path, "")


def check_rows(frame: pd.DataFrame, where: str = "manifest.csv") -> None:
    """Raise ManifestError unless values have the form of their column and rows are consistent."""
    _check_header(frame, where)
    for column in COLUMNS:
        values = pd.Series(frame[column.name].unique(), dtype=str)  # few in most columns
        malformed = values[~values.str.fullmatch(column.form)]
        if len(malformed):
            _refuse(frame[column.name].isin(malformed), frame, where, f"a malformed {column.name}")
    path = frame["path"]
    _refuse(path.duplicated(), frame, where, "a path that is listed twice")
    _refuse(_has_dot_part(path), frame, where, "a path with `.` or `..` in it")
    if not path.is_monotonic_increasing:
        raise ManifestError(f"{where}: the rows are not sorted by path: {REMEDY}")
    is_unreadable = frame["pixel_hash"] == ""
    for name in ("phash", "width", "height"):
        differs = (frame[name] == "") != is_unreadable
        _refuse(differs, frame, where, f"{name} empty but pixel_hash not, or the reverse")
    _check_copies(frame, where)
    unexplained = (frame["status"] == "drop") & (frame["reason"] == "")
    _refuse(unexplained, frame, where, "status drop without a reason")
    unlabelled = (frame["status"] == "keep") & (frame["label"] == "")
    _refuse(unlabelled, frame, where, "status keep without a label")


def _check_header(frame: pd.DataFrame, where: str) -> None:
    missing = [name for name in NAMES if name not in frame.columns]
    foreign = [name for name in frame.columns if name not in NAMES]
    if not missing and not foreign:
        return
    what = f"foreign columns ({examples(foreign)})"
    if missing:
        what = f"{amount(len(missing), 'column')} missing ({examples(missing)})"
    raise ManifestError(
        f"{where}: {what}: a manifest has exactly the columns of manifests/README.md: {REMEDY}"
    )


def _check_copies(frame: pd.DataFrame, where: str) -> None:
    is_copy = frame["duplicate_of"] != ""
    has_kind = frame["duplicate_kind"] != ""
    what = "duplicate_kind without duplicate_of, or the reverse"
    _refuse(is_copy != has_kind, frame, where, what)
    has_original = frame["duplicate_of"].isin(set(frame.loc[~is_copy, "path"]))
    what = "a duplicate_of that is no row or a copy itself"
    _refuse(is_copy & ~has_original, frame, where, what)
    is_grouped = frame["duplicate_group"] != ""
    _refuse(is_copy & ~is_grouped, frame, where, "duplicate_of without a duplicate_group")
    grouped = frame[is_grouped]
    first = grouped.groupby("duplicate_group")["path"].transform("min")
    wrong = (first != grouped["duplicate_group"]).reindex(frame.index, fill_value=False)
    _refuse(wrong, frame, where, "a duplicate_group that is not the first path of its group")


def _has_dot_part(path: "pd.Series[str]") -> "pd.Series[bool]":
    return path.str.contains(r"(?:^|/)\.{1,2}(?:/|$)", regex=True)


def _refuse(bad: "pd.Series[bool]", frame: pd.DataFrame, where: str, what: str) -> None:
    """Raise ManifestError if a row is bad; `what` completes "N rows with ..."."""
    if bad.any():
        rows = frame.loc[bad, "path"]
        raise ManifestError(
            f"{where}: {amount(len(rows), 'row')} with {what} (first: {rows.iloc[0]}): {REMEDY}"
        )
