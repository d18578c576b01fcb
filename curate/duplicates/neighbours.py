"""Which images might show one photograph: nearest neighbours of small, low-frequency pictures, in any small alignment.

Every thumbnail is described by its 8 x 8 lowest DCT coefficients without the constant one, scaled to unit length: the
block of which `imagehash.phash` keeps the signs, kept whole. In it a mirror image is a change of sign of every second
column, and shifts, zooms and rotations are linear maps, so that nothing is decoded or warped to search under them:

1. each image, as it is and moved by two pixels along a diagonal, plain and mirrored, asks for its nearest neighbours;
2. a pair stays if the neighbour lies near the *tangent plane* of the image, the span of its small affine changes, which
   also says which change that would be. (Simard et al., "Transformation invariance in pattern recognition: tangent
   distance and tangent propagation", 1998.)

Descriptors are whole numbers and their products stay under 2^24, so float32 sums are exact: no blocking, thread count or
machine changes a neighbour.
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
from curate.images.decode import Pixels, halve
from curate.images.thumbnails import Rows, Squares

SIDE = 48  # pixels of the compared thumbnails
WIDE = 16  # DCT coefficients a side that the maps read; finer detail does not reach the descriptor
LOW = 8  # DCT coefficients a side of the descriptor
# Asked for by each of the six forms of an image. On 3,900 altered copies among 16,641 faces ten found all, five 99.97 %.
NEIGHBOURS = 10
# Moves (x, y) in pixels of 48 before asking. Copies moved up instead of down, or mirrored, are found from their other
# side, so half of the diagonals are enough.
STARTS = ((0, 0), (2, 2), (-2, 2))
# Cosine to the tangent plane from which (inclusive) a pair is verified: of the altered copies 99.5 % pass, and 3.5 pairs
# an image on FER2013.
GATE = 0.92
LENGTH = 4000  # of a descriptor: its square is under 2^24, up to which float32 counts exactly
LARGEST_CHANGE = (
    0.2  # of an affine coefficient in one linear step; beyond it the tangent is no guide
)
BLOCK = 4096  # queries at once
# Beyond this the index takes over: at 100,000 images the exhaustive search takes over a minute on two cores.
EXHAUSTIVE_ROWS = 100_000
PROBED_LISTS = (
    16  # of an index of about 4 sqrt(N) lists: `benchmarks/scaling.py` has what they miss
)

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Candidates:
    """P pairs to be verified.

    Attributes
    ----------
    query, other : (P,) rows
    mirrored : (P,) whether `other` is to be mirrored first
    affine : (P, 2, 3) float32: the point of `query` at which a point of the (mirrored) `other` is found, in half widths
        from the centre
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
    """One after the other."""
    return Candidates(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in Candidates.__dataclass_fields__
        )
    )


def join_candidates(parts: Sequence[Candidates]) -> Candidates:
    """Those of all parts, sorted; of several for the same two images the closest."""
    every = concatenate(parts)
    low, high = np.minimum(every.query, every.other), np.maximum(every.query, every.other)
    order = np.lexsort((every.query, -every.closeness, high, low))
    is_first = np.ones(len(order), bool)
    is_first[1:] = (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0)
    return every[order[is_first]]


