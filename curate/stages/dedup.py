"""dedup: copies of one photograph -> groups, the copy to keep, and label conflicts.

Exact copies have equal decoded pixels; near copies are verified pairs of `curate.duplicates.pairs`. A duplicate group is the closure
over both, so that a fold or split never separates a photograph from a copy. Dropping is stricter, which is the guard
against chaining: in a chain a~b~c whose ends differ, all three share a group, but an image is redundant only if it is
itself a verified copy of the image that is kept, under the same label (law 6). A copy under another label is never
dropped; it is a label conflict for the reviewer.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from curate.duplicates.pairs import PAIR_COLUMNS, SURE, Pair, SearchOptions, find_pairs
from curate.duplicates.search_cache import read_comparison, write_comparison
from curate.images.thumbnails import ChosenThumbnails, load_thumbnails
from curate.workspace.manifest import owned_by
from curate.workspace.receipts import StageResult

INPUT_COLUMNS = (
    "pixel_hash", "phash", "width", "height", "box", "given_label", "source_split", "subject", "sequence", "quality", "human",
)  # fmt: skip
# The copy in the most held-out split stays, so that a published test set stays whole and the training set gives way.
KEEP_FIRST = {"test": 0, "val": 1, "train": 2, "": 3}

Rows = npt.NDArray[np.int64]


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
    sure : score from which (inclusive) a pair counts as copies; between `LOOK` and it a pair is listed for the reviewer
    near : False finds exact copies only
    new_since : folder in which the last run left what it compared: compare the images added since with all, and keep what
        that run found about the others. None compares all

    Raises
    ------
    WorkspaceError  if no earlier run is remembered in `new_since`
    """
    pairs = (
        _near_pairs(manifest, locate, sure, new_since, options or SearchOptions()) if near else []
    )
    columns = group_duplicates(manifest, [(p.first, p.second) for p in pairs if p.score >= sure])
    table = _pairs_table(manifest, pairs, sure)
    counts = count_copies(manifest, columns) | {"look_pairs": int((table["band"] == "look").sum())}
    summary = (
        f"dedup: {len(manifest):,} rows, {counts['groups']:,} groups, {counts['surplus']:,} surplus images; redundant: "
        f"{counts['exact']:,} exact, {counts['near']:,} near; {counts['conflict_rows']:,} rows of "
        f"{counts['conflict_groups']:,} groups in label conflict; {counts['look_pairs']:,} pairs to look at"
    )
    return StageResult(summary, columns=columns, tables={"pairs.csv": table}, counts=counts)


def group_duplicates(manifest: pd.DataFrame, near: Sequence[tuple[int, int]]) -> pd.DataFrame:
    """The four columns of dedup.

    Parameters
    ----------
    near : verified near copies as pairs of row numbers; exact copies are known by their pixel hash
    """
    path = manifest["path"]
    node = _first_of_pixels(manifest)
    near = [(int(node[a]), int(node[b])) for a, b in near]
    component = _close(node, near)
    size = pd.Series(1, index=manifest.index).groupby(component).transform("sum")
    labels = manifest["given_label"].groupby(component).transform("nunique")
    columns = pd.DataFrame(
        "", index=manifest.index, columns=list(owned_by("dedup")), dtype=path.dtype
    )
    columns["duplicate_group"] = path.groupby(component).transform("min").where(size > 1, "")
    columns["label_conflict"] = np.where((labels > 1) & (size > 1), "true", "")
    redundant = _redundant_rows(manifest, component, node, near)
    rows, keepers = list(redundant), list(redundant.values())
    columns.loc[rows, "duplicate_of"] = path[keepers].to_numpy()
    columns.loc[rows, "duplicate_kind"] = np.where(node[rows] == node[keepers], "exact", "near")
    return columns


def count_copies(manifest: pd.DataFrame, columns: pd.DataFrame) -> dict[str, int]:
    """The numbers of the summary; surplus images are those over one a group."""
    group = columns["duplicate_group"]
    exact = manifest["pixel_hash"][manifest["pixel_hash"] != ""].value_counts()
    conflicts = columns[columns["label_conflict"] == "true"]
    return {
        "groups": group[group != ""].nunique(),
        "grouped_rows": int((group != "").sum()),
        "surplus": int((group != "").sum()) - group[group != ""].nunique(),
        "exact_groups": int((exact > 1).sum()),
        "exact_rows": int(exact[exact > 1].sum()),
        "exact": int((columns["duplicate_kind"] == "exact").sum()),
        "near": int((columns["duplicate_kind"] == "near").sum()),
        "conflict_rows": len(conflicts),
        "conflict_groups": conflicts["duplicate_group"].nunique(),
    }


