"""The parts of an index, merged, give what the whole index gives: also among equal neighbours."""

from types import SimpleNamespace

import numpy as np
import pytest

from curate.duplicates import search_on_ray
from curate.duplicates.inverted_file import NO_ROW, Lists, Part, order_keys, to_rows
from curate.duplicates.near_hashes import NEAR_HASHES, HashPart, find_near_hashes
from curate.duplicates.parts_on_ray import Found, HashRows, deal_hashes, merge_hashes, merge_parts

COUNT = 5


@pytest.fixture(scope="module")
def described() -> np.ndarray:
    """Three hundred descriptors of few different values, so that most neighbours are equal ones."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(-500, 500, (12, 64))
    kinds[0] = 0
    return kinds[rng.integers(0, 12, 300)].astype(np.int16)


def find_by_hand(queries: np.ndarray, described: np.ndarray, is_read: np.ndarray) -> np.ndarray:
    """(n, COUNT) rows by falling product, then by row; -1 for none."""
    products = queries.astype(np.int64) @ described.T.astype(np.int64)
    found = np.full((len(queries), COUNT), -1)
    for k, own in enumerate(products):
        rows = [row for row in np.lexsort((np.arange(len(own)), -own)) if is_read[k, row]]
        found[k, : len(rows[:COUNT])] = rows[:COUNT]
    return found


def merge(described: np.ndarray, lists: np.ndarray | None, probes: np.ndarray, parts: int):
    """The rows that as many parts find together."""
    rows, queries = np.arange(len(described)), described[::7].astype(np.float32)
    owner = (rows if lists is None else lists) % parts
    found, held = [], []
    for part in range(parts):
        own = owner == part
        assigned = None if lists is None else lists[own]
        held.append(Part(rows[own], described[own], assigned, 10))
        own_probes = None if lists is None else np.where(probes % parts == part, probes, -1)
        keys, places = held[-1].search(queries, own_probes, COUNT)
        found.append(Found(np.arange(len(queries)), keys, places.astype(np.int32)))
    # Of a block of images, six forms each: here so many that there is room for all queries.
    keys, *wanted = merge_parts(parts, -(-len(queries) // 6), COUNT, *found)
    read = np.zeros((keys.size, 64), np.int16)
    for part, (in_block, places) in zip(held, wanted, strict=True):
        read[in_block] = part.read(places.astype(np.int64))
    is_found = (keys != NO_ROW).reshape(-1)
    assert (read[is_found] == described[to_rows(keys).reshape(-1)[is_found]]).all()
    assert (keys[len(queries) :] == NO_ROW).all()
    return to_rows(keys)[: len(queries)]


@pytest.mark.parametrize("parts", [1, 2, 4, 7])
def test_parts_by_lists_find_the_nearest_of_those_lists_the_lower_row_first(described, parts):
    lists = Lists(described[::30].astype(np.float32), probed=3)
    assigned = lists.assign(described.astype(np.float32))
    assigned[np.arange(300) % 30 < 28] = 9  # so that the other lists are short
    probes = lists.choose(described[::7].astype(np.float32))
    is_read = (probes[:, :, None] == assigned).any(axis=1)
    expected = find_by_hand(described[::7], described, is_read)
    assert (expected == -1).any()
    assert merge(described, assigned, probes, parts).tolist() == expected.tolist()


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_parts_by_rows_find_the_nearest_of_all_the_lower_row_first(described, parts):
    every = np.ones((len(described[::7]), len(described)), bool)
    expected = find_by_hand(described[::7], described, every)
    assert merge(described, None, np.zeros(0), parts).tolist() == expected.tolist()


def test_the_lists_of_equal_centres_are_chosen_in_their_order(described):
    lists = Lists(np.repeat(described[1:2], 9, axis=0).astype(np.float32), probed=4)
    queries = described[:40].astype(np.float32)
    assert lists.choose(queries).tolist() == [[0, 1, 2, 3]] * 40
    assert lists.assign(queries).tolist() == [0] * 40


def test_a_key_orders_by_falling_product_then_by_row():
    products = np.array([16_032_016, 5, 5, -16_032_016], np.float32)
    rows = np.array([2**38 - 1, 3, 4, 0])
    keys = order_keys(products, rows)
    assert sorted(keys.tolist()) == keys.tolist()
    assert to_rows(np.append(keys, NO_ROW)).tolist() == [*rows.tolist(), -1]


@pytest.mark.parametrize("bits", [3, 10])  # by bands, and all with all
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_parts_of_hashes_find_the_pairs_of_all_of_them(bits, parts):
    rng = np.random.default_rng(1)
    values = rng.integers(0, 2**63, 400, dtype=np.uint64)
    values[:90] = values[0] ^ (np.uint64(1) << rng.integers(0, 64, 90, dtype=np.uint64))  # a crowd
    values[90:150] = values[150:210] ^ np.uint64(0b101)
    hashes, rows = [f"{value:016x}" for value in values], np.arange(400)
    words = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(-1, 8)
    is_banded = bits < 4
    dealt = deal_hashes(parts, rows, words, is_banded)
    dealt = dealt if isinstance(dealt, list) else [dealt]
    every = HashRows(rows, words, None)
    found = []
    for own in dealt:
        asked = own if is_banded else every
        part = HashPart(own.rows, own.words, own.bands)
        found.append(part.search(asked.rows, asked.words, asked.bands, bits))
    whole = np.concatenate(list(find_near_hashes(hashes, rows, bits)), axis=1)
    assert merge_hashes(*found).tolist() == whole.tolist()
    assert (np.bincount(whole[0]) == NEAR_HASHES + 1).any()


@pytest.mark.parametrize(
    ("index_bytes", "workers", "most", "parts"),
    [(10**6, 4, None, 4), (10**6, 4, 2, 2), (10**6, 1, 6, 1), (7 << 30, 4, 2, 7)],
)
def test_an_index_has_a_part_for_each_worker_but_none_too_small_or_too_large(
    index_bytes: int, workers: int, most: int | None, parts: int
) -> None:
    ray = SimpleNamespace(cluster_resources=lambda: {"memory": 1e12})
    assert search_on_ray._Cluster(ray, workers, index_bytes, most).parts == parts
