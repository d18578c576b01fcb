"""What changed from one published curation to another.

In: two curations, whose digests were compared when they were read. Out: the images per kind of
change. Nothing is written.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pandas as pd

from curate.errors import examples
from curate.publish.curation import Curation
from curate.publish.schema import KEY
from curate.result import Result

# Curation, digits -> value by key.
_Column = Callable[[Curation, int], "pd.Series[str]"]
SHOWN_DIGITS = 16


def compare(old: Curation, new: Curation) -> Result:
    """The images that were added or removed, or of which something is another now.

    That is the decision (keep or drop), the quality finding, the verdict of a person or a machine,
    the suggested label, or the part of a split. Images are known by their keys.
    """
    digits = min(old.digits, new.digits)
    before, after = (_by_key(each.images, digits).index for each in (old, new))
    both = before.intersection(after)
    columns: dict[str, _Column] = {
        "other_decision": partial(_of_images, "status"),
        "other_quality": partial(_of_images, "quality"),
        "other_verdict": _verdicts,
        "other_suggestion": _suggestions,
    }
    for split in sorted(old.splits.keys() | new.splits.keys()):
        columns[f"other_part_of_{split}"] = partial(_parts, split)
    changes: dict[str, list[str]] = {
        "added": [key[0] for key in after.difference(before)],
        "removed": [key[0] for key in before.difference(after)],
    }
    for name, column_of in columns.items():
        first, second = (
            column_of(each, digits).reindex(both, fill_value="") for each in (old, new)
        )
        changes[name] = [key[0] for key in both[(first != second).to_numpy()]]
    return _format_changes(old, new, changes)


def _by_key(table: pd.DataFrame, digits: int) -> pd.DataFrame:
    return table.assign(pixel_sha256=table["pixel_sha256"].str[:digits]).set_index(KEY)


def _of_images(column: str, curation: Curation, digits: int) -> "pd.Series[str]":
    return _by_key(curation.images, digits)[column]


def _verdicts(curation: Curation, digits: int) -> "pd.Series[str]":
    labels = _by_key(curation.tables["labels.csv"], digits)
    machine = labels["machine_label"].where(labels["verdict"] == "", "")
    return (labels["verdict"] + " " + labels["verdict_label"] + " " + machine).str.strip()


def _suggestions(curation: Curation, digits: int) -> "pd.Series[str]":
    return _by_key(curation.tables["labels.csv"], digits)["suggested_label"]


def _parts(split: str, curation: Curation, digits: int) -> "pd.Series[str]":
    """The part of each row; none of a split that the curation does not have."""
    table = curation.splits.get(split)
    if table is None:
        table = next(iter(curation.splits.values()), curation.images).head(0).assign(split="")
    return _by_key(table, digits)["split"]


def _format_changes(old: Curation, new: Curation, changes: Mapping[str, Sequence[str]]) -> Result:
    lines = []
    for name, hashes in changes.items():
        if hashes:
            shown = examples([each[:SHOWN_DIGITS] for each in hashes])
            lines.append(f"{name.replace('_', ' ')}: {len(hashes):,} ({shown})")
    counts = {name: len(rows) for name, rows in changes.items()}
    total = sum(counts.values())
    what = f"{total:,} changes" if total else "no change"
    summary = f"publish: {what} from {old.title} to {new.title}"
    return Result(summary, counts=counts, table="\n".join(lines))
