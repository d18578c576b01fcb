"""Pairs of near perceptual hashes, in FAISS: all of them, or by the bands that near hashes share.

Comes in: perceptual hashes. Goes out: pairs of rows. Two hashes that differ in fewer bits than
there are bands have a band in common, so a search by bands loses no pair, and its time does not
grow with the square.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.components import Rows
from curate.stderr import with_progress

BANDS = 4
BAND_BITS = 64 // BANDS
BAND_BYTES = BAND_BITS // 8
HASH_BLOCK = 4096
# Most near hashes of an image that are candidates, the nearest first. Under one mask or in one
# frame all images are near each other, and the pairs would grow with the square.
NEAR_HASHES = 64

Words = npt.NDArray[np.uint8]


def find_near_hashes(
    phashes: Sequence[str], queries: Rows, max_distance_bits: int
) -> Iterator[Rows]:
    """(2, P) pairs of a query and a row whose hashes are near, block by block.

    A row is its own neighbour, and a pair of two queries comes in both orders. Under `BANDS` bits
    the search goes by bands, which loses no pair. Of a query with more than `NEAR_HASHES` near
    rows, the nearest, of equal distance the lowest rows.

    Parameters
    ----------
    phashes : (N,) 16 hex digits each
    queries : rows to search for
    max_distance_bits : inclusive
    """
    import faiss

    words = to_words(phashes)
    is_banded = max_distance_bits < BANDS
    banded, flat = faiss.IndexBinaryMultiHash(64, BANDS, BAND_BITS), faiss.IndexBinaryFlat(64)
    index: Any = banded if is_banded else flat
    index.add(words)
    for start in with_progress(range(0, len(queries), HASH_BLOCK), "hash blocks"):
        rows = queries[start : start + HASH_BLOCK]
        yield keep_nearest(*range_search(index, words[rows], rows, max_distance_bits))[:2]


def to_words(phashes: Sequence[str]) -> Words:
    """(N, 8) the bytes of the hashes."""
    return np.frombuffer(bytes.fromhex("".join(phashes)), np.uint8).reshape(-1, 8)


def range_search(index: Any, words: Words, queries: Rows, max_distance_bits: int) -> Rows:
    """(3, P) query, id in the index, distance in bits (inclusive)."""
    limits, distance, other = index.range_search(words, max_distance_bits + 1)
    query = np.repeat(queries, np.diff(limits.astype(np.int64)))
    return np.stack([query, other, distance.astype(np.int64)])


def keep_nearest(query: Rows, other: Rows, distance: Rows) -> Rows:
    """(3, P) the same pairs sorted, each once, of each query the nearest `NEAR_HASHES` and one.

    The query itself is one of them.
    """
    order = np.lexsort((other, distance, query))
    query, other, distance = query[order], other[order], distance[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (np.diff(query) != 0) | (np.diff(other) != 0)
    query, other, distance = query[is_first], other[is_first], distance[is_first]
    place = np.arange(len(query)) - np.searchsorted(query, query)
    return np.stack([query, other, distance])[:, place <= NEAR_HASHES]


class HashPart:
    """Some hashes of a search: of each band those with some values, or some rows.

    Parameters
    ----------
    rows : (M,) sorted
    words : (M, 8) their hashes
    bands : (M,) the band by which a row is found; None compares every query with every row
    """

    def __init__(self, rows: Rows, words: Words, bands: Rows | None = None) -> None:
        import faiss

        if bands is None:
            self.rows = [rows]
            self.indexes: list[Any] = [faiss.IndexBinaryFlat(64)]
            self.indexes[0].add(words)
            return
        chosen = [bands == band for band in range(BANDS)]
        self.rows = [rows[own] for own in chosen]
        # The buckets of the index are the first bits, so the band comes first.
        self.indexes = [faiss.IndexBinaryHash(64, BAND_BITS) for _ in range(BANDS)]
        for band, own in enumerate(chosen):
            self.indexes[band].add(roll(words[own], band))

    def search(
        self, queries: Rows, words: Words, bands: Rows | None, max_distance_bits: int
    ) -> Rows:
        """(3, P) query, row, distance, as of `keep_nearest`.

        Parameters
        ----------
        queries : (n,) rows, with a row for each band in which to search for it
        words : (n, 8) their hashes
        bands : (n,) the bands; None without bands
        max_distance_bits : inclusive
        """
        if bands is None:
            found = range_search(self.indexes[0], words, queries, max_distance_bits)
            found[1] = self.rows[0][found[1]]
            return keep_nearest(*found)
        parts = [np.zeros((3, 0), np.int64)]
        for band, index in enumerate(self.indexes):
            own = bands == band
            if own.any() and len(self.rows[band]):
                rolled = roll(words[own], band)
                found = range_search(index, rolled, queries[own], max_distance_bits)
                found[1] = self.rows[band][found[1]]
                parts.append(found)
        return keep_nearest(*np.concatenate(parts, axis=1))


def roll(words: Words, band: int) -> Words:
    """The hashes with one band in front."""
    return np.ascontiguousarray(np.roll(words, -band * BAND_BYTES, axis=1))


def band_values(words: Words) -> Rows:
    """(N, BANDS) the value of each band."""
    return np.ascontiguousarray(words).view(f"<u{BAND_BYTES}").astype(np.int64)
