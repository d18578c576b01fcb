"""The index of descriptors: an inverted file in FAISS, whole or in parts that share out its lists.

Comes in: descriptors, whole numbers of length `LENGTH`. Goes out: for each query the nearest rows.
Of equal products the lower row is nearer, so that the parts of an index, merged, give what the
whole index gives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.components import Rows
from curate.duplicates.candidates import Floats
from curate.duplicates.descriptors import LENGTH, LOW

# Lists that a query reads, of about 4 sqrt(N); `benchmarks/scaling.py` measures what is not found.
PROBED_LISTS = 16
# A key orders the rows of a query: its upper bits fall as the product grows, its lower bits are the
# row, which may be up to 275 thousand million.
ROW_BITS = 38
READ_ROWS = 8192  # descriptors read at once: as floats they stay in the cache of a core
NO_ROW = np.iinfo(np.int64).max

Keys = npt.NDArray[np.int64]
Described = npt.NDArray[np.int16]
# queries, count -> products and ids; the number of a query, bound -> those of all above the bound
_Search = Callable[[Floats, int], tuple[Floats, Rows]]
_FindAbove = Callable[[int, float], tuple[Floats, Rows]]


@dataclass(frozen=True)
class Lists:
    """The lists of an inverted file, each by the descriptor in its centre.

    Centres are rows of the data: k-means would depend on rounding, so on the machine.

    Attributes
    ----------
    centres : (L, 64) whole numbers
    probed : the lists that a query reads, the nearest ones
    """

    centres: Floats
    probed: int

    def __len__(self) -> int:
        return len(self.centres)

    def assign(self, described: Floats) -> Rows:
        """(N,) the list of each descriptor."""
        return self._nearest(described, 1)[:, 0]

    def choose(self, queries: Floats) -> Rows:
        """(n, probed) the lists that each query reads."""
        return self._nearest(queries, min(self.probed, len(self)))

    def deal(self, parts: int) -> Rows:
        """(L,) the part of each list: as many for each, and near lists in one part.

        A query then reads few parts. The centres are halved again and again, across the direction
        in which they vary most.
        """
        part = np.zeros(len(self), np.int64)
        undealt = [(np.arange(len(self)), 0, parts)]
        while undealt:
            lists, first, count = undealt.pop()
            part[lists] = first
            if count > 1:
                own = self.centres[lists] - self.centres[lists].mean(axis=0)
                direction = np.linalg.eigh(own.T @ own)[1][:, -1]
                order = lists[np.argsort(own @ direction, kind="stable")]
                lower = count // 2
                cut = len(lists) * lower // count
                undealt += [
                    (order[:cut], first, lower),
                    (order[cut:], first + lower, count - lower),
                ]
        return part

    def _nearest(self, described: Floats, count: int) -> Rows:
        def find_above(query: int, bound: float) -> tuple[Floats, Rows]:
            _, products, ids = self._index.range_search(described[query : query + 1], bound)
            return products, ids

        return _search_in_order(self._index.search, find_above, described, count)[1]

    @cached_property
    def _index(self) -> Any:
        import faiss

        index = faiss.IndexFlatIP(LOW * LOW)
        index.add(self.centres)
        return index

    def __getstate__(self) -> dict[str, Any]:
        return {"centres": self.centres, "probed": self.probed}


class Part:
    """Some rows of an index: all of them, or those of some lists.

    Parameters
    ----------
    rows : (M,) sorted
    described : (M, 64) whole numbers
    lists : (M,) the list of each row; None compares every query with every row
    list_count : lists of the whole index
    """

    def __init__(
        self, rows: Rows, described: Described, lists: Rows | None = None, list_count: int = 0
    ) -> None:
        import faiss

        self.rows = rows
        self.index: Any = faiss.IndexFlatIP(LOW * LOW)
        if lists is None:
            self.index.add(described.astype(np.float32))
            return
        # Queries come with their lists, so the quantizer stays empty.
        self.quantizer = self.index
        measure = faiss.METRIC_INNER_PRODUCT
        self.index = faiss.IndexIVFFlat(self.quantizer, LOW * LOW, list_count, measure)
        self.index.is_trained = True
        _fill_lists(self.index, described, lists)

    def search(self, queries: Floats, probes: Rows | None, count: int) -> tuple[Keys, Rows]:
        """The nearest rows of each query.

        Parameters
        ----------
        queries : (n, 64) whole numbers
        probes : (n, lists) the lists to read, -1 for one of another part; None for a part without
            lists

        Returns
        -------
        (n, count) keys in rising order, `NO_ROW` where there are fewer rows, and the places of the
        rows in this part, -1 where there are fewer
        """
        if probes is None:
            search, find_above = self._search_all(queries)
        else:
            search, find_above = self._search_lists(queries, probes)
        products, places = _search_in_order(search, find_above, queries, count)
        keys = np.full(places.shape, NO_ROW)
        is_found = places >= 0
        keys[is_found] = order_keys(products[is_found], self.rows[places[is_found]])
        return keys, places

    def read(self, places: Rows) -> Described:
        """(m, 64) the descriptors at these places; zeros where a place is -1."""
        described = np.zeros((len(places), LOW * LOW), np.int16)
        for start in range(0, len(places), READ_ROWS):
            own = places[start : start + READ_ROWS]
            described[start : start + READ_ROWS] = self.index.reconstruct_batch(np.maximum(own, 0))
        described[places < 0] = 0
        return described

    def _search_all(self, queries: Floats) -> tuple[_Search, _FindAbove]:
        def find_above(query: int, bound: float) -> tuple[Floats, Rows]:
            _, products, places = self.index.range_search(queries[query : query + 1], bound)
            return products, places

        return self.index.search, find_above

    def _search_lists(self, queries: Floats, probes: Rows) -> tuple[_Search, _FindAbove]:
        self.index.nprobe = probes.shape[1]
        unused = np.zeros(probes.shape, np.float32)  # products with the centres

        def search(queries: Floats, count: int) -> tuple[Floats, Rows]:
            found: tuple[Floats, Rows] = self.index.search_preassigned(
                queries, count, probes, unused
            )
            return found

        def find_above(query: int, bound: float) -> tuple[Floats, Rows]:
            own = slice(query, query + 1)
            _, products, places = self.index.range_search_preassigned(
                queries[own], bound, probes[own], unused[own]
            )
            return products, places

        return search, find_above


def to_unit(described: Described) -> Floats:
    """Descriptors of length 1."""
    return described.astype(np.float32) / np.float32(LENGTH)


def order_keys(products: Floats, rows: Rows) -> Keys:
    """Keys that rise from the nearest row to the farthest, of equal products from the lowest."""
    falling = np.int64(LENGTH * LENGTH + (1 << 16)) - products.astype(np.int64)
    return (falling << ROW_BITS) | rows


def to_rows(keys: Keys) -> Rows:
    """The rows of keys; -1 where there is none."""
    return np.where(keys == NO_ROW, -1, keys & ((1 << ROW_BITS) - 1))


def _fill_lists(index: Any, described: Described, lists: Rows) -> None:
    """Add the rows list by list: FAISS then takes no more memory than each list needs."""
    import faiss

    order = np.argsort(lists, kind="stable")
    ends = np.cumsum(np.bincount(lists, minlength=index.nlist))
    for name, ids in enumerate(np.split(order, ends[:-1])):
        vectors = described[ids].astype(np.float32)
        codes = faiss.swig_ptr(vectors.view(np.uint8))
        index.invlists.add_entries(name, len(ids), faiss.swig_ptr(ids), codes)
    index.ntotal = len(lists)
    index.make_direct_map(True)


def _search_in_order(
    search: _Search, find_above: _FindAbove, queries: Floats, count: int
) -> tuple[Floats, Rows]:
    """(n, count) products and ids, of equal products the lower id first; -1 where there are fewer.

    FAISS orders equal products, and chooses among them at the end, as its blocks and lists come.
    """
    products, ids = search(queries, count + 1)
    # Where a neighbour is equal to the next one, in the order of the ids.
    rows = np.flatnonzero((products[:, 1:] == products[:, :-1]).any(axis=1))
    order = np.lexsort((ids[rows], -products[rows]), axis=1)
    ids[rows] = np.take_along_axis(ids[rows], order, axis=1)
    # Where the last one is equal to the one behind it, there may be more of them.
    is_open = (products[:, count] == products[:, count - 1]) & (ids[:, count] >= 0)
    rows = np.flatnonzero(is_open)
    _, first, inverse = np.unique(queries[rows], axis=0, return_index=True, return_inverse=True)
    for k, query in enumerate(rows[first].tolist()):
        bound = np.nextafter(products[query, count - 1], np.float32(-np.inf))
        above, above_ids = find_above(query, float(bound))
        best = np.lexsort((above_ids, -above))[:count]
        equal = rows[inverse.reshape(-1) == k]
        products[equal, :count], ids[equal, :count] = above[best], above_ids[best]
    return products[:, :count], ids[:, :count]
