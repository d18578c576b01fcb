"""What a build found, in words: counts per source, class and split, what changed, and what a user should know of it."""

from collections.abc import Mapping, Sequence

import pandas as pd

from curate.errors import examples
from curate.workspace.manifest import SPLITS
from curate.workspace.receipts import StageResult

COLUMNS = (*SPLITS, "none")


def summarise(rows: pd.DataFrame, *, is_measured: bool = True) -> StageResult:
    """The summary of a build and its numbers; a dry run has measured nothing and tells of no unreadable picture."""
    classes = rows["given_label"].value_counts().sort_index()
    splits = rows["source_split"].replace("", "none").value_counts()
    sources = source_of(rows).value_counts().sort_index()
    unreadable = int((rows["pixel_hash"] == "").sum()) if is_measured else None
    counts = {
        "rows": len(rows),
        "unreadable": unreadable,
        "classes": classes.to_dict(),
        "source_split": splits.to_dict(),
        "sources": sources.to_dict(),
    }
    per_class = ", ".join(f"{name} {count:,}" for name, count in classes.items())
    per_split = ", ".join(f"{name} {splits[name]:,}" for name in COLUMNS if name in splits)
    per_source = (
        "; " + ", ".join(f"{name} {count:,}" for name, count in sources.items())
        if len(sources) > 1
        else ""
    )
    read = f"{unreadable:,} unreadable" if is_measured else "pictures not read"
    summary = (
        f"build: {len(rows):,} rows ({per_class}){per_source}; source split: {per_split}; {read}"
    )
    return StageResult(summary, counts=counts)


def draw_plan(rows: pd.DataFrame, layouts: Mapping[str, tuple[str, str]]) -> str:
    """For a dry run: the layout of each source (name -> layout, what it looks like), and its counts per class and split."""
    lines = []
    for source, (layout, looks_like) in layouts.items():
        here = rows[source_of(rows) == source]
        split = here["source_split"].replace("", "none")
        table = pd.crosstab(here["given_label"], split).reindex(
            columns=[s for s in COLUMNS if (split == s).any()]
        )
        table["all"] = table.sum(axis=1)
        lines += [f"{source}: layout {layout} ({looks_like})"]
        lines += ["  " + line for line in table.rename_axis(index="class", columns=None).reset_index().to_string(
            index=False, formatters=dict.fromkeys(table.columns, "{:,}".format)).splitlines()]  # fmt: skip
    return "\n".join(lines)


def source_of(rows: pd.DataFrame) -> "pd.Series[str]":
    """The source of each row: the start of its path."""
    return rows["path"].str.split("/", n=1).str[0]


def list_changes(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """One note per rebuilt source whose files are not what they were: added, changed, moved, deleted.

    Parameters
    ----------
    before, after : rows of the same sources, with path and sha256
    """
    notes = []
    for source in sorted(set(source_of(before)) & set(source_of(after))):
        old, new = before[source_of(before) == source], after[source_of(after) == source]
        old_sha256, new_sha256 = (
            dict(zip(each["path"], each["sha256"], strict=True)) for each in (old, new)
        )
        gone = [path for path in old_sha256 if path not in new_sha256]
        come = [path for path in new_sha256 if path not in old_sha256]
        changed = [
            path
            for path in new_sha256
            if old_sha256.get(path, new_sha256[path]) != new_sha256[path]
        ]
        left = {old_sha256[path] for path in gone}
        moved = [path for path in come if new_sha256[path] in left]
        arrived = {new_sha256[path] for path in moved}
        named = (
            ("added", [path for path in come if new_sha256[path] not in left]),
            ("changed", changed),
            ("moved", moved),
            ("deleted", [path for path in gone if old_sha256[path] not in arrived]),
        )
        told = [f"{len(paths):,} {what} ({examples(paths, 1)})" for what, paths in named if paths]
        notes += [f"{source}: since the last build {', '.join(told)}"] if told else []
    return notes


def warn_of_differences(rows: pd.DataFrame) -> list[str]:
    """What a model could learn in place of the expression, where sources differ in classes or in the size of faces."""
    source = source_of(rows)
    names = sorted(set(source))
    if len(names) < 2:
        return []
    present = {name: set(rows.loc[source == name, "given_label"]) for name in names}
    partial = sorted(
        {
            label
            for label in set.union(*present.values())
            if any(label not in has for has in present.values())
        }
    )
    notes = []
    if partial:
        where = "; ".join(
            f"{label} only in {examples([n for n in names if label in present[n]])}"
            for label in partial
        )
        notes.append(
            f"classes differ between sources ({where}): a model may learn the source; --classes narrows them"
        )
    return notes + _warn_of_sizes(rows, source)


def _warn_of_sizes(rows: pd.DataFrame, source: "pd.Series[str]") -> list[str]:
    size = (rows["width"] + "x" + rows["height"])[rows["width"] != ""]
    usual: Sequence[str] = [
        f"{name} {sizes.mode().iat[0]}" for name, sizes in size.groupby(source[size.index])
    ]
    if len({text.rpartition(" ")[2] for text in usual}) < 2:
        return []
    return [
        f"sizes differ between sources (mostly {', '.join(usual)}): every face is decoded upright, 8 bits a channel, cropped to "
        "its box; dedup and train see it in grey, scaled to 48 x 48 or the recipe's size"
    ]