def find_neighbours(
    thumbnails: Squares,
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
    exhaustive : compare with every target, or ask an inverted file (FAISS IVF) of them; None decides by their number
    """
    if not len(queries) or not len(targets):
        return
    described = np.concatenate(
        [describe(thumbnails[targets[s : s + BLOCK]]) for s in range(0, len(targets), BLOCK)],
        dtype=np.float32,
    )
    index = _open_index(
        described, len(targets) <= EXHAUSTIVE_ROWS if exhaustive is None else exhaustive
    )
    described /= LENGTH
    waiting: deque[list[Future[Candidates]]] = deque()
    with threadpool_limits(1), _one_thread_each(workers) as pool:
        for first in engine.track(range(0, len(queries), BLOCK), "neighbour blocks"):
            rows = queries[first : first + BLOCK]
            wide = _transform(thumbnails[rows])
            starts = range(len(STARTS))
            waiting.append(
                [
                    pool.submit(_ask, index, described, wide, rows, targets, start)
                    for start in starts
                ]
            )
            if len(waiting) > 1:  # the threads have the next block at hand
                yield join_candidates([answer.result() for answer in waiting.popleft()])
        while waiting:
            yield join_candidates([answer.result() for answer in waiting.popleft()])


def relate(thumbnails: Squares, query: Rows, other: Rows) -> Candidates:
    """The named pairs as candidates, each in its best form, near or not."""
    blocks = range(0, len(query), BLOCK)
    parts = [_relate_block(thumbnails, query[s : s + BLOCK], other[s : s + BLOCK]) for s in blocks]
    return join_candidates([unmoved(query[:0], other[:0]), *parts])


def unmoved(query: Rows, other: Rows) -> Candidates:
    """The named pairs as candidates that need no change, further off than any neighbour."""
    count = len(query)
    place = np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1))
    return Candidates(query, other, np.zeros(count, bool), place, np.zeros(count, np.float32))


def describe(images: Pixels) -> Floats:
    """(N, 48, 48) uint8 -> (N, 64) float32 whole numbers of length `LENGTH`; an image without contrast has none."""
    return _to_length(_transform(images), 0)


def _one_thread_each(workers: int | None) -> ThreadPoolExecutor:
    """Threads that each search alone: several within one search took 2.3 times the CPU time for the same answers."""
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
    # Centres taken from the data, not learnt: k-means would round, and its result depend on the machine.
    flat.add(described[np.linspace(0, len(described) - 1, lists).astype(np.int64)])
    index = faiss.IndexIVFFlat(flat, LOW * LOW, lists, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    index.add(described)
    index.nprobe = PROBED_LISTS
    return index


def _ask(
    index: Any, described: Floats, wide: Floats, rows: Rows, targets: Rows, start: int
) -> Candidates:
    """The neighbours of the queries moved to one start, plain and mirrored, that lie near their tangent planes."""
    asked = min(NEIGHBOURS + 1, len(targets))  # one of them may be the image itself
    low, (plane, steps) = _to_length(wide, start), _tangent_plane(wide, start)
    parts = []
    for mirrored in (False, True):
        sign = _mirror_signs() if mirrored else np.float32(1)
        _, found = index.search(low * sign, asked)
        # (n, k, 64); a list that ends early holds -1 and its last row, which is checked below
        near = described[found] * sign
        inside = near @ plane.transpose(0, 2, 1)  # (n, k, 7)
        closeness = np.sqrt((inside * inside).sum(axis=2))
        query, place = np.nonzero(
            (closeness >= GATE) & (found >= 0) & (targets[found] != rows[:, None])
        )
        affine = _to_affine(inside[query, place], steps[query], start)
        is_mirrored = np.full(len(query), mirrored)
        parts.append(
            Candidates(
                rows[query],
                targets[found[query, place]],
                is_mirrored,
                affine,
                closeness[query, place],
            )
        )
    return concatenate(parts)


def _relate_block(thumbnails: Squares, query: Rows, other: Rows) -> Candidates:
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
    """(N, 48, 48) uint8 -> (N, 256) float32, the 16 x 16 lowest coefficients of the orthonormal DCT, thin strokes removed.

    A median of 3 x 3 at half the size removes the letters of a watermark, which would light a whole region.
    """
    half = halve(images)
    plain = np.stack([cv2.medianBlur(image, 3) for image in half]) if len(half) else half
    basis = (
        _dct_rows(WIDE).reshape(WIDE, SIDE // 2, 2).sum(axis=2).astype(np.float32)
    )  # as if enlarged again
    return np.asarray(basis @ plain.astype(np.float32) @ basis.T, np.float32).reshape(
        len(images), WIDE * WIDE
    )


def _to_length(wide: Floats, start: int) -> Floats:
    # In double precision, so that a block's other rows do not decide how a coefficient is rounded.
    low: npt.NDArray[np.float64] = wide.astype(np.float64) @ _maps()[start, 0].T
    length = np.linalg.norm(low, axis=1, keepdims=True)
    whole: npt.NDArray[np.float64] = np.rint(low / np.maximum(length, 1e-3) * LENGTH)
    return whole.astype(np.float32)


def _tangent_plane(wide: Floats, start: int) -> tuple[Floats, Floats]:
    """An orthonormal basis (N, 7, 64) of each image's tangent plane, and the coefficients (N, 7, 7) that it is made of.

    The plane is spanned by the image and its derivatives under the six affine parameters.
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
    """(starts, 7, 64, 256): from `_transform` to the descriptor of the moved image and to its six derivatives.

    The derivatives belong to the coefficients of x, y and 1 in the new x, then in the new y, x and y in half widths and
    differences in pixels.
    """
    low, wide = _dct_rows(LOW), _dct_rows(WIDE)
    same: npt.NDArray[np.float64] = np.eye(SIDE)
    slope: npt.NDArray[np.float64] = np.gradient(same, axis=0)
    place: npt.NDArray[np.float64] = np.diag((np.arange(SIDE) - (SIDE - 1) / 2) / (SIDE / 2))
    stretch = place @ slope
    along_y: npt.NDArray[np.float64] = np.stack([same, same, place, same, slope, stretch, slope])
    along_x: npt.NDArray[np.float64] = np.stack([same, stretch, slope, slope, place, same, same])
    maps = np.array(
        [
            [
                np.kron(low @ y @ _move(dy) @ wide.T, low @ x @ _move(dx) @ wide.T)
                for y, x in zip(along_y, along_x, strict=True)
            ]
            for dx, dy in STARTS
        ]
    )
    maps[:, :, 0] = 0  # brightness is no pattern
    return maps


def _dct_rows(count: int) -> npt.NDArray[np.float64]:
    """(count, 48) the lowest rows of the orthonormal DCT-II of 48 samples."""
    frequency, sample = np.arange(count)[:, None], np.arange(SIDE)[None]
    rows: npt.NDArray[np.float64] = np.sqrt(2 / SIDE) * np.cos(
        np.pi * frequency * (2 * sample + 1) / (2 * SIDE)
    )
    rows[0] /= np.sqrt(2)
    return rows


def _move(pixels: int) -> npt.NDArray[np.float64]:
    """(48, 48) a move along one axis, the edge repeated."""
    matrix = np.zeros((SIDE, SIDE))
    matrix[np.arange(SIDE), np.clip(np.arange(SIDE) - pixels, 0, SIDE - 1)] = 1
    return matrix
