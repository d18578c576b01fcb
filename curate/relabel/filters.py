"""Conditions on the columns of a manifest: `label==sad and self_confidence<0.1`."""

import operator
import re
from collections.abc import Callable

import pandas as pd

from curate.errors import UsageError
from curate.workspace.manifest import COLUMNS

_CLAUSE = re.compile(r"\s*(\w+)\s*(==|!=|<=|>=|<|>)\s*(.*?)\s*")
_FORM_OF = {column.name: column.form for column in COLUMNS}
_JOINED = re.compile(r"==|!=|[<>&|,]|\b(and|or|not)\b", re.IGNORECASE)
_COMPARE: dict[str, Callable[..., "pd.Series[bool]"]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def match_rows(manifest: pd.DataFrame, condition: str) -> "pd.Series[bool]":
    """Which rows fulfil every clause.

    Parameters
    ----------
    condition : clauses `COLUMN OPERATOR VALUE` joined by `and`; == and != compare text (quotes are
        optional), the others compare numbers, and an empty cell fulfils none of those

    Raises
    ------
    UsageError  if a clause cannot be read or names no column, or its value is none of the column's
    """
    is_match = pd.Series(True, index=manifest.index)
    for clause in re.split(r"\s+and\s+", condition.strip(), flags=re.IGNORECASE):
        is_match &= _match_clause(manifest, clause)
    return is_match


def _match_clause(manifest: pd.DataFrame, clause: str) -> "pd.Series[bool]":
    parts = _CLAUSE.fullmatch(clause)
    if not parts or parts[1] not in _FORM_OF:
        raise UsageError(
            f"--where: cannot read '{clause}': write COLUMN==VALUE with a column of the manifest, "
            "as in 'label==sad'"
        )
    name, sign, value = parts[1], parts[2], parts[3].strip("'\"")
    if sign in ("==", "!="):
        _require_value(name, value, parts[3])
        return (manifest[name] == value) == (sign == "==")
    try:
        bound = float(value)
    except ValueError as error:
        raise UsageError(
            f"--where: '{value}' in '{clause}' is not a number: {sign} compares numbers"
        ) from error
    return _COMPARE[sign](pd.to_numeric(manifest[name], errors="coerce"), bound)


def _require_value(name: str, value: str, typed: str) -> None:
    """Raise UsageError for a text that no cell of the column can hold."""
    if typed == value and _JOINED.search(value):
        raise UsageError(
            f"--where: '{value}' is more than one value: join clauses by `and`, and put a value "
            "with such signs in quotes"
        )
    if not re.fullmatch(_FORM_OF[name], value):
        raise UsageError(
            f"--where: '{value}' is no value of column {name}: see its values in manifest.csv"
        )
