"""Parquet files, by the optional package pyarrow: rows as text, and pictures inside of a table.

Class labels that Hugging Face stores as numbers have their names in the file; the names are read.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from curate.errors import SourceError

_BATCH = 256  # rows held in memory: pictures of a web photograph take 0.2 MB


def read_parquet(file: Path) -> Iterator[list[str]]:
    """The column names, then each row as text; a picture's bytes are left empty.

    Raises
    ------
    SourceError  if pyarrow is not installed, or the file is no Parquet
    """
    table = open_parquet(file)
    names = list(table.schema_arrow.names)
    yield names
    for record in read_records(table):
        yield [write_cell(record[name]) for name in names]


def open_parquet(file: Path) -> Any:
    """The file, opened by pyarrow.

    Raises
    ------
    SourceError  if pyarrow is not installed, or the file is no Parquet
    """
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise SourceError(
            f"{file}: Parquet is read by pyarrow, which is not installed: "
            "`pip install 'candid-fer[parquet]'`, or save the table as CSV"
        ) from error
    try:
        return parquet.ParquetFile(file)
    except arrow.ArrowException as error:
        raise SourceError(f"{file}: no Parquet ({error}): restore the file") from error


def read_records(table: Any, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Each row as column -> value, with the names of class labels in place of their numbers.

    Parameters
    ----------
    columns : those that are read; None for all
    """
    every = _class_names(table)
    names_of = {name: every[name] for name in every if columns is None or name in columns}
    for batch in table.iter_batches(batch_size=_BATCH, columns=columns):
        for record in batch.to_pylist():
            for column, names in names_of.items():
                number = record[column]
                if number is not None:
                    # -1 is Hugging Face's number for no label.
                    record[column] = names[number] if 0 <= number < len(names) else ""
            yield record


def write_cell(value: object) -> str:
    """A value as the text of a CSV cell: empty for none, for bytes and for objects."""
    if value is None or isinstance(value, bytes | dict):
        return ""
    if isinstance(value, list):
        return " ".join(map(write_cell, value))
    return str(value)


def _class_names(table: Any) -> dict[str, list[str]]:
    """Column of numbers -> the names of its classes, as Hugging Face stores them."""
    metadata = table.schema_arrow.metadata or {}
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {
            column: list(feature["names"])
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
