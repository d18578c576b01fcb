"""Candidates for copies: nearest neighbours of small, low-frequency images, in any small alignment.

Comes in: thumbnails. Goes out: pairs of rows with the affine map between them, to be verified by
`alignment`. Every thumbnail is described by its 8 x 8 lowest DCT coefficients without the constant
one, scaled to unit length: `imagehash.phash` keeps the signs of the same block. A mirror image
changes the sign of every second column of it, and shifts, zooms and rotations are linear maps, so
the search under them decodes and warps nothing:

1. the nearest neighbours of each image are searched, as it is and moved by two pixels along a
   diagonal, plain and mirrored;
2. a pair is kept if the neighbour lies near the *tangent plane* of the image, the span of its small
   affine changes. The nearest point of the plane also gives the change.

Descriptors are whole numbers and their products stay under 2^24, so float32 sums are exact: no
blocking, thread count or machine changes a neighbour.

References
----------
P. Simard et al., "Transformation invariance in pattern recognition: tangent distance and tangent
propagation", 1998
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from curate import engine
from curate.components import Rows
from curate.images.decode import Pixels, halve
from curate.images.thumbnails import AnyThumbnails

SIDE = 48  # pixels of the compared thumbnails
WIDE = 16  # DCT coefficients a side that the maps read; finer detail does not reach the descriptor
LOW = 8  # DCT coefficients a side of the descriptor
# For each of the six forms of an image. On 3,900 altered copies among 16,641 faces ten found all,
# five 99.97 %.
NEIGHBOURS = 10
# Moves (x, y) in pixels of 48 before a search. Copies moved up instead of down, or mirrored, are
# found from their other side, so half of the diagonals are enough.
STARTS = ((0, 0), (2, 2), (-2, 2))
# Cosine to the tangent plane from which (inclusive) a pair is verified: of the altered copies
# 99.5 % pass, and 3.5 pairs an image on FER2013.
GATE = 0.92
LENGTH = 4000  # of a descriptor: its square is under 2^24, up to which float32 counts exactly
# Of an affine coefficient in one linear step; beyond it the tangent plane is too far off.
LARGEST_CHANGE = 0.2
BLOCK = 4096  # queries at once
# Above this number the index is used: at 100,000 images the exhaustive search takes over a minute
# on two cores.
EXHAUSTIVE_ROWS = 100_000
# Of an index of about 4 sqrt(N) lists; `benchmarks/scaling.py` measures what is not found.
PROBED_LISTS = 16

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Candidates:
    """P pairs to verify.

    Attributes
    ----------
    query, other : (P,) rows
    mirrored : (P,) whether `other` is to be mirrored first
    affine : (P, 2, 3) float32 maps a point of the (mirrored) `other` to the same point of the face
        in `query`, in half widths from the centre
    closeness : (P,) float32 cosine of `other` to the tangent plane of `query`
    """

    query: Rows
    other: Rows
    mirrored: npt.NDArray[np.bool_]
    affine: Floats
    closeness: Floats

    def __len__(self) -> int:
        return len(self.query)

    def __getitem__(self, chosen: Any) -> "Candidates":
        return Candidates(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def concatenate(parts: Sequence[Candidates]) -> Candidates:
    """The candidates of all parts, in their order."""
    return Candidates(
        query=np.concatenate([part.query for part in parts]),
        other=np.concatenate([part.other for part in parts]),
        mirrored=np.concatenate([part.mirrored for part in parts]),
        affine=np.concatenate([part.affine for part in parts]),
        closeness=np.concatenate([part.closeness for part in parts]),
    )


def join_candidates(parts: Sequence[Candidates]) -> Candidates:
    """The candidates of all parts, sorted; of several with the same two images the closest."""
    every = concatenate(parts)
    low, high = np.minimum(every.query, every.other), np.maximum(every.query, every.other)
    order = np.lexsort((every.query, -every.closeness, high, low))
    is_first = np.ones(len(order), bool)
    is_first[1:] = (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0)
    return every[order[is_first]]


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
    blocks = [targets[s : s + BLOCK] for s in range(0, len(targets), BLOCK)]
    described = np.concatenate([describe(thumbnails[block]) for block in blocks], dtype=np.float32)
    if exhaustive is None:
        exhaustive = len(targets) <= EXHAUSTIVE_ROWS
    index = _open_index(described, exhaustive)
    described /= LENGTH
    waiting: deque[list[Future[Candidates]]] = deque()
    with threadpool_limits(1), _one_thread_each(workers) as pool:
        for first in engine.track(range(0, len(queries), BLOCK), "neighbour blocks"):
            rows = queries[first : first + BLOCK]
            block = _Queries(rows, _transform(thumbnails[rows]))
            starts = range(len(STARTS))
            waiting.append(
                [pool.submit(_search_start, index, described, targets, block, k) for k in starts]
            )
            if len(waiting) > 1:  # the threads already have the next block to work on
                yield join_candidates([future.result() for future in waiting.popleft()])
        while waiting:
            yield join_candidates([future.result() for future in waiting.popleft()])


@dataclass(frozen=True)
class _Queries:
    """Q rows to search for, and their (Q, 256) DCT coefficients."""

    rows: Rows
    wide: Floats


def relate(thumbnails: AnyThumbnails, query: Rows, other: Rows) -> Candidates:
    """The given pairs as candidates, each in its best form, near or not."""
    blocks = range(0, len(query), BLOCK)
    parts = [_relate_block(thumbnails, query[s : s + BLOCK], other[s : s + BLOCK]) for s in blocks]
    return join_candidates([unmoved(query[:0], other[:0]), *parts])


def unmoved(query: Rows, other: Rows) -> Candidates:
    """The given pairs as candidates without any change, less close than every neighbour."""
    count = len(query)
    place = np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1))
    return Candidates(query, other, np.zeros(count, bool), place, np.zeros(count, np.float32))


def describe(images: Pixels) -> Floats:
    """(N, 48, 48) uint8 -> (N, 64) float32 whole numbers of length `LENGTH`.

    An image without contrast gives zeros.
    """
    return _to_length(_transform(images), 0)


def _one_thread_each(workers: int | None) -> ThreadPoolExecutor:
    """A pool whose threads each run FAISS on one thread.

    Several FAISS threads in one search took 2.3 times the CPU time for the same result.
    """
    import faiss

    return ThreadPoolExecutor(
        workers or os.cpu_count(), initializer=faiss.omp_set_num_threads, initargs=(1,)
    )


def _open_index(described: Floats, exhaustive: bool) -> Any:
    import faiss

    flat = faiss.IndexFlatIP(LOW * LOW)
    if exhaustive:
        flat.add(described)
        return flat
    lists = int(4 * np.sqrt(len(described)))
    # Centres are rows of the data: k-means would depend on rounding, so on the machine.
    flat.add(described[np.linspace(0, len(described) - 1, lists).astype(np.int64)])
    index = faiss.IndexIVFFlat(flat, LOW * LOW, lists, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    index.add(described)
    index.nprobe = PROBED_LISTS
    return index


def _search_start(
    index: Any, described: Floats, targets: Rows, queries: _Queries, start: int
) -> Candidates:
    """The neighbours of the queries moved to one start that lie near their tangent planes.

    The queries are searched plain and mirrored.
    """
    count = min(NEIGHBOURS + 1, len(targets))  # one of them may be the image itself
    low = _to_length(queries.wide, start)
    plane, steps = _tangent_plane(queries.wide, start)
    parts = []
    for mirrored in (False, True):
        sign = _mirror_signs() if mirrored else np.float32(1)
        _, found = index.search(low * sign, count)
        # (n, k, 64); a result that is too short ends with -1, which the mask below leaves out
        near = described[found] * sign
        inside = near @ plane.transpose(0, 2, 1)  # (n, k, 7)
        closeness = np.sqrt((inside * inside).sum(axis=2))
        is_other = (found >= 0) & (targets[found] != queries.rows[:, None])
        query, rank = np.nonzero((closeness >= GATE) & is_other)
        found_pairs = Candidates(
            query=queries.rows[query],
            other=targets[found[query, rank]],
            mirrored=np.full(len(query), mirrored),
            affine=_to_affine(inside[query, rank], steps[query], start),
            closeness=closeness[query, rank],
        )
        parts.append(found_pairs)
    return concatenate(parts)


def _relate_block(thumbnails: AnyThumbnails, query: Rows, other: Rows) -> Candidates:
    wide = _transform(thumbnails[query])
    described = describe(thumbnails[other]) / np.float32(LENGTH)
    parts = []
    for start, mirrored in product(range(len(STARTS)), (False, True)):
        plane, steps = _tangent_plane(wide, start)
        near = described * (_mirror_signs() if mirrored else np.float32(1))
        inside = (plane @ near[:, :, None])[:, :, 0]
        closeness = np.sqrt((inside * inside).sum(axis=1))
        affine = _to_affine(inside, steps, start)
        parts.append(Candidates(query, other, np.full(len(query), mirrored), affine, closeness))
    return join_candidates(parts)


def _transform(images: Pixels) -> Floats:
    """(N, 48, 48) uint8 -> (N, 256) float32, the lowest 16 x 16 of the orthonormal DCT.

    A median of 3 x 3 at half the size first removes the letters of a watermark, which would
    brighten a whole region.
    """
    half = halve(images)
    plain = np.stack([cv2.medianBlur(image, 3) for image in half]) if len(half) else half
    # The basis of the full size, summed over pairs of pixels: as if the images were enlarged again.
    basis = _dct_rows(WIDE).reshape(WIDE, SIDE // 2, 2).sum(axis=2).astype(np.float32)
    coefficients = np.asarray(basis @ plain.astype(np.float32) @ basis.T, np.float32)
    return coefficients.reshape(len(images), WIDE * WIDE)


def _to_length(wide: Floats, start: int) -> Floats:
    """(N, 64) descriptors of the images moved to one start."""
    # In double precision, so that the other rows of a block cannot change how a value is rounded.
    low: npt.NDArray[np.float64] = wide.astype(np.float64) @ _maps()[start, 0].T
    length = np.linalg.norm(low, axis=1, keepdims=True)
    whole: npt.NDArray[np.float64] = np.rint(low / np.maximum(length, 1e-3) * LENGTH)
    return whole.astype(np.float32)


def _tangent_plane(wide: Floats, start: int) -> tuple[Floats, Floats]:
    """An orthonormal basis (N, 7, 64) of each image's tangent plane.

    Also its coefficients (N, 7, 7) in the vectors that span the plane: the image and its
    derivatives under the six affine parameters.
    """
    exact = wide.astype(np.float64) @ _maps()[start].reshape(-1, WIDE * WIDE).T
    spanning: Floats = exact.astype(np.float32).reshape(-1, 7, LOW * LOW)
    length = np.linalg.norm(spanning, axis=2, keepdims=True) + np.float32(1e-3)
    spanning = spanning / length
    gram = spanning @ spanning.transpose(0, 2, 1) + np.float32(1e-3) * np.eye(7, dtype=np.float32)
    lower: Floats = np.linalg.inv(np.linalg.cholesky(gram))
    return lower @ spanning, lower / length.transpose(0, 2, 1)


def _to_affine(inside: Floats, steps: Floats, start: int) -> Floats:
    """Coordinates in the orthonormal basis (P, 7) -> the affine map of `Candidates`."""
    parts: Floats = (inside[:, None, :] @ steps)[:, 0]
    gain = np.where(np.abs(parts[:, :1]) > 1e-12, parts[:, :1], np.float32(1e-12))
    change: Floats = (parts[:, 1:] / gain / (SIDE / 2)).astype(np.float32)
    change /= np.maximum(1, np.abs(change).max(axis=1, keepdims=True) / LARGEST_CHANGE)
    moved = np.zeros((2, 3), np.float32)
    moved[:, 2] = np.array(STARTS[start]) / (SIDE / 2)
    affine: Floats = np.eye(2, 3, dtype=np.float32) + change.reshape(-1, 2, 3) - moved
    return affine


@cache
def _mirror_signs() -> Floats:
    """(64,) the sign that each coefficient gets when the image is mirrored left to right."""
    return np.tile(np.where(np.arange(LOW) % 2, -1, 1), LOW).astype(np.float32)


@cache
def _maps() -> npt.NDArray[np.float64]:
    """(starts, 7, 64, 256): from `_transform` to the moved image's descriptor and six derivatives.

    The derivatives are by the coefficients of x, y and 1 in the new x, then in the new y; x and y
    in half widths, differences in pixels.
    """
    low, wide = _dct_rows(LOW), _dct_rows(WIDE)
    same: npt.NDArray[np.float64] = np.eye(SIDE)
    slope: npt.NDArray[np.float64] = np.gradient(same, axis=0)
    place: npt.NDArray[np.float64] = np.diag((np.arange(SIDE) - (SIDE - 1) / 2) / (SIDE / 2))
    stretch = place @ slope
    along_y: npt.NDArray[np.float64] = np.stack([same, same, place, same, slope, stretch, slope])
    along_x: npt.NDArray[np.float64] = np.stack([same, stretch, slope, slope, place, same, same])
    maps = np.zeros((len(STARTS), len(along_x), LOW * LOW, WIDE * WIDE))
    for k, (dx, dy) in enumerate(STARTS):
        for part, (y, x) in enumerate(zip(along_y, along_x, strict=True)):
            rows, columns = low @ y @ _move(dy) @ wide.T, low @ x @ _move(dx) @ wide.T
            maps[k, part] = np.kron(rows, columns)
    maps[:, :, 0] = 0  # brightness is no pattern
    return maps


def _dct_rows(count: int) -> npt.NDArray[np.float64]:
    """(count, 48) the lowest rows of the orthonormal DCT-II of 48 samples."""
    frequency, sample = np.arange(count)[:, None], np.arange(SIDE)[None]
    angle = np.pi * frequency * (2 * sample + 1) / (2 * SIDE)
    rows: npt.NDArray[np.float64] = np.sqrt(2 / SIDE) * np.cos(angle)
    rows[0] /= np.sqrt(2)
    return rows


def _move(pixels: int) -> npt.NDArray[np.float64]:
    """(48, 48) a move along one axis, the edge repeated."""
    matrix = np.zeros((SIDE, SIDE))
    matrix[np.arange(SIDE), np.clip(np.arange(SIDE) - pixels, 0, SIDE - 1)] = 1
    return matrix
