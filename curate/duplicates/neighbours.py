"""Candidates for copies: nearest neighbours of small, low-frequency images, in any small alignment.

Comes in: thumbnails. Goes out: pairs of rows with the affine map between them, to be verified by
`alignment`. Every thumbnail is described by its 8 x 8 lowest DCT coefficients without the constant
one, scaled to unit length: `imagehash.phash` keeps the signs of the same block. A mirror image
changes the sign of every second column of it, and shifts, zooms and rotations are linear maps, so
the search under them decodes and warps nothing:

1. the nearest neighbours of each image are searched, as it is and moved by two pixels along a
   diagonal, plain and mirrored: the six forms of an image;
2. a pair is kept if the neighbour lies near the *tangent plane* of the image, the span of its small
   affine changes. The nearest point of the plane also gives the change.

`find_neighbours` does it in threads of this process; `search_on_ray` takes the same steps, on parts
of the index.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
from threadpoolctl import threadpool_limits

from curate.components import Rows
from curate.duplicates.candidates import (
    Candidates,
    Floats,
    concatenate,
    join_candidates,
    unmoved,
)
from curate.duplicates.descriptors import (
    STARTS,
    describe,
    mirror_signs,
    tangent_plane,
    to_affine,
    to_length,
    transform,
)
from curate.duplicates.inverted_file import (
    PROBED_LISTS,
    Described,
    Lists,
    Part,
    to_rows,
    to_unit,
)
from curate.images.thumbnails import AnyThumbnails
from curate.stderr import with_progress

# For each of the six forms of an image. On 3,900 altered copies among 16,641 faces ten found all,
# five 99.97 %.
NEIGHBOURS = 10
# Cosine to the tangent plane from which (inclusive) a pair is verified: of the altered copies
# 99.5 % pass, and 3.5 pairs an image on FER2013.
GATE = 0.92
BLOCK = 4096  # queries at once
# Above this number the index has lists: at 100,000 images the exhaustive search takes over a minute
# on two cores.
EXHAUSTIVE_ROWS = 100_000
MIRRORED = (False, True)


@dataclass(frozen=True)
class Queries:
    """Q rows to search for, and their (Q, 256) DCT coefficients."""

    rows: Rows
    wide: Floats

    def form(self, start: int, *, mirrored: bool) -> Floats:
        """(Q, 64) the descriptors of one form."""
        return to_length(self.wide, start) * _signs(mirrored=mirrored)


def find_neighbours(
    thumbnails: AnyThumbnails,
    queries: Rows,
    targets: Rows,
    *,
    exhaustive: bool | None = None,
    workers: int | None = None,
) -> Iterator[Candidates]:
    """Candidate pairs between `queries` and `targets`, block by block.

    Parameters
    ----------
    thumbnails : (N, 48, 48) grey
    queries, targets : rows, each sorted
    exhaustive : compare with every target (True) or search an inverted file (FAISS IVF) of them
        (False); None decides by their number
    """
    if not len(queries) or not len(targets):
        return
    with threadpool_limits(1), _one_thread_each(workers) as pool:
        lists = plan_lists(thumbnails, targets, exhaustive)
        part = pool.submit(_index_all, thumbnails, targets, lists).result()
        waiting: deque[list[Future[Candidates]]] = deque()
        for first in with_progress(range(0, len(queries), BLOCK), "neighbour blocks"):
            rows = queries[first : first + BLOCK]
            block = Queries(rows, transform(thumbnails[rows]))
            starts = range(len(STARTS))
            waiting.append([pool.submit(_search_start, part, lists, block, k) for k in starts])
            if len(waiting) > 1:  # the threads already have the next block to work on
                yield join_candidates([future.result() for future in waiting.popleft()])
        while waiting:
            yield join_candidates([future.result() for future in waiting.popleft()])


def plan_lists(
    thumbnails: AnyThumbnails, targets: Rows, exhaustive: bool | None = None
) -> Lists | None:
    """The lists of an inverted file of the targets, about 4 sqrt(M); None to compare with all."""
    if exhaustive is None:
        exhaustive = len(targets) <= EXHAUSTIVE_ROWS
    if exhaustive:
        return None
    places = np.linspace(0, len(targets) - 1, int(4 * np.sqrt(len(targets)))).astype(np.int64)
    rows = targets[places]
    blocks = [rows[s : s + BLOCK] for s in range(0, len(rows), BLOCK)]
    return Lists(np.concatenate([describe(thumbnails[block]) for block in blocks]), PROBED_LISTS)


def count_neighbours(targets: Rows) -> int:
    """Rows to find for each form of an image; one of them may be the image itself."""
    return min(NEIGHBOURS + 1, len(targets))


def keep_near(queries: Queries, start: int, found: Sequence[tuple[Rows, Described]]) -> Candidates:
    """The neighbours of the queries at one start that lie near their tangent planes.

    Parameters
    ----------
    found : for the plain and the mirrored form, (Q, k) rows, -1 for none, and their descriptors
        (Q, k, 64)
    """
    planes = tangent_plane(queries.wide, start)
    kept = [
        _keep_near_form(queries, start, planes, mirrored, *each)
        for mirrored, each in zip(MIRRORED, found, strict=True)
    ]
    return concatenate(kept)


def relate(thumbnails: AnyThumbnails, query: Rows, other: Rows) -> Candidates:
    """The given pairs as candidates, each in its best form, near or not."""
    blocks = range(0, len(query), BLOCK)
    parts = [_relate_block(thumbnails, query[s : s + BLOCK], other[s : s + BLOCK]) for s in blocks]
    return join_candidates([unmoved(query[:0], other[:0]), *parts])


def _one_thread_each(workers: int | None) -> ThreadPoolExecutor:
    """A pool whose threads each run FAISS on one thread.

    Several FAISS threads in one search took 2.3 times the CPU time for the same result.
    """
    import faiss

    return ThreadPoolExecutor(
        workers or os.cpu_count(), initializer=faiss.omp_set_num_threads, initargs=(1,)
    )


def _index_all(thumbnails: AnyThumbnails, targets: Rows, lists: Lists | None) -> Part:
    described, assigned = [], []
    for first in range(0, len(targets), BLOCK):
        block = describe(thumbnails[targets[first : first + BLOCK]])
        described.append(block.astype(np.int16))
        if lists:
            assigned.append(lists.assign(block))
    if not lists:
        return Part(targets, np.concatenate(described))
    return Part(targets, np.concatenate(described), np.concatenate(assigned), len(lists))


def _search_start(part: Part, lists: Lists | None, queries: Queries, start: int) -> Candidates:
    """The neighbours of the queries moved to one start, searched plain and mirrored."""
    count = count_neighbours(part.rows)
    found = []
    for mirrored in MIRRORED:
        form = queries.form(start, mirrored=mirrored)
        keys, places = part.search(form, lists.choose(form) if lists else None, count)
        described = part.read(places.reshape(-1)).reshape(*places.shape, -1)
        found.append((to_rows(keys), described))
    return keep_near(queries, start, found)


def _keep_near_form(
    queries: Queries,
    start: int,
    planes: tuple[Floats, Floats],
    mirrored: bool,
    rows: Rows,
    described: Described,
) -> Candidates:
    plane, steps = planes
    near: Floats = to_unit(described) * _signs(mirrored=mirrored)
    inside = near @ plane.transpose(0, 2, 1)  # (Q, k, 7)
    closeness = np.sqrt((inside * inside).sum(axis=2))
    is_other = (rows >= 0) & (rows != queries.rows[:, None])
    query, rank = np.nonzero((closeness >= GATE) & is_other)
    return Candidates(
        query=queries.rows[query],
        other=rows[query, rank],
        mirrored=np.full(len(query), mirrored),
        affine=to_affine(inside[query, rank], steps[query], start),
        closeness=closeness[query, rank],
    )


def _relate_block(thumbnails: AnyThumbnails, query: Rows, other: Rows) -> Candidates:
    wide = transform(thumbnails[query])
    described = to_unit(describe(thumbnails[other]).astype(np.int16))
    parts = []
    for start, mirrored in product(range(len(STARTS)), MIRRORED):
        plane, steps = tangent_plane(wide, start)
        near: Floats = described * _signs(mirrored=mirrored)
        inside = (plane @ near[:, :, None])[:, :, 0]
        closeness = np.sqrt((inside * inside).sum(axis=1))
        affine = to_affine(inside, steps, start)
        parts.append(Candidates(query, other, np.full(len(query), mirrored), affine, closeness))
    return join_candidates(parts)


def _signs(*, mirrored: bool) -> Floats | np.float32:
    return mirror_signs() if mirrored else np.float32(1)
