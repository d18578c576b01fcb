"""leaks: each held-out image that has a copy in train, beside that copy.

In: the manifest and the verified pairs of dedup. Out: leaks.csv with every leaked row, audit.html
with pairs of images. The counts are those of `curate.reports.audit`.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import NamedTuple

import pandas as pd

from curate.duplicates.pair_table import read_pairs
from curate.errors import amount
from curate.files import write_atomically
from curate.pages.render import render_page
from curate.reports.album import Album, to_records
from curate.reports.audit import HELD_OUT, audit, filled_splits, format_audit, summarize_audit
from curate.workspace.manifest import export_bytes
from curate.workspace.receipts import note_unlike_receipt
from curate.workspace.workspace import Workspace

SHOWN = 60  # pairs a section of the page: enough to see what kind of copies they are


@dataclass(frozen=True)
class LeakedRow:
    """One row of leaks.csv: a held-out image and its nearest copy in train.

    Attributes
    ----------
    split : column of the split, `source_split` or `split`
    part : val or test
    path, label : of the held-out image
    copy, copy_label : path and label of the copy
    kind : exact, near, or group where both are copies of a third image only
    score, transform : of the verified pair; empty for a group
    same_label : true or false
    """

    split: str
    part: str
    path: str
    label: str
    copy: str
    copy_label: str
    kind: str
    score: str
    transform: str
    same_label: str


LEAK_COLUMNS = [field.name for field in fields(LeakedRow)]


class Copy(NamedTuple):
    """A copy in train: `path` is column `copy` of leaks.csv, the other fields are its namesakes."""

    path: str
    kind: str
    score: str
    transform: str


@dataclass(frozen=True)
class LeakSection:
    """One section of the page: rows of leaks.csv with the data: URLs `image` and `copy_image`."""

    title: str
    shown: list[dict[str, str]]


def list_leaks(manifest: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Each val or test row with a copy in train, beside its nearest one: a `LeakedRow` each.

    Parameters
    ----------
    pairs : the verified pairs of dedup
    """
    leaks: list[LeakedRow] = []
    for split, rows, label_column in filled_splits(manifest):
        leaks += _list_split(split, rows, label_column, pairs)
    return pd.DataFrame(map(asdict, leaks), columns=LEAK_COLUMNS, dtype=str)


def write_leaks(workspace: Workspace, *, page: bool, table: bool) -> list[str]:
    """Write leaks.csv (if `table`) and audit.html (if `page`).

    Returns
    -------
    one line per file written

    Raises
    ------
    WorkspaceError  if the workspace has no verified pairs
    """
    if not page and not table:
        return []
    manifest = workspace.read()
    leaks = list_leaks(manifest, read_pairs(workspace.pairs))
    note_unlike_receipt(workspace.root, "dedup", workspace.pairs, "curate dedup")
    contents = {}
    if table:
        contents[workspace.root / "leaks.csv"] = export_bytes(leaks)
    if page:
        html = _render_page(workspace, manifest, leaks)
        contents[workspace.root / "audit.html"] = html.encode()
    for file, data in contents.items():
        write_atomically(file, data)
    return [f"audit: {amount(len(leaks), 'leaked row')} -> {file}" for file in contents]


def _list_split(
    split: str, rows: pd.DataFrame, label_column: str, pairs: pd.DataFrame
) -> list[LeakedRow]:
    """The leaked rows of one split, each with its nearest copy."""
    part_of = dict(zip(rows["path"], rows[split], strict=True))
    label_of = dict(zip(rows["path"], rows[label_column], strict=True))
    in_train = rows[(rows[split] == "train") & (rows["duplicate_group"] != "")]
    first_of_group = in_train.groupby("duplicate_group")["path"].min().to_dict()
    copy_of = _nearest_in_train(part_of, pairs) | _exact_in_train(rows, in_train)
    leaks: list[LeakedRow] = []
    for path, group in zip(rows["path"], rows["duplicate_group"], strict=True):
        part, label = part_of[path], label_of[path]
        if part not in HELD_OUT or group not in first_of_group:
            continue
        copy = copy_of.get(path) or Copy(first_of_group[group], "group", "", "")
        leak = LeakedRow(
            split=split,
            part=part,
            path=path,
            label=label,
            copy=copy.path,
            copy_label=label_of[copy.path],
            kind=copy.kind,
            score=copy.score,
            transform=copy.transform,
            same_label="true" if label_of[copy.path] == label else "false",
        )
        leaks.append(leak)
    return leaks


def _exact_in_train(rows: pd.DataFrame, in_train: pd.DataFrame) -> dict[str, Copy]:
    """Path -> its first copy in train with the same pixels."""
    first_of_pixels = in_train.groupby("pixel_hash")["path"].min().to_dict()
    copies = {}
    for path, pixel_hash in zip(rows["path"], rows["pixel_hash"], strict=True):
        if pixel_hash in first_of_pixels:
            copies[path] = Copy(first_of_pixels[pixel_hash], "exact", "1.0000", "identical")
    return copies


def _nearest_in_train(part_of: dict[str, str], pairs: pd.DataFrame) -> dict[str, Copy]:
    """Held-out path -> its copy in train of the highest score among the sure pairs."""
    sure = pairs[pairs["band"] == "sure"]
    ranked = sure.sort_values(["score", "path_a", "path_b"], ascending=[False, True, True])
    nearest: dict[str, Copy] = {}
    for a, b, score, transform in zip(
        ranked["path_a"], ranked["path_b"], ranked["score"], ranked["transform"], strict=True
    ):
        for path, copy in ((a, b), (b, a)):
            if part_of.get(path) in HELD_OUT and part_of.get(copy) == "train":
                nearest.setdefault(path, Copy(copy, "near", score, transform))
    return nearest


def _render_page(workspace: Workspace, manifest: pd.DataFrame, leaks: pd.DataFrame) -> str:
    """The counts, then the pairs side by side: those under different labels first."""
    counts = audit(manifest)
    shown_paths = manifest["path"].isin({*leaks["path"], *leaks["copy"]})
    album = Album(workspace, manifest[shown_paths])
    sections = []
    for split, of_split in leaks.groupby("split", sort=True):
        for same_label, words in (("false", "another label"), ("true", "the same label")):
            rows = of_split[of_split["same_label"] == same_label]
            shown = _take_evenly(rows, SHOWN)
            title = f"{split}: {amount(len(rows), 'row')} whose nearest copy in train has {words}"
            images, copy_images = (album.show_all(shown[name]) for name in ("path", "copy"))
            pictured = shown.assign(image=images, copy_image=copy_images)
            sections.append(LeakSection(f"{title}, {len(shown)} shown", to_records(pictured)))
    return render_page(
        "curate.reports",
        "audit.html.j2",
        title=f"Leakage: {workspace.root.name}",
        heading="Held-out images with a copy in train",
        counts=f"{format_audit(counts)}\n{summarize_audit(counts)}",
        leaks=sections,
    )


def _take_evenly(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most `most` rows, at equal steps from the first on."""
    step = max(1, math.ceil(len(rows) / most))
    return rows.iloc[::step]