def _first_of_pixels(manifest: pd.DataFrame) -> Rows:
    """(N,) the first row with the same pixels; an unreadable row is alone."""
    row = pd.Series(np.arange(len(manifest)), index=manifest.index)
    first = row.groupby(manifest["pixel_hash"]).transform("min")
    return first.where(manifest["pixel_hash"] != "", row).to_numpy()


def _close(node: Rows, near: Sequence[tuple[int, int]]) -> Rows:
    """(N,) the component of each row in the closure over exact and near copies."""
    i, j = np.array([*near, *enumerate(node)], dtype=np.int64).reshape(-1, 2).T
    links = coo_array((np.ones(len(i), dtype=bool), (i, j)), shape=(len(node), len(node)))
    component: Rows = connected_components(links, directed=False)[1]
    return component


def _redundant_rows(
    manifest: pd.DataFrame, component: Rows, node: Rows, near: Sequence[tuple[int, int]]
) -> dict[int, int]:
    """Redundant row -> the kept row it is a verified copy of.

    The rows of a group are visited best first; each is redundant if it is a copy of one that is already kept and agrees
    with its label, else it is kept. What a person decided stays as it is decided.
    """
    copies = {*near, *((b, a) for a, b in near)}
    given, label = manifest["given_label"].to_numpy(), manifest["label"].to_numpy()
    is_human = (manifest["reason"] == "human").to_numpy()
    kept: dict[int, list[int]] = {}
    redundant: dict[int, int] = {}
    for row in _best_first(manifest, component):
        of_group = kept.setdefault(int(component[row]), [])
        same = (
            k
            for k in of_group
            if (node[k] == node[row] or (int(node[k]), int(node[row])) in copies)
            and given[row] in (given[k], label[k] if is_human[k] else given[k])
        )
        keeper = None if is_human[row] else next(same, None)
        if keeper is None:
            of_group.append(row)
        else:
            redundant[row] = keeper
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
    grouped = pd.Series(component, index=manifest.index).duplicated(keep=False)
    table = table[grouped & ~is_dropped & (is_human | (manifest["quality"] == ""))]
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
    """Verified pairs among the distinct images; a blank image has exact copies only."""
    is_distinct = (
        (manifest["pixel_hash"] != "")
        & (manifest["quality"] == "")
        & ~manifest["pixel_hash"].duplicated()
    )
    distinct, rows = manifest[is_distinct], np.flatnonzero(is_distinct)
    pixels = list(distinct["pixel_hash"])
    known, is_known = read_comparison(new_since, pixels) if new_since else ([], None)
    every = load_thumbnails(
        [(locate(path), box) for path, box in zip(manifest["path"], manifest["box"], strict=True)],
        list(manifest["pixel_hash"]),
        cache=options.cache,
        memory_bytes=options.memory_bytes // 4,
        engine_name=options.engine_name,
        workers=options.workers,
    )
    thumbnails = ChosenThumbnails(every, rows)
    is_new = None if is_known is None else ~is_known
    found = find_pairs(
        thumbnails, list(distinct["phash"]), sure=sure, known=known, is_new=is_new, options=options
    )
    if options.cache is not None:
        write_comparison(options.cache, pixels, found)
    film = _name_films(distinct)
    apart = [
        pair for pair in found if not film[pair.first] or film[pair.first] != film[pair.second]
    ]
    return [
        replace(pair, first=int(rows[pair.first]), second=int(rows[pair.second])) for pair in apart
    ]


def _name_films(manifest: pd.DataFrame) -> list[str]:
    """The source and sequence of each row, or "": the frames of one film are alike without being copies."""
    films = zip(manifest["path"], manifest["subject"], manifest["sequence"], strict=True)
    return [
        f"{path.partition('/')[0]}/{subject}/{film}" if film else ""
        for path, subject, film in films
    ]


def _pairs_table(manifest: pd.DataFrame, pairs: Sequence[Pair], sure: float) -> pd.DataFrame:
    path = manifest["path"].to_numpy()
    exact = enumerate(_first_of_pixels(manifest))
    rows = [
        (path[first], path[row], "1.0000", "identical", "sure")
        for row, first in exact
        if first != row
    ]
    for pair in pairs:
        band = "sure" if pair.score >= sure else "look"
        rows.append(
            (path[pair.first], path[pair.second], f"{pair.score:.4f}", pair.transform, band)
        )
    return pd.DataFrame(sorted(rows), columns=PAIR_COLUMNS, dtype=str)
