"""The record of the last search for copies: what is written is read, whoever wrote it."""

from pathlib import Path

import numpy as np

from curate.duplicates.copies import Pair
from curate.duplicates.search_cache import FILE, read_comparison, write_comparison

PIXELS = [f"{row:064x}" for row in range(4)]
PAIRS = [
    Pair(0, 2, 0.9876, 0.01, 0.01, "mirror zoom 1.060 angle -3.0", "mirror zoom 0.943 angle -3.0"),
    Pair(1, 3, 0.95, 0.2, 0.1, "shift 1.0 0.0", "shift -1.0 0.0"),
]


def test_pairs_are_read_by_todays_rows(tmp_path: Path) -> None:
    write_comparison(tmp_path / "cache", PIXELS, PAIRS)
    # The first image is gone, one is new, and the others stand in another order.
    today = [PIXELS[3], f"{9:064x}", PIXELS[2], PIXELS[1]]
    pairs, is_known = read_comparison(tmp_path / "cache", today)
    assert is_known.tolist() == [True, False, True, True]
    assert pairs == [Pair(0, 3, 0.95, 0.2, 0.1, "shift -1.0 0.0", "shift 1.0 0.0")]


def test_no_pairs_are_a_record_too(tmp_path: Path) -> None:
    write_comparison(tmp_path, PIXELS, [])
    pairs, is_known = read_comparison(tmp_path, PIXELS)
    assert (pairs, is_known.all()) == ([], True)


def test_a_record_of_an_earlier_version_holds_transforms_as_text(tmp_path: Path) -> None:
    write_comparison(tmp_path, PIXELS, PAIRS)
    with np.load(tmp_path / FILE) as record:
        arrays = dict(record)
    assert arrays["transforms"].dtype.kind == "S"
    arrays["transforms"] = arrays["transforms"].astype(np.str_)
    np.savez(tmp_path / FILE, **arrays)
    assert read_comparison(tmp_path, PIXELS)[0] == PAIRS
