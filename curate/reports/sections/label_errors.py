"""How many labels are wrong per pair of classes, and the labels that machines gave."""

from collections import Counter
from pathlib import Path

import pandas as pd

from curate.errors import WorkspaceError, first_line
from curate.pages.charts import HeatCell, HeatTable, level_of


def read_errors(file: Path) -> HeatTable | None:
    """The counts that flag wrote to label_errors.csv with their intervals; None without the file.

    Raises
    ------
    WorkspaceError  if it is no such table
    """
    if not file.exists():
        return None
    try:
        pairs = pd.read_csv(file, dtype=str, keep_default_na=False)
        counts = [int(count) for count in pairs["count"]]
        most = max([1, *counts])
        cells = {}
        for pair, count in zip(pairs.to_dict("records"), counts, strict=True):
            interval = f"{pair['low']} to {pair['high']}" if pair["low"] else ""
            cell = HeatCell(f"{count:,}", interval, level_of(count / most))
            cells[pair["given_label"], pair["suggested_label"]] = cell
    except (OSError, ValueError, KeyError, OverflowError) as error:
        raise WorkspaceError(
            f"{file}: no table of label errors ({first_line(error)}): run `curate flag` again"
        ) from error
    suggested = sorted(set(pairs["suggested_label"]))
    rows = []
    for label in sorted(set(pairs["given_label"])):
        rows.append((label, [cells.get((label, other)) for other in suggested]))
    return HeatTable(suggested, rows)


def count_machine_pairs(manifest: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Given label, label by a machine, and kept images, of the accepted suggestions."""
    rows = manifest[(manifest["reason"] == "machine") & (manifest["status"] == "keep")]
    counts = Counter(zip(rows["given_label"], rows["label"], strict=True))
    return [(given, label, count) for (given, label), count in counts.most_common()]
