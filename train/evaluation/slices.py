"""Slices: scores of parts of the rows, and which parts are worse than chance would have them.

In: whether each row is predicted right, and columns that name the slice of each row. Out: a table
with a row a slice. By chance means: the wrong predictions are spread over the rows at random. Then
the right rows of a slice of n rows are hypergeometric (Fisher's exact test, one-sided). Holm's
correction with weights, the same for each column and within it for each slice, keeps the
probability of any false alarm in the table at 5 % or less, however the slices overlap; a column of
many slices takes nothing from the others. The intervals are exact, with the same weights, and hold
all together with 95 %.

From Datalab (cleanlab) come the question, groups of rows on which a model does worse than on the
set, and the least size of a group; its measure is the mean self-confidence of the group by that of
all, compared with a fixed bound, so a small group may be far off by chance alone. From its spurious
correlations comes the comparison with the labels: a picture's darkness that goes with a class is
seen in `expected`, the accuracy that the labels of the slice alone would give.

References
----------
C. Clopper, E. Pearson, Biometrika 1934; S. Holm, Scandinavian Journal of Statistics 1979
Datalab's issue types `underperforming_group` and `spurious_correlations`, docs.cleanlab.ai
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import beta, hypergeom

from curate.errors import printable_cell, shorten
from train.data.dataset import Rows
from train.evaluation.metrics import format_interval, format_percent

SLICES_FILE = "slices.csv"
ALPHA = 0.05  # probability of any false alarm, and of any interval that misses
FEWEST_ROWS = 5  # of a slice that is tested: Datalab's min_cluster_samples
FOUND_SHARE = 0.9  # of draws in which a slice as bad as `detectable` is found
MOST_SHOWN = 20
SLICE_COLUMNS = (
    "column", "slice", "rows", "accuracy", "low", "high", "expected", "p_value", "worse",
    "all_rows", "all_right",
)  # fmt: skip

Names = npt.NDArray[np.object_]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def score_slices(right: Mask, targets: Rows, columns: Mapping[str, Names]) -> pd.DataFrame:
    """Accuracy of each slice, and whether it is worse than chance would have it.

    Parameters
    ----------
    right : (N,) whether each row is predicted right
    targets : (N,) class indices
    columns : name -> (N,) slice of each row; empty for a row in none, which the column leaves out

    Returns
    -------
    one row per slice, the smallest p-value first:

    - column, slice, rows
    - accuracy in [0, 1], low and high: its interval; the latter NaN below `FEWEST_ROWS`
    - expected : the accuracy if each class were predicted as well as in all rows
    - p_value : of no worse than the other rows of its column, corrected; NaN if it is not tested
    - worse : p_value is at most `ALPHA`
    - all_rows, all_right : of its column
    """
    of_class = _average(right, targets)[targets]
    tables = [_count_slices(name, right, of_class, names) for name, names in columns.items()]
    table = pd.concat(tables, ignore_index=True)
    rows, hits, all_rows, all_right = (
        table[name].to_numpy() for name in ("rows", "right", "all_rows", "all_right")
    )
    weights = weigh_slices(table)
    low, high = bound_shares(hits, rows, ALPHA * weights)
    p_values = hypergeom.cdf(hits, all_rows, all_right, rows)
    # One slice of all rows has nothing to be worse than.
    p_values[rows == all_rows] = 1.0
    is_tested = weights > 0
    p_values[is_tested] = correct_holm(p_values[is_tested], weights[is_tested])
    table = table.assign(low=low, high=high, p_value=p_values)
    table.loc[~is_tested, ["low", "high", "p_value"]] = np.nan
    table["worse"] = is_tested & (p_values <= ALPHA)
    order = ["p_value", "accuracy", "column", "slice"]
    return table.sort_values(order, ignore_index=True)[list(SLICE_COLUMNS)]


def weigh_slices(table: pd.DataFrame) -> Floats:
    """(S,) the share of each slice in `ALPHA`, summing to 1; 0 for one that is too small."""
    is_tested = (table["rows"] >= FEWEST_ROWS).to_numpy()
    column = table["column"].where(is_tested)
    slices = column.map(column.value_counts()).to_numpy(dtype=float)
    return np.where(is_tested, 1 / (max(column.nunique(), 1) * slices), 0.0)


def bound_shares(hits: Rows, rows: Rows, alphas: Floats) -> tuple[Floats, Floats]:
    """Low and high of the exact interval of Clopper and Pearson.

    Parameters
    ----------
    hits, rows : (S,) counts
    alphas : (S,) probability that each interval misses
    """
    low = beta.ppf(alphas / 2, hits, rows - hits + 1)
    high = beta.ppf(1 - alphas / 2, hits + 1, rows - hits)
    return np.where(hits == 0, 0.0, low), np.where(hits == rows, 1.0, high)


def correct_holm(p_values: Floats, weights: Floats) -> Floats:
    """(M,) p-values, corrected for their number; each at most 1.

    Parameters
    ----------
    weights : (M,) above 0; equal ones give the correction without weights
    """
    order = np.argsort(p_values / weights, kind="stable")
    left = np.cumsum(weights[order][::-1])[::-1]
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(p_values[order] / weights[order] * left)
    return np.minimum(corrected, 1.0)


def find_detectable(table: pd.DataFrame) -> Floats:
    """(S,) at which accuracy or less a slice of that size is found in 9 of 10 draws.

    Found: called worse, at the first step of Holm's correction. The right rows of a draw are
    binomial; the beta distribution solves for the accuracy. NaN for a slice that cannot be found.

    Parameters
    ----------
    table : of `score_slices`
    """
    counts = table[["all_rows", "all_right", "rows"]].to_numpy().T
    most_hits = hypergeom.ppf(ALPHA * weigh_slices(table), *counts) - 1
    accuracy = beta.ppf(1 - FOUND_SHARE, most_hits + 1, counts[2] - most_hits)
    can_be_found = (most_hits >= 0) & (counts[2] < counts[0]) & table["p_value"].notna()
    return np.where(can_be_found, accuracy, np.nan)


def _average(values: Mask, groups: Rows) -> Floats:
    """(G,) mean of the values of each group; 0 for an empty one."""
    rows = np.bincount(groups)
    return np.asarray(np.bincount(groups, weights=values) / np.maximum(rows, 1))


def _count_slices(name: str, right: Mask, of_class: Floats, names: Names) -> pd.DataFrame:
    """The counts of each slice of a column, and those of all its rows."""
    is_inside = names != ""
    codes, slices = pd.factorize(names[is_inside])
    rows = np.bincount(codes)
    hits = np.bincount(codes, weights=right[is_inside]).astype(np.int64)
    table = pd.DataFrame({"slice": slices, "rows": rows, "right": hits, "accuracy": hits / rows})
    table["expected"] = np.bincount(codes, weights=of_class[is_inside]) / rows
    return table.assign(column=name, all_rows=rows.sum(), all_right=hits.sum())


def summarize_slices(table: pd.DataFrame) -> dict[str, Any]:
    """The counts for metrics.json."""
    counts = {"slices": int(table["p_value"].notna().sum()), "worse": int(table["worse"].sum())}
    return {
        "by": sorted(set(table["column"])),
        **counts,
        "small": int(table["p_value"].isna().sum()),
    }


def format_slices(table: pd.DataFrame, *, only_worse: bool) -> str:
    """The slices for a terminal, in percent; the worst first.

    Parameters
    ----------
    only_worse : leave out those that chance explains
    """
    chosen = table[table["worse"]] if only_worse else table
    lines = [] if chosen.empty else [_format_line(HEADINGS)]
    for row in chosen.head(MOST_SHOWN).to_dict("records"):
        lines.append(_format_line(list_cells({str(name): row[name] for name in row})))
    if len(chosen) > MOST_SHOWN:
        lines.append(f"and {len(chosen) - MOST_SHOWN:,} more in {SLICES_FILE}")
    return "\n".join([*lines, _format_count(table)])


HEADINGS = ["slice", "rows", "accuracy", "interval", "by labels", "found below", "p", ""]
_WIDTHS = (30, 8, 10, 14, 11, 13, 9)


def list_cells(row: Mapping[str, Any]) -> list[str]:
    """The cells of a slice below `HEADINGS`."""
    is_tested = not np.isnan(row["p_value"])
    return [
        f"{row['column']} {row['slice']}",
        f"{row['rows']:,}",
        format_percent(row["accuracy"]),
        format_interval((row["low"], row["high"])) if is_tested else "-",
        format_percent(row["expected"]),
        "-" if np.isnan(row["detectable"]) else format_percent(row["detectable"]),
        f"{row['p_value']:.2g}" if is_tested else "-",
        "worse" if row["worse"] else "",
    ]


def _format_line(cells: Sequence[str]) -> str:
    name = shorten(printable_cell(cells[0]), _WIDTHS[0] - 1)
    columns = [f"{cell:>{width}}" for cell, width in zip(cells[1:-1], _WIDTHS[1:], strict=True)]
    return f"{name:<{_WIDTHS[0]}}{''.join(columns)}  {cells[-1]}".rstrip()


def _format_count(table: pd.DataFrame) -> str:
    counts = summarize_slices(table)
    small = f"; {counts['small']:,} under {FEWEST_ROWS} rows are not tested"
    return (
        f"slices: {counts['worse']:,} of {counts['slices']:,} are worse than chance would have "
        f"them (any false alarm: {format_percent(ALPHA)}){small if counts['small'] else ''}"
    )
