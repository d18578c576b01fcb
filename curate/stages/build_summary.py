"""What a build found, in words.

Rows of build come in. Counts per source, class and split go out, what has changed since the last
build, and warnings of differences between sources.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from curate.errors import amount, examples
from curate.result import format_counts
from curate.workspace.manifest import SPLITS, sources_of, split_face

MOSTLY = 0.5  # of the boxes: more of them that leave their pictures are no boxes

NO_SPLIT = "none"
COLUMNS = (*SPLITS, NO_SPLIT)


def count_rows(rows: pd.DataFrame, *, is_measured: bool = True) -> dict[str, Any]:
    """Rows in all, unreadable, per class, per split of the source, and per source.

    Parameters
    ----------
    is_measured : False in a dry run, which reads no picture; `unreadable` is None then
    """
    unreadable = int((rows["pixel_hash"] == "").sum())
    return {
        "rows": len(rows),
        "unreadable": unreadable if is_measured else None,
        "classes": rows["given_label"].value_counts().sort_index().to_dict(),
        "source_split": rows["source_split"].replace("", NO_SPLIT).value_counts().to_dict(),
        "sources": sources_of(rows["path"]).value_counts().sort_index().to_dict(),
    }


def format_rows(counts: Mapping[str, Any]) -> str:
    """The summary line of `count_rows`."""
    splits, sources, unreadable = counts["source_split"], counts["sources"], counts["unreadable"]
    per_class = format_counts(counts["classes"])
    per_source = f"; {format_counts(sources)}" if len(sources) > 1 else ""
    per_split = format_counts({name: splits[name] for name in COLUMNS if name in splits})
    read = "pictures not read" if unreadable is None else f"{unreadable:,} unreadable"
    return (
        f"build: {amount(counts['rows'], 'row')} ({per_class}){per_source}; "
        f"source split: {per_split}; {read}"
    )


def format_plan(rows: pd.DataFrame, layouts: Mapping[str, tuple[str, str]]) -> str:
    """The layout of each source of a dry run, and a table of its classes and splits.

    Parameters
    ----------
    layouts : source name -> name of the layout, what it looks like
    """
    lines = []
    for source, (layout, looks_like) in layouts.items():
        own = rows[sources_of(rows["path"]) == source]
        split = own["source_split"].replace("", NO_SPLIT)
        present = [name for name in COLUMNS if (split == name).any()]
        table = pd.crosstab(own["given_label"], split).reindex(columns=present)
        table["all"] = table.sum(axis=1)
        formatters = dict.fromkeys(table.columns, "{:,}".format)
        printed = table.rename_axis(index="class", columns=None).reset_index()
        text = printed.to_string(index=False, formatters=formatters)
        lines += [f"{source}: layout {layout} ({looks_like})"]
        lines += [f"  {line}" for line in text.splitlines()]
    return "\n".join(lines)


def list_changes(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """One note per source whose files have changed: added, changed, moved, deleted.

    Parameters
    ----------
    before, after : rows with path and sha256; sources that are in one of them only are left out
    """
    was_in, is_in = sources_of(before["path"]), sources_of(after["path"])
    notes = []
    for source in sorted(set(was_in) & set(is_in)):
        changes = _compare(_sha256_at(before[was_in == source]), _sha256_at(after[is_in == source]))
        parts = [
            f"{len(paths):,} {what} ({examples(paths, 1)})"
            for what, paths in changes.items()
            if paths
        ]
        if parts:
            notes.append(f"{source}: since the last build {', '.join(parts)}")
    return notes


def count_changed_labels(
    before: pd.DataFrame, after: pd.DataFrame, decided: Collection[str]
) -> tuple[dict[str, int], str]:
    """How many given labels have changed since the last build; and the end of the summary.

    A picture that is moved, as into the folder of another class, is compared where it was.

    Parameters
    ----------
    decided : paths of the images with a current decision

    Returns
    -------
    `changed` and, of these, `decided`; and a text that is empty without a change
    """
    given = {**_labels_of(before), **_labels_before_a_move(before, after)}
    changed = [row for row in _labels_of(after).items() if given.get(*row) != row[1]]
    of_these = sum(path in decided for path, _ in changed)
    counts = {"changed": len(changed), "decided": of_these}
    if not changed:
        return counts, ""
    path, label = changed[0]
    return counts, (
        f"; {amount(len(changed), 'given label')} changed since the last build (first: {path}, "
        f"{given[path]}, now {label}), people have decided on {of_these:,} of these images and "
        "their decisions stand"
    )


def _labels_of(rows: pd.DataFrame) -> dict[str, str]:
    return dict(zip(rows["path"], rows["given_label"], strict=True))


def _labels_before_a_move(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, str]:
    """New path -> given label where these bytes were, if they were and are at one path each."""
    old, new = _sha256_at(before), _sha256_at(after)
    left = _sole_paths(old.items() - new.items())
    arrived = _sole_paths(new.items() - old.items())
    label_at = _labels_of(before)
    return {arrived[face]: label_at[left[face]] for face in left.keys() & arrived.keys()}


def _sole_paths(images: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """(sha256, number of the face) -> its path, of those at one path; `images` are path, sha256."""
    paths_of: dict[tuple[str, str], list[str]] = {}
    for path, sha256 in images:
        if sha256:  # a dry run reads no bytes
            paths_of.setdefault((sha256, split_face(path)[1]), []).append(path)
    return {face: paths[0] for face, paths in paths_of.items() if len(paths) == 1}


def _sha256_at(rows: pd.DataFrame) -> dict[str, str]:
    return dict(zip(rows["path"], rows["sha256"], strict=True))


def _compare(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, list[str]]:
    """Kind of change -> paths, given path -> sha256; bytes that left one path for another moved."""
    left = {old[path] for path in old.keys() - new.keys()}
    arrived = {new[path] for path in new.keys() - old.keys()}
    kinds: dict[str, list[str]] = {"added": [], "changed": [], "moved": [], "deleted": []}
    for path, sha256 in new.items():
        if path not in old:
            kinds["moved" if sha256 in left else "added"].append(path)
        elif old[path] != sha256:
            kinds["changed"].append(path)
    kinds["deleted"] = [p for p in old if p not in new and old[p] not in arrived]
    return kinds


def warn_of_differences(rows: pd.DataFrame) -> list[str]:
    """Warnings of what a model could learn instead of the expression.

    Sources may differ in their classes or in the size of their faces; a model could then learn the
    source.
    """
    source = sources_of(rows["path"])
    if source.nunique() < 2:
        return []
    return _warn_of_classes(rows, source) + _warn_of_sizes(rows, source)


def warn_of_cut_boxes(rows: pd.DataFrame) -> list[str]:
    """A warning of boxes that leave their picture: a face is smaller then than its box.

    Where most of them do, corners were read as a corner and a size.
    """
    boxed = rows[(rows["box"] != "") & (rows["width"] != "")]
    if boxed.empty:
        return []
    sizes = boxed["box"].str.split(expand=True)[[2, 3]].astype(int)
    is_cut = (sizes[2] > boxed["width"].astype(int)) | (sizes[3] > boxed["height"].astype(int))
    if not is_cut.any():
        return []
    many = amount(int(is_cut.sum()), "box leaves its picture", "boxes leave their pictures")
    hint = ""
    if is_cut.mean() > MOSTLY:
        hint = ": if they hold corners, `--column corners=NAME` reads them so"
    return [f"{many}: cut at the edge ({examples(list(boxed['path'][is_cut]))}){hint}"]


def _warn_of_classes(rows: pd.DataFrame, source: "pd.Series[str]") -> list[str]:
    names = sorted(set(source))
    present = {name: set(rows.loc[source == name, "given_label"]) for name in names}
    partial = set.union(*present.values()) - set.intersection(*present.values())
    if not partial:
        return []
    parts = []
    for label in sorted(partial):
        having = [name for name in names if label in present[name]]
        parts.append(f"{label} only in {examples(having)}")
    return [
        f"classes differ between sources ({'; '.join(parts)}): "
        "a model may learn the source; --classes narrows them"
    ]


def _warn_of_sizes(rows: pd.DataFrame, source: "pd.Series[str]") -> list[str]:
    size = (rows["width"] + "x" + rows["height"])[rows["width"] != ""]
    usual: Sequence[str] = [
        f"{name} {sizes.mode().iat[0]}" for name, sizes in size.groupby(source[size.index])
    ]
    if len({text.rpartition(" ")[2] for text in usual}) < 2:
        return []
    return [
        f"sizes differ between sources (mostly {', '.join(usual)}): every face is decoded upright, "
        "8 bits a channel, cropped to its box; dedup and train see it in grey, "
        "scaled to 48 x 48 or the recipe's size"
    ]
