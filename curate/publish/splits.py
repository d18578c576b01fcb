"""The named splits of a curation: the source's own without its leaks, and the workspace's.

In: the published rows of a manifest. Out: name -> a table of `SPLIT_COLUMNS`. A row that a split
leaves out is in none of its parts.

- `official-no-exact`: the source's split without the val and test images whose pixels are also in
  train. Every other readable image is in it, whatever the curation found.
- `official-no-copy`: without any copy of a training image; nor in val with a copy in test, so that
  no photograph is in two parts.
- `clean-70-15-15`: the kept images in the parts of `curate split`, named after its ratios.
"""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from curate.publish.schema import CLEAN, OFFICIAL, SPLIT_COLUMNS, sort_rows
from curate.workspace.manifest import SPLITS

NO_EXACT = f"{OFFICIAL}no-exact"
NO_COPY = f"{OFFICIAL}no-copy"
_RATIOS = (70.0, 15.0, 15.0)  # of `curate split` without options


def split_tables(rows: pd.DataFrame, options: Mapping[str, Any] | None) -> dict[str, pd.DataFrame]:
    """Name -> table of every split that the rows have.

    Parameters
    ----------
    rows : of `tables.key_rows`
    options : of the last run of split, by its receipt; None if that is gone
    """
    tables = {}
    official = rows[rows["source_split"] != ""]
    parts = set(official["source_split"])
    if "train" in parts and len(parts) > 1:
        for name, key in ((NO_EXACT, "pixel_hash"), (NO_COPY, "duplicate_group")):
            kept = _leave_out_copies(official, [key, "pixel_hash"], strict=name == NO_COPY)
            tables[name] = _to_table(kept, kept["source_split"])
    clean = rows[(rows["status"] == "keep") & (rows["split"] != "")]
    if len(clean):
        tables[CLEAN if options is None else name_clean(options)] = _to_table(clean, clean["split"])
    return tables


def name_clean(options: Mapping[str, Any]) -> str:
    """`clean-70-15-15`, `clean-from-source`; a class view is added to it."""
    view = re.sub(r"[^a-z0-9]+", "-", str(options.get("view", "")).lower()).strip("-")
    ratios = "-".join(_format_shares(options.get("ratios") or _RATIOS))
    how = "from-source" if options.get("from_source") else ratios
    return "-".join(part for part in (CLEAN, how, view) if part)


def _format_shares(ratios: Any) -> list[str]:
    """Percent, from percent or shares; a clean name has no dot."""
    total = sum(map(float, ratios))
    return [f"{100 * float(ratio) / total:g}".replace(".", "_") for ratio in ratios]


def _leave_out_copies(rows: pd.DataFrame, keys: list[str], *, strict: bool) -> pd.DataFrame:
    """The rows without those in val and test that share a key with a training row.

    Parameters
    ----------
    strict : also leave out those in val that share a key with a test row
    """
    part = rows["source_split"]
    leaks = pd.Series(False, rows.index)
    for key in keys:
        value = rows[key].where(rows[key] != "", None)
        leaks |= value.isin(set(value[part == "train"].dropna())) & (part != "train")
        if strict:
            leaks |= value.isin(set(value[part == "test"].dropna())) & (part == "val")
    return rows[~leaks]


def _to_table(rows: pd.DataFrame, parts: "pd.Series[str]") -> pd.DataFrame:
    return sort_rows(rows.assign(split=parts)[SPLIT_COLUMNS])


def count_parts(table: pd.DataFrame) -> dict[str, int]:
    """Rows of train, val and test."""
    return {part: int((table["split"] == part).sum()) for part in SPLITS}
