"""Leaked images one by one: each held-out row that has a copy in train beside that copy, as a table and as a page.

Reads the manifest and the verified pairs of dedup; the numbers are those of `curate.reports.audit`.
"""

import html
from pathlib import Path

import pandas as pd

from curate.duplicates.pairs import PAIR_COLUMNS
from curate.errors import WorkspaceError
from curate.files import write_atomically
from curate.reports.audit import HELD_OUT, audit, filled_splits, format_audit, summarize_audit
from curate.reports.html import Album, make_page, make_section
from curate.workspace.manifest import table_bytes
from curate.workspace.workspace import Workspace

LEAK_COLUMNS = [
    "split", "part", "path", "label", "copy", "copy_label", "kind", "score", "transform", "same_label",
]  # fmt: skip
SHOWN = 60  # pairs a section of the page: enough to see what kind of copies they are


def list_leaks(manifest: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Each val or test row with a copy in train, beside its nearest one (`LEAK_COLUMNS`).

    Parameters
    ----------
    pairs : the verified pairs of dedup

    Returns
    -------
    `kind` is exact, near, or group where both are copies of a third image only; `score` and `transform` are those of the
    pair, empty for a group
    """
    rows = [
        row
        for name, part, label in filled_splits(manifest)
        for row in _pair_up(name, part, part[label], pairs)
    ]
    return pd.DataFrame(rows, columns=LEAK_COLUMNS, dtype=str)


def write_leaks(workspace: Workspace, *, page: bool, table: bool) -> list[str]:
    """audit.html with the pairs side by side, leaks.csv with all of them; returns where they are."""
    manifest, pairs = workspace.read(), _read_pairs(workspace.pairs)
    leaks = list_leaks(manifest, pairs)
    written = {}
    if table:
        written[workspace.root / "leaks.csv"] = table_bytes(leaks)
    if page:
        written[workspace.root / "audit.html"] = _page(workspace, manifest, leaks).encode()
    for file, data in written.items():
        write_atomically(file, data)
    return [f"audit: {len(leaks):,} leaked rows -> {file}" for file in written]


def _read_pairs(file: Path) -> pd.DataFrame:
    try:
        pairs = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError):
        pairs = pd.DataFrame()
    if list(pairs.columns) != PAIR_COLUMNS:
        raise WorkspaceError(f"{file}: holds no verified pairs: run `curate dedup` again")
    return pairs


def _pair_up(
    name: str, rows: pd.DataFrame, label: "pd.Series[str]", pairs: pd.DataFrame
) -> list[tuple[str, ...]]:
    """The leaked rows of one split in the form of `LEAK_COLUMNS`, each with its nearest copy in train."""
    part = dict(zip(rows["path"], rows[name], strict=True))
    of = dict(zip(rows["path"], label, strict=True))
    in_train = rows[(rows[name] == "train") & (rows["duplicate_group"] != "")]
    first_of_group = in_train.groupby("duplicate_group")["path"].min()
    same_pixels = in_train.groupby("pixel_hash")["path"].min()
    pixels = dict(zip(rows["path"], rows["pixel_hash"], strict=True))
    best = _nearest_in_train(part, pairs)
    best |= {
        path: (same_pixels[of_path], "exact", "1.0000", "identical")
        for path, of_path in pixels.items()
        if of_path in same_pixels.index
    }
    found: list[tuple[str, ...]] = []
    for path, group in zip(rows["path"], rows["duplicate_group"], strict=True):
        if part[path] not in HELD_OUT or group not in first_of_group.index:
            continue
        copy, kind, score, transform = best.get(path, (first_of_group[group], "group", "", ""))
        same = "true" if of[copy] == of[path] else "false"
        found.append(
            (name, part[path], path, of[path], copy, of[copy], kind, score, transform, same)
        )
    return found


def _nearest_in_train(
    part: dict[str, str], pairs: pd.DataFrame
) -> dict[str, tuple[str, str, str, str]]:
    """Held-out path -> (train path, near, score, transform) of its highest sure pair."""
    best: dict[str, tuple[str, str, str, str]] = {}
    sure = pairs[pairs["band"] == "sure"].sort_values(
        ["score", "path_a", "path_b"], ascending=[False, True, True]
    )
    for a, b, score, transform in zip(
        sure["path_a"], sure["path_b"], sure["score"], sure["transform"], strict=True
    ):
        for held_out, copy in ((a, b), (b, a)):
            if part.get(held_out) in HELD_OUT and part.get(copy) == "train":
                best.setdefault(held_out, (copy, "near", score, transform))
    return best


def _page(workspace: Workspace, manifest: pd.DataFrame, leaks: pd.DataFrame) -> str:
    """The counts, then pairs side by side: those under different labels first, evenly over the whole list."""
    counts = audit(manifest)
    sections = [
        make_section(
            "How many",
            f"<pre>{html.escape(format_audit(counts))}\n{html.escape(summarize_audit(counts))}</pre>",
        )
    ]
    album = Album(workspace.locate())
    box = dict(zip(manifest["path"], manifest["box"], strict=True))
    for name, of_split in leaks.groupby("split", sort=True):
        for same, words in (
            ("false", "whose nearest copy in train has another label"),
            ("true", "whose nearest copy in train has the same label"),
        ):
            rows = of_split[of_split["same_label"] == same]
            shown = rows.iloc[:: -(-len(rows) // SHOWN) or 1]
            pictures = "".join(
                _side_by_side(album, dict(zip(LEAK_COLUMNS, row, strict=True)), box)
                for row in shown.to_numpy()
            )
            sections.append(
                make_section(f"{name}: {len(rows):,} rows {words}, {len(shown)} shown", pictures)
            )
    return make_page(
        f"Leakage: {workspace.root.name}", "Held-out images with a copy in train", sections
    )


def _side_by_side(album: Album, leak: dict[str, str], box: dict[str, str]) -> str:
    held_out = album.figure(leak["path"], box[leak["path"]], f"{leak['part']}: {leak['label']}")
    copy = album.figure(
        leak["copy"],
        box[leak["copy"]],
        f"train: {leak['copy_label']}<br>{leak['transform']} {leak['score']}",
    )
    return f'<span class="pair">{held_out}{copy}</span>'
