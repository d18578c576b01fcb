"""`train compare A B`: whether two runs differ by more than chance, on the rows that both were scored on.

It reads the predictions that `train evaluate` wrote, so no row of test is read once more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.errors import UsageError
from train.intervals import bootstrap_gain, compare_mcnemar
from train.metrics import format_interval, format_percent
from train.record import RunError, write_json


@dataclass(frozen=True)
class Comparison:
    """One line and the numbers of it."""

    story: str
    counts: Mapping[str, Any]


def compare_runs(first: Path, second: Path, *, rows: str = "test", seed: int = 0, dry_run: bool = False) -> Comparison:
    """McNemar's test and the gain in accuracy from the first run to the second, written into the second's folder.

    Raises
    ------
    RunError  if one of them was not evaluated on these rows, or on others than the other one
    """
    if first.resolve() == second.resolve():
        raise UsageError(f"compare: {first} and {second} are the same run: name two")
    tables = [read_beliefs(folder, rows) for folder in (first, second)]
    if not tables[0][["path", "label"]].equals(tables[1][["path", "label"]]):
        raise RunError(
            f"{second}: was evaluated on other rows or labels than {first.name}: run `train evaluate` of both again"
        )
    right = [(table["predicted"] == table["label"]).to_numpy() for table in tables]
    gain = bootstrap_gain(right[0], right[1], seed)
    accuracies = [float(np.mean(each)) for each in right]
    counts = {
        "first": first.name, "second": second.name, "rows": len(right[0]), "accuracy": accuracies, **gain,
        "p_value": compare_mcnemar(gain["won"], gain["lost"]),
    }  # fmt: skip
    if not dry_run:
        write_json(second / f"comparison-{rows}-{first.name}.json", counts)
    return Comparison(_tell_story(counts), counts)


def read_beliefs(folder: Path, rows: str) -> pd.DataFrame:
    """path, label and predicted of an evaluated run, sorted by path."""
    file = folder / f"evaluation-{rows}" / "predictions.csv"
    if not file.is_file():
        raise RunError(f"{file}: is not there: run `train evaluate {folder} --rows {rows}` first")
    return pd.read_csv(file, dtype=str, keep_default_na=False).sort_values("path", ignore_index=True)


def _tell_story(counts: Mapping[str, Any]) -> str:
    one, two = (format_percent(value) for value in counts["accuracy"])
    return (
        f"compare: {counts['second']} against {counts['first']} on {counts['rows']:,} rows: accuracy {two} against {one}, "
        f"{100 * counts['gain']:+.1f} {format_interval(counts['interval'])} points; {counts['won']:,} rows won, "
        f"{counts['lost']:,} lost; McNemar p = {counts['p_value']:.2g}"
    )
