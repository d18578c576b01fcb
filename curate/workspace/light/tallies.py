"""What `curate status` counts, as counts that can be added: the whole is the sum of its parts.

A part of a workspace must hold, of each image in it, every line of the journal about it, and the
image of which it is a copy; an `Excerpt` is one.
"""

from collections.abc import Mapping

import pandas as pd

from curate.workspace.journal.decisions import is_consensus, is_machine
from curate.workspace.journal.verdicts import CurrentDecisions
from curate.workspace.manifest import kept_rows

Tallies = Mapping[str, Mapping[str, int]]


def count_all(rows: pd.DataFrame, current: CurrentDecisions) -> Tallies:
    """Kind of count -> name -> number; zeros are left out.

    Parameters
    ----------
    rows : of the manifest, with their verdicts
    current : the decisions about them
    """
    kept = kept_rows(rows)
    undecided = kept[~kept["reason"].isin(["human", "machine"])]
    people = [made for made in current.by_path.values() if not is_machine(made.by)]
    by_machine = kept.loc[kept["reason"] == "machine", "path"]
    makers = [current.by_path[path].by for path in by_machine if path in current.by_path]
    totals = {
        "rows": len(rows),
        "kept": len(kept),
        "suspects_left": int((undecided["suggested_label"] != "").sum()),
        "decisions": len(people),
        "by_consensus": sum(is_consensus(made.by) for made in people),
        "stale_decisions": len(current.stale),
    }
    return {
        "totals": {name: count for name, count in totals.items() if count},
        "per_class": _count(kept["label"]),
        "per_reason": _count(rows.loc[rows["status"] == "drop", "reason"]),
        "per_split": _count(kept["split"]),
        "machine_labels": _count(pd.Series(makers, dtype=str)),
    }


def replace_part(whole: Tallies, before: Tallies, after: Tallies) -> Tallies:
    """The counts of the whole, once a part of it has changed."""
    found: dict[str, dict[str, int]] = {}
    for kind, counts in whole.items():
        names = sorted({*counts, *after[kind]})
        new = {
            name: counts.get(name, 0) - before[kind].get(name, 0) + after[kind].get(name, 0)
            for name in names
        }
        found[kind] = {name: count for name, count in new.items() if count}
    return found


def _count(values: "pd.Series[str]") -> dict[str, int]:
    return {str(name): int(count) for name, count in values.value_counts().sort_index().items()}
