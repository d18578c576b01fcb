"""The tasks and actors of a search on a Ray cluster, and what they send each other.

Comes in: blocks of thumbnails or hashes. Goes out: what `search_on_ray` passes on. An actor holds
one part of an index: some lists, or rows, or values of each band.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.components import Rows
from curate.duplicates.candidates import Candidates, Floats, join_candidates
from curate.duplicates.descriptors import LOW, STARTS, describe, transform
from curate.duplicates.inverted_file import NO_ROW, Described, Keys, Lists, Part, to_rows
from curate.duplicates.near_hashes import BANDS, HashPart, Words, band_values, keep_nearest
from curate.duplicates.neighbours import MIRRORED, Queries, keep_near
from curate.images.decode import Pixels

Ref = Any  # of an object on the cluster
Numbers = npt.NDArray[np.int32]


@dataclass(frozen=True)
class OwnRows:
    """Rows of a part with their descriptors and lists; None without lists."""

    rows: Rows
    described: Described
    lists: Rows | None


@dataclass(frozen=True)
class PartQueries:
    """The queries of a part: the numbers of their forms in the block, descriptors and lists.

    -1 is a list of another part; None without lists.
    """

    forms: Rows
    described: Described
    probes: Numbers | None


@dataclass(frozen=True)
class Found:
    """What a part has found for its forms: (n, k) keys and places."""

    forms: Rows
    keys: Keys
    places: Numbers


@dataclass(frozen=True)
class Read:
    """The descriptors of what was found in a part, and their places in the block's table."""

    places: Rows
    described: Described


@dataclass(frozen=True)
class HashRows:
    """Rows, their hashes, and the band of each; None without bands."""

    rows: Rows
    words: Words
    bands: Rows | None


class ListHolder:
    """An actor with a part of the index of descriptors."""

    def __init__(self, shares: Sequence[Ref], list_count: int) -> None:
        import ray

        _use_one_thread()
        found: list[OwnRows] = [ray.get(share) for share in shares]
        rows = np.concatenate([each.rows for each in found])
        described = np.concatenate([each.described for each in found])
        if not list_count:
            self.part = Part(rows, described)
            return
        lists = np.concatenate([each.lists for each in found if each.lists is not None])
        self.part = Part(rows, described, lists, list_count)

    def search(self, asked: PartQueries, count: int) -> Found:
        """The nearest rows of this part."""
        queries = asked.described.astype(np.float32)
        probes = None if asked.probes is None else asked.probes.astype(np.int64)
        keys, places = self.part.search(queries, probes, count)
        return Found(asked.forms, keys, places.astype(np.int32))

    def read(self, wanted: tuple[Rows, Numbers]) -> Read:
        """The descriptors at places of this part."""
        in_block, places = wanted
        return Read(in_block, self.part.read(places.astype(np.int64)))


class HashHolder:
    """An actor with a part of the hashes."""

    def __init__(self, shares: Sequence[Ref]) -> None:
        import ray

        _use_one_thread()
        found: list[HashRows] = [ray.get(share) for share in shares]
        bands = [each.bands for each in found if each.bands is not None]
        self.part = HashPart(
            np.concatenate([each.rows for each in found]),
            np.concatenate([each.words for each in found]),
            np.concatenate(bands) if bands else None,
        )

    def search(self, asked: HashRows, max_distance_bits: int) -> Rows:
        """The pairs of this part."""
        return self.part.search(asked.rows, asked.words, asked.bands, max_distance_bits)


@dataclass(frozen=True)
class Deal:
    """Lists, and the part that holds each of them."""

    lists: Lists
    part: Rows


def deal_rows(parts: int, images: Pixels, rows: Rows, deal: Deal | None) -> Any:
    """Describe a block of targets: for each part its rows."""
    _use_one_thread()
    described = describe(images)
    assigned = deal.lists.assign(described) if deal else None
    owner = deal.part[assigned] if deal else rows % parts
    whole = described.astype(np.int16)
    return _unpack(
        OwnRows(rows[own], whole[own], None if assigned is None else assigned[own])
        for own in (owner == part for part in range(parts))
    )


