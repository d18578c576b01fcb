"""Duplicate groups: copies under one label, and label conflicts, sampled over the classes.

The largest groups come first, and among equals those whose images differ most.
"""

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from curate.reports.album import Album, Records
from curate.reports.sampling import take_over_kinds

SHOWN_GROUPS = 14
SHOWN_OF_GROUP = 8
CHANGES = {"mirror": "mirrored", "zoom": "scaled", "angle": "turned", "shift": "moved"}


@dataclass(frozen=True)
class Group:
    """One duplicate group: a line about it, its first images, and how many more it has."""

    words: str
    images: Records
    more: int


@dataclass(frozen=True)
class Section:
    """Some of the groups, and how many there are."""

    count: int
    groups: list[Group]


@dataclass(frozen=True)
class Likeness:
    """The lowest score of a group's verified pairs, in [0, 1], and how the images were changed."""

    score: float
    changes: frozenset[str]


ALIKE = Likeness(1.0, frozenset())


def show_copies(
    manifest: pd.DataFrame, pairs: pd.DataFrame, album: Album
) -> tuple[Section, Section]:
    """Copies under one label, and copies under several.

    Parameters
    ----------
    pairs : the verified pairs of dedup
    """
    # Blank images are copies of one another too, and teach nothing.
    is_face = (manifest["duplicate_group"] != "") & (manifest["quality"] == "")
    grouped = manifest[is_face]
    likeness = measure_likeness(grouped, pairs)
    is_conflict = grouped["label_conflict"] == "true"
    return (
        _show_groups(grouped[~is_conflict], likeness, album),
        _show_groups(grouped[is_conflict], likeness, album),
    )


def measure_likeness(grouped: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, Likeness]:
    """Duplicate group -> how alike its images are; only groups of images that are not identical."""
    group_of = dict(zip(grouped["path"], grouped["duplicate_group"], strict=True))
    sure = pairs[pairs["band"] == "sure"]
    scores = pd.to_numeric(sure["score"], errors="coerce").fillna(1.0)
    found: dict[str, Likeness] = {}
    columns = zip(sure["path_a"], sure["path_b"], scores, sure["transform"], strict=True)
    for path, other, score, transform in columns:
        group = group_of.get(path, "")
        if group and group_of.get(other) == group:
            before = found.get(group, ALIKE)
            changes = frozenset(transform.split()) & CHANGES.keys()
            found[group] = Likeness(min(before.score, float(score)), before.changes | changes)
    return found


def _show_groups(rows: pd.DataFrame, likeness: dict[str, Likeness], album: Album) -> Section:
    labels: dict[str, Counter[str]] = {}
    for name, label in zip(rows["duplicate_group"], rows["given_label"], strict=True):
        labels.setdefault(name, Counter())[label] += 1

    def order(name: str) -> tuple[int, int, float, str]:
        alike = likeness.get(name, ALIKE)
        return (-len(labels[name]), -labels[name].total(), alike.score, name)

    names = sorted(labels, key=order)
    chosen = take_over_kinds(names, lambda name: frozenset(labels[name]), SHOWN_GROUPS)
    shown = []
    for name in chosen:
        group = rows[rows["duplicate_group"] == name]
        shown.append(_show_group(group, likeness.get(name, ALIKE), album))
    return Section(len(names), shown)


def _show_group(group: pd.DataFrame, likeness: Likeness, album: Album) -> Group:
    """The kept image first."""
    labels = Counter(group["given_label"])
    words = ", ".join(f"{label} {count}" for label, count in labels.most_common())
    identical = group["pixel_hash"].nunique() == 1
    alike = "identical pixels" if identical else f"correlation {likeness.score:.3f} and more"
    changes = [word for name, word in CHANGES.items() if name in likeness.changes]
    line = f"{len(group)} images: {'; '.join([words, alike, *changes])}"
    kept_first = group.assign(order=group["status"] != "keep").sort_values(["order", "path"])
    images = album.show_rows(kept_first.drop(columns="order").head(SHOWN_OF_GROUP))
    return Group(line, images, max(len(group) - SHOWN_OF_GROUP, 0))
