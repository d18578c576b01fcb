"""Pairs of copies: candidates by perceptual hash and by nearest neighbours, verified in pixels.

Comes in: the thumbnails and perceptual hashes of images with different pixels. Goes out: every pair
with a score of `LOOK` or more. The cache keeps verified pairs in shards, so that no shard is
verified again after a kill.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate import engine
from curate.components import Rows, label_components
from curate.duplicates import search_on_ray
from curate.duplicates.alignment import (
    PairBatch,
    Verified,
    describe_affine,
    has_contrast,
    verify_batch,
)
from curate.duplicates.candidates import Candidates, concatenate, join_candidates, unmoved
from curate.duplicates.copies import SURE, Pair, find_copies
from curate.duplicates.near_hashes import BANDS, find_near_hashes
from curate.duplicates.neighbours import EXHAUSTIVE_ROWS, find_neighbours, relate
from curate.images.decode import Pixels
from curate.images.thumbnails import AnyThumbnails, keep_only, read_array, write_array

# Perceptual hashes this near (inclusive) are candidates too: they find watermarked copies whose
# brightness the mark changes.
MAX_DISTANCE_BITS = 10
# With lists: all pairs within 3 bits have one of four bands in common.
BANDED_DISTANCE_BITS = BANDS - 1
BATCH = 2048  # pairs verified at once: 10 MB of pixels, 200 MB while they are computed
# In a group larger than this an image is compared only with the best connected ones, not with all.
GROUP_ROWS = 48
# Memory of a candidate until it is verified, its copies while sorting included.
CANDIDATE_BYTES = 200
FOLDER = "verified"
DIGEST = np.dtype("V16")  # of one thumbnail, for the names of the shards
METHOD = "5"  # version of search and verification: cached results of another are not used


@dataclass(frozen=True)
class SearchOptions:
    """How to search; the pairs found do not depend on the engine or the workers.

    Attributes
    ----------
    cache : folder of finished shards; None keeps nothing on the disk
    memory_bytes : most bytes that the search holds at once
    exhaustive : compare every image with every other (True) or search an index (False); None
        decides by their number
    """

    engine_name: engine.Engine = "local"
    workers: int | None = None
    cache: Path | None = None
    memory_bytes: int = 4 << 30
    exhaustive: bool | None = None


def find_pairs(
    thumbnails: AnyThumbnails,
    phashes: Sequence[str],
    labels: Sequence[str] | None = None,
    *,
    sure: float = SURE,
    known: Sequence[Pair] = (),
    is_new: npt.NDArray[np.bool_] | None = None,
    options: SearchOptions | None = None,
) -> list[Pair]:
    """Every verified pair with a score of `LOOK` or more, sorted.

    Parameters
    ----------
    thumbnails : (N, 48, 48) grey, of images whose pixels all differ
    phashes : (N,) 16 hex digits each
    labels : (N,) given labels, for `find_copies`; None for one label
    sure : score from which (inclusive) a pair can group its images
    known : pairs found before
    is_new : (N,) compare these images with all; the others were compared before, with `known` as
        the result. None compares all
    """
    options = options or SearchOptions()
    labels = [""] * len(thumbnails) if labels is None else labels
    new = np.arange(len(thumbnails)) if is_new is None else np.flatnonzero(is_new)
    verifier = _Verifier(thumbnails, options)
    found = {(pair.first, pair.second): pair for pair in known}
    ways = (_by_neighbourhood(thumbnails, new, options), _by_hash(phashes, new, options))
    with engine.session(options.engine_name, options.workers):
        for candidates in _rounds(ways, options.memory_bytes):
            _keep_best(found, verifier.verify(candidates))
        # An image may have more copies than neighbours were searched: in a group, compare all.
        inside = _pairs_of_groups(find_copies(found.values(), labels, sure), len(thumbnails))
        _keep_best(found, verifier.verify(relate(thumbnails, *inside)))
    verifier.remove_unused_shards()
    return sorted(found.values())


class _Verifier:
    """Verifies candidates on the thumbnails, and reads and writes the shards of the cache."""

    def __init__(self, thumbnails: AnyThumbnails, options: SearchOptions) -> None:
        self.thumbnails = thumbnails
        self.options = options
        self.used: set[Path] = set()
        rows = np.arange(len(thumbnails))
        contrasts, digests = [np.zeros(0, bool)], [np.zeros(0, DIGEST)]
        for start in range(0, len(rows), BATCH):
            block = thumbnails[rows[start : start + BATCH]]
            contrasts.append(has_contrast(block))
            digests.append(np.array([_digest(image) for image in block], DIGEST))
        self.has_contrast = np.concatenate(contrasts)
        self.digests = np.concatenate(digests)

    def verify(self, candidates: Candidates) -> Iterator[Pair]:
        """The candidates with a score of `LOOK` or more, as pairs, in any order."""
        has_contrast = self.has_contrast
        is_comparable = has_contrast[candidates.query] & has_contrast[candidates.other]
        candidates = candidates[is_comparable]
        parts = [candidates[s : s + BATCH] for s in range(0, len(candidates), BATCH)]
        files = [self._name_shard(part) for part in parts]
        verified = _read_shards(files)
        missing = [k for k in range(len(parts)) if k not in verified]
        fresh = engine.map(
            verify_batch,
            _Batches(self.thumbnails, [parts[k] for k in missing]),
            what="pair batches",
            engine=self.options.engine_name,
            workers=self.options.workers,
        )
        for k, result in verified.items():
            yield from _to_pairs(parts[k], result)
        for k, result in zip(missing, fresh, strict=True):
            if file := files[k]:
                _write_shard(file, result)
            yield from _to_pairs(parts[k], result)  # while the workers have the next batches

    def remove_unused_shards(self) -> None:
        """Remove the shards of earlier runs that this run has not used."""
        if self.options.cache is not None:
            keep_only(self.options.cache / FOLDER, self.used, "*.npy")

    def _name_shard(self, part: Candidates) -> Path | None:
        """The file of a shard, named by a hash of everything that the result depends on."""
        if self.options.cache is None:
            return None
        digest = hashlib.sha256(METHOD.encode())
        images = self.digests[part.query], self.digests[part.other]
        for array in (*images, part.mirrored, part.affine):
            digest.update(array.tobytes())
        file = self.options.cache / FOLDER / f"{digest.hexdigest()[:32]}.npy"
        self.used.add(file)
        return file


class _Batches(Sequence[PairBatch]):
    """The batches of candidates; their pixels are gathered at the time of use."""

    def __init__(self, thumbnails: AnyThumbnails, parts: Sequence[Candidates]) -> None:
        self.thumbnails = thumbnails
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, chosen: Any) -> Any:
        if isinstance(chosen, slice):
            return [_gather(self.thumbnails, part) for part in self.parts[chosen]]
        return _gather(self.thumbnails, self.parts[chosen])


def _by_neighbourhood(
    thumbnails: AnyThumbnails, new: Rows, options: SearchOptions
) -> Iterator[Candidates]:
    """Pairs of neighbours of which at least one is new; a pair may come more than once."""
    search = find_neighbours
    if options.engine_name == "ray":
        search = search_on_ray.find_neighbours
    rest = np.setdiff1d(np.arange(len(thumbnails)), new)
    for queries, targets in ((new, np.arange(len(thumbnails))), (rest, new)):
        yield from search(
            thumbnails, queries, targets, exhaustive=options.exhaustive, workers=options.workers
        )


def _by_hash(phashes: Sequence[str], new: Rows, options: SearchOptions) -> Iterator[Candidates]:
    """Pairs with near hashes of which at least one is new; a pair of two new images comes twice."""
    exhaustive = options.exhaustive
    if exhaustive is None:
        exhaustive = len(phashes) <= EXHAUSTIVE_ROWS
    bits = MAX_DISTANCE_BITS if exhaustive else BANDED_DISTANCE_BITS
    search = find_near_hashes
    if options.engine_name == "ray":
        search = partial(search_on_ray.find_near_hashes, workers=options.workers)
    for query, other in search(phashes, new, bits):
        is_pair = query != other
        first, second = np.minimum(query, other), np.maximum(query, other)
        yield join_candidates([unmoved(first[is_pair], second[is_pair])])


def _rounds(ways: Sequence[Iterator[Candidates]], memory_bytes: int) -> Iterator[Candidates]:
    """The candidates in parts of up to a quarter of the memory.

    A pair that two ways find is verified with the alignment of each.
    """
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


def _pairs_of_groups(pairs: Sequence[Pair], count: int) -> Rows:
    """(2, P) the pairs inside each group that are not among `pairs`.

    Of a group over `GROUP_ROWS`, only the pairs with its best connected rows.
    """
    linked_rows = [(pair.first, pair.second) for pair in pairs]
    first, second = np.array(linked_rows, np.int64).reshape(-1, 2).T
    component = label_components(first, second, count)
    degree = np.bincount(np.concatenate([first, second]), minlength=count)
    linked = np.flatnonzero(degree)
    missing: set[tuple[int, int]] = set()
    order = linked[np.lexsort((linked, -degree[linked], component[linked]))]
    for group in np.split(order, np.flatnonzero(np.diff(component[order])) + 1):
        rows = group.tolist()
        for place, hub in enumerate(rows[:GROUP_ROWS]):
            missing.update((min(hub, row), max(hub, row)) for row in rows[place + 1 :])
    return np.array(sorted(missing - set(linked_rows)), np.int64).reshape(-1, 2).T


def _keep_best(found: dict[tuple[int, int], Pair], verified: Iterable[Pair]) -> None:
    """Keep the higher score of each pair; of equal scores the simpler transform, in any order."""
    for pair in verified:
        known = found.setdefault((pair.first, pair.second), pair)
        found[pair.first, pair.second] = min(known, pair, key=_rank)


def _rank(pair: Pair) -> tuple[float, float, int, str, float, str]:
    simplest = len(pair.transform), pair.transform
    return -pair.score, pair.mismatch, *simplest, pair.unmarked, pair.inverse


def _to_pairs(part: Candidates, verified: Verified) -> Iterator[Pair]:
    """The verified candidates with the change in both directions.

    The map of a candidate leads from `other`, mirrored, to `query`.
    """
    whole = np.tile(np.eye(3), (len(verified.place), 1, 1))
    whole[:, :2] = verified.affine
    inverse = np.linalg.inv(whole)[:, :2]
    mirror = np.array([[1.0, -1, -1], [-1, 1, 1]])  # the same map, seen in the mirror
    for k, place in enumerate(verified.place):
        query, other = int(part.query[place]), int(part.other[place])
        mirrored = bool(part.mirrored[place])
        to_query = describe_affine(mirrored, whole[k, :2])
        to_other = describe_affine(mirrored, inverse[k] * mirror if mirrored else inverse[k])
        score = round(float(verified.score[k]), 4)
        mismatch = round(float(verified.mismatch[k]), 4)
        unmarked = round(float(verified.unmarked[k]), 4)
        if query < other:
            yield Pair(query, other, score, mismatch, unmarked, to_other, to_query)
        else:
            yield Pair(other, query, score, mismatch, unmarked, to_query, to_other)


def _digest(image: Pixels) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=DIGEST.itemsize).digest()


def _gather(thumbnails: AnyThumbnails, part: Candidates) -> PairBatch:
    other = thumbnails[part.other]
    other[part.mirrored] = other[part.mirrored, :, ::-1]
    return PairBatch(thumbnails[part.query], other, part.affine)


def _write_shard(file: Path, verified: Verified) -> None:
    """Write (m, 10): place, score, both mismatches and the six numbers of the map."""
    columns = verified.place, verified.score, verified.mismatch, verified.unmarked
    numbers = np.stack(columns, axis=1)
    table = np.concatenate([numbers, verified.affine.reshape(-1, 6)], axis=1)
    write_array(file, table.astype(np.float32))


def _read_shards(files: Sequence[Path | None]) -> dict[int, Verified]:
    """The results of the finished shards, by the number of the batch."""
    shards = {k: _read_shard(file) for k, file in enumerate(files) if file}
    return {k: shard for k, shard in shards.items() if shard}


def _read_shard(file: Path) -> Verified | None:
    table = read_array(file)
    if table is None or table.ndim != 2 or table.shape[1] != 10:
        return None
    place, affine = table[:, 0].astype(np.int64), table[:, 4:].reshape(-1, 2, 3)
    return Verified(place, table[:, 1], table[:, 2], table[:, 3], affine)