def ask_parts(parts: int, images: Pixels, rows: Rows, deal: Deal | None) -> list[Any]:
    """Describe a block of queries: their DCT coefficients, then for each part its own queries."""
    _use_one_thread()
    queries = Queries(rows, transform(images))
    forms = [
        queries.form(start, mirrored=mirrored)
        for start in range(len(STARTS))
        for mirrored in MIRRORED
    ]
    described = np.concatenate([form.astype(np.int16) for form in forms])
    every = np.arange(len(described))
    if not deal:
        return [queries.wide, *[PartQueries(every, described, None)] * parts]
    probes = np.concatenate([deal.lists.choose(form).astype(np.int32) for form in forms])
    owner = deal.part[probes]
    asked = []
    for part in range(parts):
        is_own = owner == part
        forms_asked = np.flatnonzero(is_own.any(axis=1))
        own_probes = np.where(is_own, probes, np.int32(-1))[forms_asked]
        asked.append(PartQueries(forms_asked, described[forms_asked], own_probes))
    return [queries.wide, *asked]


def merge_parts(parts: int, rows: int, count: int, *found: Found) -> list[Any]:
    """Of a block: the nearest keys (forms, k), then the places to read in each part.

    A form reads few parts, so the parts' answers lie side by side in as few columns.
    """
    total = rows * len(STARTS) * len(MIRRORED)
    slot = np.zeros(total, np.int64)
    asked = np.bincount(np.concatenate([each.forms for each in found]), minlength=total)
    width = max(1, int(asked.max(initial=0)))
    keys = np.full((total, width, count), NO_ROW)
    places, owner = np.zeros(keys.shape, np.int32), np.zeros(keys.shape, np.int32)
    for part, each in enumerate(found):
        keys[each.forms, slot[each.forms]] = each.keys
        places[each.forms, slot[each.forms]] = each.places
        owner[each.forms, slot[each.forms]] = part
        slot[each.forms] += 1
    order = np.argsort(keys.reshape(total, -1), axis=1)[:, :count]
    keys, places, owner = (
        np.take_along_axis(each.reshape(total, -1), order, axis=1) for each in (keys, places, owner)
    )
    owner[keys == NO_ROW] = -1
    wanted = []
    for part in range(parts):
        in_block = np.flatnonzero(owner == part)
        wanted.append((in_block, places.reshape(-1)[in_block]))
    return [keys, *wanted]


def relate_found(rows: Rows, wide: Floats, keys: Keys, *near: Read) -> Candidates:
    """The candidates of a block."""
    _use_one_thread()
    described = np.zeros((keys.size, LOW * LOW), np.int16)
    for each in near:
        described[each.places] = each.described
    shape = len(STARTS), len(MIRRORED), len(rows), keys.shape[1]
    by_form = zip(to_rows(keys).reshape(shape), described.reshape(*shape, LOW * LOW), strict=True)
    queries = Queries(rows, wide)
    kept = [
        keep_near(queries, start, list(zip(*found, strict=True)))
        for start, found in enumerate(by_form)
    ]
    return join_candidates(kept)


def deal_hashes(parts: int, rows: Rows, words: Words, is_banded: bool) -> Any:
    """For each part the rows that it holds, or that it has to find, each with its band."""
    if not is_banded:
        chosen = [rows % parts == part for part in range(parts)]
        return _unpack(HashRows(rows[own], words[own], None) for own in chosen)
    place, band = (each.reshape(-1) for each in np.indices((len(rows), BANDS)))
    owner = band_values(words).reshape(-1) % parts
    chosen = [owner == part for part in range(parts)]
    return _unpack(HashRows(rows[place[own]], words[place[own]], band[own]) for own in chosen)


def merge_hashes(*found: Rows) -> Rows:
    """(2, P) the pairs of a block."""
    return keep_nearest(*np.concatenate(found, axis=1))[:2]


def _unpack(results: Iterator[Any]) -> Any:
    """The results as Ray wants them of a task: a list, or the only one itself."""
    every = list(results)
    return every if len(every) > 1 else every[0]


@cache
def _use_one_thread() -> None:
    """FAISS and NumPy of this process: each worker is a core."""
    import faiss
    from threadpoolctl import threadpool_limits

    faiss.omp_set_num_threads(1)
    threadpool_limits(1)
