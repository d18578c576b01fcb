"""dedup: copies of one image -> duplicate groups, the copy to keep, and label conflicts.

The manifest and its image files come in: dedup reads thumbnails of the images and keeps them in the
cache. Its four columns and `pairs.csv` go out.

Exact copies have equal decoded pixels; near copies are verified pairs of `curate.duplicates.pairs`.
A duplicate group is the closure over both, so that a fold or split never separates an image from
its copy. Dropping is stricter, against chaining: in a chain a~b~c whose ends differ, all three
share a group, but an image is redundant only if it is itself a verified copy of the kept image,
under the same label (law 6). A copy under another label is never dropped; it is a label conflict
for the reviewer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from curate.components import Rows, label_components
from curate.duplicates.copies import SURE, Pair, find_copies
from curate.duplicates.pair_table import PAIR_COLUMNS
from curate.duplicates.pairs import SearchOptions, find_pairs
from curate.duplicates.search_cache import read_comparison, write_comparison
from curate.errors import amount
from curate.images.thumbnails import ChosenThumbnails, load_thumbnails
from curate.workspace.manifest import group_keys, owned_by
from curate.workspace.receipts import StageResult

INPUT_COLUMNS = (
    "pixel_hash", "phash", "width", "height", "box", "given_label",
    "source_split", "subject", "sequence", "quality", "human",
)  # fmt: skip
# The copy in the most held-out split is kept, so that a published test set stays whole and the
# training set gives way.
KEEP_FIRST = {"test": 0, "val": 1, "train": 2, "": 3}


def dedup(
    manifest: pd.DataFrame,
    locate: Callable[[str], Path],
    *,
    sure: float = SURE,
    near: bool = True,
    new_since: Path | None = None,
    options: SearchOptions | None = None,
) -> StageResult:
    """Find the copies.

    Parameters
    ----------
    locate : manifest path -> image file
    sure : score from which (inclusive) a pair can count as copies (`find_copies`); the other
        pairs from `LOOK` on are listed for the reviewer
    near : False finds exact copies only and reads no image
    new_since : cache folder of an earlier run: compare only the images added since, with all
        images, and keep the other pairs of that run; None compares all
    options : how to search; None for the defaults

    Raises
    ------
    WorkspaceError  if `new_since` holds no earlier run
    """
    pairs = []
    if near:
        pairs = _near_pairs(manifest, locate, sure, new_since, options or SearchOptions())
    copies = find_copies(pairs, list(manifest["given_label"]), sure)
    columns = group_duplicates(manifest, [(pair.first, pair.second) for pair in copies])
    table = _pairs_table(manifest, pairs, copies)
    counts = count_copies(manifest, columns) | {"look_pairs": int((table["band"] == "look").sum())}
    summary = (
        f"dedup: {amount(len(manifest), 'row')}, {amount(counts['groups'], 'group')}, "
        f"{amount(counts['surplus'], 'surplus image')}{_format_redundant(counts)}; "
        f"{amount(counts['conflict_rows'], 'row')} of "
        f"{amount(counts['conflict_groups'], 'group')} in label conflict; "
        f"{amount(counts['look_pairs'], 'pair')} to look at (band look in pairs.csv)"
    )
    return StageResult(summary, columns=columns, tables={"pairs.csv": table}, counts=counts)


def _format_redundant(counts: Mapping[str, int]) -> str:
    """How many of the surplus images are redundant, and why the others are not."""
    exact, near = counts["exact"], counts["near"]
    text = f": {exact:,} exact and {near:,} near copies are redundant"
    others = counts["surplus"] - exact - near
    return f"{text}, {others:,} not (another label, no direct copy, decided)" if others else text


def group_duplicates(manifest: pd.DataFrame, near: Sequence[tuple[int, int]]) -> pd.DataFrame:
    """The four columns of dedup.

    Parameters
    ----------
    near : verified near copies as pairs of row numbers; exact copies are found by their pixel hash
    """
    path = manifest["path"]
    node = _first_of_pixels(manifest)
    near = [(int(node[a]), int(node[b])) for a, b in near]
    first, second = np.array([*near, *enumerate(node)], dtype=np.int64).reshape(-1, 2).T
    component = label_components(first, second, len(node))
    size = pd.Series(1, index=manifest.index).groupby(component).transform("sum")
    labels = manifest["given_label"].groupby(component).transform("nunique")
    names = list(owned_by("dedup"))
    columns = pd.DataFrame("", index=manifest.index, columns=names, dtype=path.dtype)
    columns["duplicate_group"] = path.groupby(component).transform("min").where(size > 1, "")
    columns["label_conflict"] = np.where((labels > 1) & (size > 1), "true", "")
    redundant = _redundant_rows(manifest, component, node, near)
    rows, keepers = list(redundant), list(redundant.values())
    columns.loc[rows, "duplicate_of"] = path[keepers].to_numpy()
    columns.loc[rows, "duplicate_kind"] = np.where(node[rows] == node[keepers], "exact", "near")
    return columns


def count_copies(manifest: pd.DataFrame, columns: pd.DataFrame) -> dict[str, int]:
    """The numbers of the summary; surplus images are those beyond one per group."""
    group = columns["duplicate_group"][columns["duplicate_group"] != ""]
    exact = manifest["pixel_hash"][manifest["pixel_hash"] != ""].value_counts()
    conflicts = columns[columns["label_conflict"] == "true"]
    return {
        "groups": group.nunique(),
        "grouped_rows": len(group),
        "surplus": len(group) - group.nunique(),
        "exact_groups": int((exact > 1).sum()),
        "exact_rows": int(exact[exact > 1].sum()),
        "exact": int((columns["duplicate_kind"] == "exact").sum()),
        "near": int((columns["duplicate_kind"] == "near").sum()),
        "conflict_rows": len(conflicts),
        "conflict_groups": conflicts["duplicate_group"].nunique(),
    }


def _first_of_pixels(manifest: pd.DataFrame) -> Rows:
    """(N,) the first row with the same pixels; of an unreadable row, the row itself."""
    row = pd.Series(np.arange(len(manifest)), index=manifest.index)
    first = row.groupby(manifest["pixel_hash"]).transform("min")
    return first.where(manifest["pixel_hash"] != "", row).to_numpy()


def _redundant_rows(
    manifest: pd.DataFrame, component: Rows, node: Rows, near: Sequence[tuple[int, int]]
) -> dict[int, int]:
    """Redundant row -> the kept row it is a verified copy of.

    The rows of a group are visited best first. A row is redundant if it is a copy of a row that is
    already kept and agrees with its label, else it is kept. A person's decision is left as it is.
    """
    copies = {*near, *((b, a) for a, b in near)}
    given = manifest["given_label"].to_numpy()
    is_human = (manifest["reason"] == "human").to_numpy()
    final = np.where(is_human, manifest["label"], given)

    def is_copy_of(row: int, kept_row: int) -> bool:
        is_exact = node[row] == node[kept_row]
        is_near = (int(node[kept_row]), int(node[row])) in copies
        return (is_exact or is_near) and given[row] in (given[kept_row], final[kept_row])

    kept: dict[int, list[int]] = {}
    redundant: dict[int, int] = {}
    for row in _best_first(manifest, component):
        rows_kept = kept.setdefault(int(component[row]), [])
        originals = () if is_human[row] else rows_kept
        original = next((k for k in originals if is_copy_of(row, k)), None)
        if original is None:
            rows_kept.append(row)
        else:
            redundant[row] = original
    return redundant


def _best_first(manifest: pd.DataFrame, component: Rows) -> list[int]:
    """The grouped rows that may be kept, the best copy of a group first."""
    is_human = manifest["reason"] == "human"
    table = pd.DataFrame(
        {
            "row": np.arange(len(manifest)),
            "is_human": is_human,
            "split": manifest["source_split"].map(KEEP_FIRST),
            "pixels": _area(manifest),
        }
    )
    is_dropped = is_human & (manifest["status"] == "drop")
    is_grouped = pd.Series(component, index=manifest.index).duplicated(keep=False)
    table = table[is_grouped & ~is_dropped & (is_human | (manifest["quality"] == ""))]
    order = ["is_human", "split", "pixels", "row"]
    return table.sort_values(order, ascending=[False, True, False, True])["row"].tolist()


def _area(manifest: pd.DataFrame) -> "pd.Series[int]":
    width, height = (manifest[name].replace("", "0").astype(int) for name in ("width", "height"))
    return width * height


def _near_pairs(
    manifest: pd.DataFrame,
    locate: Callable[[str], Path],
    sure: float,
    new_since: Path | None,
    options: SearchOptions,
) -> list[Pair]:
    """Verified pairs of distinct images; one with a `quality` finding has exact copies only."""
    is_usable = (manifest["pixel_hash"] != "") & (manifest["quality"] == "")
    is_distinct = is_usable & ~manifest["pixel_hash"].duplicated()
    distinct, rows = manifest[is_distinct], np.flatnonzero(is_distinct)
    pixels = list(distinct["pixel_hash"])
    known, is_known = read_comparison(new_since, pixels) if new_since else ([], None)
    boxes = zip(manifest["path"], manifest["box"], strict=True)
    every = load_thumbnails(
        [(locate(path), box) for path, box in boxes],
        list(manifest["pixel_hash"]),
        cache=options.cache,
        memory_bytes=options.memory_bytes // 4,
        engine_name=options.engine_name,
        workers=options.workers,
    )
    thumbnails = ChosenThumbnails(every, rows)
    is_new = None if is_known is None else ~is_known
    phashes, labels = list(distinct["phash"]), list(distinct["given_label"])
    found = find_pairs(
        thumbnails, phashes, labels, sure=sure, known=known, is_new=is_new, options=options
    )
    if options.cache is not None:
        write_comparison(options.cache, pixels, found)
    # The frames of one sequence are alike without being copies.
    sequences = _list_sequences(manifest[is_usable], pixels)
    pairs = []
    for pair in found:
        if not sequences[pair.first] & sequences[pair.second]:
            first, second = int(rows[pair.first]), int(rows[pair.second])
            pairs.append(replace(pair, first=first, second=second))
    return pairs


def _list_sequences(manifest: pd.DataFrame, pixels: Sequence[str]) -> list[frozenset[str]]:
    """The sequences of each picture, whichever of the rows with its pixels they are in."""
    keys = group_keys(manifest)["sequence"]
    found: dict[str, set[str]] = {}
    for each, key in zip(manifest["pixel_hash"][keys != ""], keys[keys != ""], strict=True):
        found.setdefault(each, set()).add(key)
    return [frozenset(found.get(each, ())) for each in pixels]


def _pairs_table(
    manifest: pd.DataFrame, pairs: Sequence[Pair], copies: Sequence[Pair]
) -> pd.DataFrame:
    """`pairs.csv`: exact copies, each with the first row of its pixels, and the near pairs."""
    path = manifest["path"].to_numpy()
    rows = [
        (path[first], path[row], "1.0000", "identical", "sure")
        for row, first in enumerate(_first_of_pixels(manifest))
        if first != row
    ]
    sure = set(copies)
    for pair in pairs:
        band = "sure" if pair in sure else "look"
        score = f"{pair.score:.4f}"
        rows.append((path[pair.first], path[pair.second], score, pair.transform, band))
    return pd.DataFrame(sorted(rows), columns=PAIR_COLUMNS, dtype=str)
