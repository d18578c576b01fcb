"""dedup: groups, the copy that stays, conflicts, and the guard against chaining."""

import imagehash
import numpy as np
import pytest
from tables import make_manifest

from curate import decisions
from curate.dedup import group_duplicates
from curate.faces import draw_face
from curate.pairs import correlate_pairs, near_hashes
from curate.receipts import StageResult
from curate.workspace import apply_result


def dedup(manifest, near=(), journal=()):
    result = StageResult("", group_duplicates(manifest, list(near)))
    return apply_result(manifest, result, "dedup", list(journal)).set_index("path")


def test_a_worked_example_by_hand():
    rows = dedup(
        make_manifest(
            [
                {"path": "s/a.png", "pixels": "P", "given_label": "sad", "source_split": "train"},
                {"path": "s/b.png", "pixels": "P", "given_label": "sad", "source_split": "test"},
                {"path": "s/c.png", "pixels": "P", "given_label": "fear", "source_split": "train"},
                {"path": "s/d.png", "pixels": "Q", "given_label": "sad"},
                {"path": "s/e.png", "pixels": ""},
                {"path": "s/f.png", "pixels": ""},
                {"path": "s/g.png", "pixels": "R", "given_label": "sad", "source_split": "val"},
            ]
        ),
        near=[(6, 0)],
    )
    assert list(rows["duplicate_group"]) == ["s/a.png"] * 3 + [""] * 3 + ["s/a.png"]
    assert list(rows["duplicate_of"]) == ["s/b.png", "", "", "", "", "", "s/b.png"]  # the copy in test stays
    assert list(rows["duplicate_kind"]) == ["exact", "", "", "", "", "", "near"]
    assert list(rows["label_conflict"]) == ["true"] * 3 + [""] * 3 + ["true"]
    assert list(rows["reason"]) == ["exact_copy", "", "", "", "unreadable", "unreadable", "near_copy"]


def test_in_a_chain_the_ends_that_differ_are_grouped_but_not_dropped_for_each_other():
    """a~b~c, a and c differ: one group, so that no split separates them; c is a copy of b alone, and b is not kept."""
    rows = dedup(make_manifest([{"pixels": "a"}, {"pixels": "b"}, {"pixels": "c"}]), near=[(0, 1), (1, 2)])
    assert list(rows["duplicate_group"]) == ["s/000.png"] * 3
    assert list(rows["duplicate_of"]) == ["", "s/000.png", ""]
    assert list(rows["status"]) == ["keep", "drop", "keep"]


def test_the_larger_of_two_copies_stays_then_the_first_path():
    larger = [{"pixels": "a"}, {"pixels": "b", "width": "96", "height": "96"}]
    assert list(dedup(make_manifest(larger), near=[(0, 1)])["duplicate_of"]) == ["s/001.png", ""]
    assert list(dedup(make_manifest([{"pixels": "a"}] * 2))["duplicate_of"]) == ["", "s/000.png"]


def test_a_human_keep_survives_and_becomes_the_copy_that_stays():
    manifest = make_manifest([{"pixels": "a"}, {"pixels": "a"}])
    journal = decisions.new_decisions(manifest, [("s/001.png", "keep", "")], by="t")
    rows = dedup(decisions.apply(manifest, journal), journal=journal)
    assert list(rows["duplicate_of"]) == ["s/001.png", ""]
    assert list(rows["reason"]) == ["exact_copy", "human"]


def test_a_copy_takes_over_when_its_original_is_dropped_by_hand():
    manifest = make_manifest([{"pixels": "a"}, {"pixels": "a"}])
    after = apply_result(manifest, StageResult("", group_duplicates(manifest, [])), "dedup", [])
    journal = decisions.new_decisions(after, [("s/000.png", "drop", "")], by="t")
    after = decisions.apply(after, journal)
    assert list(after["status"]) == ["drop", "keep"]
    again = dedup(after, journal=journal)
    assert list(again["duplicate_of"]) == ["", ""]
    assert list(again["status"]) == ["drop", "keep"]


def test_a_relabelled_original_takes_its_copies_along_and_a_conflict_under_that_label_too():
    manifest = make_manifest([{"pixels": "a", "given_label": label} for label in ("angry", "angry", "sad")])
    after = apply_result(manifest, StageResult("", group_duplicates(manifest, [])), "dedup", [])
    assert list(after["status"]) == ["keep", "drop", "keep"]
    journal = decisions.new_decisions(after, [("s/000.png", "relabel", "sad")], by="t")
    after = decisions.apply(after, journal)
    assert list(after["label"]) == ["sad", "sad", "sad"]
    assert list(after["status"]) == ["keep", "drop", "keep"]
    again = dedup(after, journal=journal)
    assert list(again["status"]) == ["keep", "drop", "drop"]
    undone = decisions.apply(again.reset_index(), [])
    assert list(undone["status"]) == ["keep", "drop", "keep"]  # a copy under another label is never dropped


def test_a_degenerate_image_is_neither_kept_for_a_copy_nor_a_copy():
    rows = dedup(make_manifest([{"pixels": "a", "quality": "blank"}, {"pixels": "a", "quality": "blank"}]))
    assert list(rows["duplicate_group"]) == ["s/000.png"] * 2
    assert list(rows["duplicate_of"]) == ["", ""]
    assert list(rows["reason"]) == ["degenerate", "degenerate"]


@pytest.mark.parametrize("distance", [0, 9, 10, 11])
def test_near_hashes_are_found_up_to_the_bound_and_not_beyond(distance):
    flipped = f"{(1 << distance) - 1:016x}"
    first, second = near_hashes(["0" * 16, flipped, "f" * 16], 10)
    assert list(zip(first, second, strict=True)) == ([(0, 1)] if distance <= 10 else [])


def test_near_hashes_agree_with_imagehash_on_every_pair():
    hashes = [f"{value:016x}" for value in np.random.default_rng(0).integers(0, 2**63, 60, dtype=np.uint64)]
    by_library = [imagehash.hex_to_hash(text) for text in hashes]
    expected = [(i, j) for i in range(60) for j in range(i + 1, 60) if by_library[i] - by_library[j] <= 26]
    assert len(expected) > 20
    assert list(zip(*near_hashes(hashes, 26), strict=True)) == expected


def test_the_score_of_a_shifted_copy_is_high_and_names_the_shift():
    face = draw_face("happy", 3, 3)
    shifted = np.roll(face, (2, -1), axis=(0, 1))
    other = draw_face("happy", 4, 4)
    blank = np.full_like(face, 90)
    images = np.stack([face, shifted, other, blank])
    scores, shifts = correlate_pairs(images, np.array([0, 0, 0, 3]), np.array([1, 2, 3, 3]))
    assert scores[0] > 0.97
    assert shifts[0].tolist() == [-1, 2]
    assert scores[1] < 0.6
    assert scores[2:].tolist() == [0, 0]  # a blank image has exact copies only


def test_the_chain_finds_the_planted_copies_of_the_tiny_set(finished):
    rows = finished.read().set_index("path")
    assert rows.at["tiny/train/happy/copy.png", "duplicate_group"] == "tiny/train/happy/0.png"
    assert rows.at["tiny/test/happy/copy.png", "duplicate_kind"] == ""  # the copy in test stays
    assert rows.at["tiny/train/happy/1.png", "duplicate_of"] == "tiny/test/happy/copy.png"
    assert rows.at["tiny/train/sad/near.png", "duplicate_kind"] == "near"
    assert rows.at["tiny/train/fear/conflict.png", "label_conflict"] == "true"
    assert rows.at["tiny/train/fear/conflict.png", "status"] == "keep"
