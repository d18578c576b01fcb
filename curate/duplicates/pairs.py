"""Pairs of images that show one photograph: candidates by perceptual hash and by neighbourhood, verified in pixels.

Comes in: the thumbnails and perceptual hashes of images with different pixels. Goes out: every pair that scores `LOOK` or
more. What has been verified is kept in shards in the cache, so that a run that was killed verifies no shard twice.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from curate import engine
from curate.duplicates.alignment import (
    PairBatch,
    Verified,
    describe_affine,
    has_contrast,
    verify_batch,
)
from curate.duplicates.neighbours import (
    EXHAUSTIVE_ROWS,
    Candidates,
    concatenate,
    find_neighbours,
    join_candidates,
    relate,
    unmoved,
)
from curate.images.thumbnails import Rows, Squares, keep_only, read_array, write_array

# Perceptual hashes this near (inclusive) are candidates too: they find watermarked copies whose light the mark changes.
MAX_DISTANCE_BITS = 10
# Where the index is asked: all pairs within 3 bits share one of four bands, so their search does not grow with the square.
BANDS = 4
BANDED_DISTANCE_BITS = BANDS - 1
# Chosen on one half of the sources of `benchmarks/near_duplicates.py`, reported on the other: there, precision is over
# 99.2 % and recall over 99.0 % on FER2013 and on drawn faces. FER2013's pairs of one session with another expression, and
# drawn faces of two people, lie under it.
SURE = 0.975
LOOK = 0.92
BATCH = 2048  # pairs verified at once: 10 MB of pixels, 200 MB while they are worked on
HASH_BLOCK = 4096
# In a group larger than this not every image is compared with every other, only with the best connected ones.
GROUP_ROWS = 48
CANDIDATE_BYTES = (
    200  # of memory that a candidate takes until it is verified, its copies while sorting included
)
FOLDER = "verified"
PAIR_COLUMNS = ["path_a", "path_b", "score", "transform", "band"]  # of pairs.csv
METHOD = "2"  # of search and verification: what another method found is not reused


@dataclass(frozen=True, order=True)
class Pair:
    """Two images (rows, first < second), how alike they are in [0, 1], and what was done to the first to give the second.

    `transform` is as `curate.duplicates.alignment.describe_affine` words it; `inverse` is what gives the first from the second.
    """

    first: int
    second: int
    score: float
    transform: str
    inverse: str


@dataclass(frozen=True)
class SearchOptions:
    """How to search; the pairs found do not depend on the engine or the workers.

    Attributes
    ----------
    cache : folder of finished shards; None keeps nothing on the disk
    memory_bytes : bound of what the search holds at once
    exhaustive : compare every image with every other, or ask an index; None decides by their number
    """

    engine_name: engine.Engine = "local"
    workers: int | None = None
    cache: Path | None = None
    memory_bytes: int = 4 << 30
    exhaustive: bool | None = None


def find_pairs(
    thumbnails: Squares,
    phashes: Sequence[str],
    *,
    sure: float = SURE,
    known: Sequence[Pair] = (),
    is_new: npt.NDArray[np.bool_] | None = None,
    options: SearchOptions | None = None,
) -> list[Pair]:
    """Every verified pair, sorted; bands are left to the caller, nothing under `LOOK` is returned.

    Parameters
    ----------
    thumbnails : (N, 48, 48) grey, of images whose pixels all differ
    phashes : (N,) 16 hex digits each
    sure : score from which (inclusive) a pair groups its images
    known : pairs found before
    is_new : (N,) compare these images with all; the others have been compared, with `known` as the result. None for all
    """
    options = options or SearchOptions()
    new = np.arange(len(thumbnails)) if is_new is None else np.flatnonzero(is_new)
    search = _Search(thumbnails, options)
    found = {(pair.first, pair.second): pair for pair in known}
    ways = (_by_neighbourhood(thumbnails, new, options), _by_hash(phashes, new, options.exhaustive))
    for candidates in _rounds(ways, options.memory_bytes):
        _keep_best(found, search.verify(candidates))
    # A copy may have more copies than neighbours were asked for: inside a group, all are compared.
    inside = _pairs_of_groups(
        [pair for pair in found.values() if pair.score >= sure], len(thumbnails)
    )
    _keep_best(found, search.verify(relate(thumbnails, *inside)))
    search.forget_others()
    return sorted(found.values())


def near_hashes(phashes: Sequence[str], max_distance_bits: int) -> Rows:
    """(2, P) all pairs (i < j) whose hashes differ in at most `max_distance_bits` bits (inclusive), sorted; exhaustive."""
    every = np.arange(len(phashes))
    found = [
        pairs[:, pairs[0] < pairs[1]] for pairs in _near_blocks(phashes, every, max_distance_bits)
    ]
    pairs = np.concatenate(found, axis=1) if found else np.zeros((2, 0), np.int64)
    return pairs[:, np.lexsort(pairs[::-1])]


class _Search:
    """Verification with what it needs at hand: pixels, options, and the shards that are finished."""

    def __init__(self, thumbnails: Squares, options: SearchOptions) -> None:
        self.thumbnails = thumbnails
        self.options = options
        self.used: set[Path] = set()
        rows = np.arange(len(thumbnails))
        blocks = [has_contrast(thumbnails[rows[s : s + BATCH]]) for s in range(0, len(rows), BATCH)]
        self.has_contrast = np.concatenate([np.zeros(0, bool), *blocks])

    def verify(self, candidates: Candidates) -> Candidates:
        """Those that score `LOOK` or more: their score as `closeness`, and their refined maps."""
        candidates = candidates[
            self.has_contrast[candidates.query] & self.has_contrast[candidates.other]
        ]
        parts = [candidates[s : s + BATCH] for s in range(0, len(candidates), BATCH)]
        files = [self._name_shard(part) for part in parts]
        verified = {
            k: found for k, file in enumerate(files) if file and (found := _read_shard(file))
        }
        missing = [k for k in range(len(parts)) if k not in verified]
        fresh = engine.map(
            verify_batch,
            _Batches(self.thumbnails, [parts[k] for k in missing]),
            what="pair batches",
            engine=self.options.engine_name,
            workers=self.options.workers,
        )
        for k, result in zip(missing, fresh, strict=True):
            verified[k] = result
            if file := files[k]:
                _write_shard(file, result)
        return (
            concatenate([_apply(part, verified[k]) for k, part in enumerate(parts)])
            if parts
            else candidates
        )

    def forget_others(self) -> None:
        """Remove the shards of earlier runs that this one did not ask for."""
        if self.options.cache is not None:
            keep_only(self.options.cache / FOLDER, self.used, "*.npy")

    def _name_shard(self, part: Candidates) -> Path | None:
        """A name made from all that the result depends on."""
        if self.options.cache is None:
            return None
        batch = _gather(self.thumbnails, part)
        digest = hashlib.sha256(METHOD.encode())
        for array in (batch.query, batch.other, batch.affine):
            digest.update(array.tobytes())
        file = self.options.cache / FOLDER / f"{digest.hexdigest()[:32]}.npy"
        self.used.add(file)
        return file


class _Batches(Sequence[PairBatch]):
    """The batches of candidates, their pixels gathered when they are asked for."""

    def __init__(self, thumbnails: Squares, parts: Sequence[Candidates]) -> None:
        self.thumbnails = thumbnails
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, chosen: Any) -> Any:
        if isinstance(chosen, slice):
            return [_gather(self.thumbnails, part) for part in self.parts[chosen]]
        return _gather(self.thumbnails, self.parts[chosen])


def _by_neighbourhood(
    thumbnails: Squares, new: Rows, options: SearchOptions
) -> Iterator[Candidates]:
    """Neighbours of which one at least is new; a pair may come more than once."""
    rest = np.setdiff1d(np.arange(len(thumbnails)), new)
    for queries, targets in ((new, np.arange(len(thumbnails))), (rest, new)):
        yield from find_neighbours(
            thumbnails, queries, targets, exhaustive=options.exhaustive, workers=options.workers
        )


def _by_hash(phashes: Sequence[str], new: Rows, exhaustive: bool | None) -> Iterator[Candidates]:
    """Pairs with near hashes of which one at least is new; a pair of two new images comes twice."""
    if exhaustive is None:
        exhaustive = len(phashes) <= EXHAUSTIVE_ROWS
    for new_one, other in _near_blocks(
        phashes, new, MAX_DISTANCE_BITS if exhaustive else BANDED_DISTANCE_BITS
    ):
        first, second = np.minimum(new_one, other), np.maximum(new_one, other)
        yield join_candidates([unmoved(first[first != second], second[first != second])])


def _rounds(ways: Sequence[Iterator[Candidates]], memory_bytes: int) -> Iterator[Candidates]:
    """The candidates in parts of up to a quarter of the memory; one that two ways lead to is tried as either says."""
    limit = memory_bytes // 4 // CANDIDATE_BYTES
    waiting: list[list[Candidates]] = []
    for way in ways:
        waiting.append([])
        for part in way:
            waiting[-1].append(part)
            if sum(len(part) for parts in waiting for part in parts) >= limit:
                yield concatenate([join_candidates(parts) for parts in waiting if parts])
                waiting = [[]]
    if any(waiting):
        yield concatenate([join_candidates(parts) for parts in waiting if parts])


def _near_blocks(phashes: Sequence[str], queries: Rows, max_distance_bits: int) -> Iterator[Rows]:
    """(2, P) of queries and the rows within the distance, block by block; small distances by bands, which miss none."""
    import faiss

    words = np.frombuffer(bytes.fromhex("".join(phashes)), np.uint8).reshape(-1, 8)
    is_banded = max_distance_bits < BANDS
    index = (
        faiss.IndexBinaryMultiHash(64, BANDS, 64 // BANDS)
        if is_banded
        else faiss.IndexBinaryFlat(64)
    )
    index.add(words)
    for start in engine.track(range(0, len(queries), HASH_BLOCK), "hash blocks"):
        rows = queries[start : start + HASH_BLOCK]
        limits, _, other = index.range_search(
            words[rows], max_distance_bits + 1
        )  # faiss' radius is exclusive
        yield np.stack([np.repeat(rows, np.diff(limits.astype(np.int64))), other])


def _pairs_of_groups(pairs: Sequence[Pair], count: int) -> Rows:
    """(2, P) the pairs inside each group that are not known yet; of a large group those with its best connected rows."""
    first, second = (
        np.array([(pair.first, pair.second) for pair in pairs], np.int64).reshape(-1, 2).T
    )
    links = coo_array((np.ones(len(pairs), bool), (first, second)), shape=(count, count))
    component = connected_components(links, directed=False)[1]
    degree = np.bincount(np.concatenate([first, second]), minlength=count)
    linked = np.flatnonzero(degree)
    known = {(pair.first, pair.second) for pair in pairs}
    missing: list[tuple[int, int]] = []
    order = linked[np.lexsort((linked, -degree[linked], component[linked]))]
    for group in np.split(order, np.flatnonzero(np.diff(component[order])) + 1):
        members = group.tolist()
        for place, hub in enumerate(members[:GROUP_ROWS]):
            missing += [(min(hub, row), max(hub, row)) for row in members[place + 1 :]]
    return np.array(sorted(set(missing) - known), np.int64).reshape(-1, 2).T


def _keep_best(found: dict[tuple[int, int], Pair], verified: Candidates) -> None:
    """The higher score stays, and of equal ones the simpler transform, in whatever order they come."""
    for k in range(len(verified)):
        pair = _to_pair(verified, k)
        known = found.setdefault((pair.first, pair.second), pair)
        found[pair.first, pair.second] = min(
            known, pair, key=lambda p: (-p.score, len(p.transform), p.transform)
        )


def _to_pair(verified: Candidates, k: int) -> Pair:
    """The pair in the words of both directions; the map found leads from `other`, mirrored, to `query`."""
    query, other, mirrored = (
        int(verified.query[k]),
        int(verified.other[k]),
        bool(verified.mirrored[k]),
    )
    mirror, affine = np.diag([-1.0 if mirrored else 1.0, 1, 1]), np.eye(3)
    affine[:2] = verified.affine[k]
    to_query = describe_affine(mirrored, affine[:2])
    to_other = describe_affine(mirrored, (mirror @ np.linalg.inv(affine) @ mirror)[:2])
    words = (to_other, to_query) if query < other else (to_query, to_other)
    return Pair(
        min(query, other), max(query, other), round(float(verified.closeness[k]), 4), *words
    )


def _gather(thumbnails: Squares, part: Candidates) -> PairBatch:
    other = thumbnails[part.other]
    other[part.mirrored] = other[part.mirrored, :, ::-1]
    return PairBatch(thumbnails[part.query], other, part.affine)


def _apply(part: Candidates, verified: Verified) -> Candidates:
    passed = part[verified.place]
    scored = Candidates(
        passed.query, passed.other, passed.mirrored, verified.affine, verified.score
    )
    return scored[verified.score >= LOOK]


def _write_shard(file: Path, verified: Verified) -> None:
    """(m, 8): place, score and the six numbers of the map."""
    parts = (verified.place[:, None], verified.score[:, None], verified.affine.reshape(-1, 6))
    write_array(file, np.concatenate(parts, axis=1, dtype=np.float32))


def _read_shard(file: Path) -> Verified | None:
    table = read_array(file)
    if table is None or table.ndim != 2 or table.shape[1] != 8:
        return None
    return Verified(table[:, 0].astype(np.int64), table[:, 1], table[:, 2:].reshape(-1, 2, 3))
