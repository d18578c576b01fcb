"""Copies by their pixels: candidates, alignment and scores, and that only the pixels decide."""

import cv2
import imagehash
import numpy as np
import pytest

from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from curate.duplicates import neighbours, pairs
from curate.duplicates.alignment import (
    LOOK,
    SLICE,
    PairBatch,
    describe_affine,
    has_contrast,
    verify_batch,
)
from curate.duplicates.copies import SURE
from curate.duplicates.near_hashes import NEAR_HASHES, find_near_hashes
from curate.duplicates.neighbours import find_neighbours, join_candidates
from curate.duplicates.pairs import SearchOptions, find_pairs
from curate.images.decode import hash_perceptually, pixel_hash, read_image, shrink_for_phash
from curate.images.thumbnails import SHARD_IMAGES, Thumbnails, load_thumbnails


def move(
    image: np.ndarray, *, zoom: float = 1, angle: float = 0, dx: float = 0, dy: float = 0
) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D((23.5, 23.5), angle, zoom)
    matrix[:, 2] += (dx, dy)
    return cv2.warpAffine(
        image, matrix, (48, 48), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def mark(image: np.ndarray) -> np.ndarray:
    letters = cv2.putText(
        image.copy(), "sample", (3, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.35, 255, 1, cv2.LINE_AA
    )
    return cv2.addWeighted(letters, 0.6, image, 0.4, 0)


ALTERED = {
    "zoom 1.060": lambda image: move(image, zoom=1.06),
    "angle 4.0": lambda image: move(image, angle=4),
    "angle -4.0": lambda image: move(image, angle=-4),
    "shift 3.0 -2.0": lambda image: move(image, dx=3, dy=-2),
    "mirror": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "mirror shift -2.0 0.0": lambda image: move(np.ascontiguousarray(image[:, ::-1]), dx=-2),
    "mirror zoom 1.040 angle 3.0": lambda image: move(
        np.ascontiguousarray(image[:, ::-1]), zoom=1.04, angle=3
    ),
    "none": lambda image: cv2.convertScaleAbs(image, alpha=0.8, beta=25),
    "none (marked)": mark,
}


def to_thumbnails(images: np.ndarray) -> Thumbnails:
    return Thumbnails(
        [images[s : s + SHARD_IMAGES] for s in range(0, len(images), SHARD_IMAGES)], 48
    )


def hash_all(images: np.ndarray) -> list[str]:
    return hash_perceptually(np.stack([shrink_for_phash(image) for image in images]))


def find(images: np.ndarray, **options: object) -> list[pairs.Pair]:
    return find_pairs(
        to_thumbnails(images), hash_all(images), options=SearchOptions(workers=1, **options)
    )


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """One face of each of 120 people."""
    return np.stack(
        [draw_face(EXPRESSIONS[k % 7], identity=500 + k, seed=k, intensity=0.9) for k in range(120)]
    )


@pytest.fixture(scope="module")
def with_copies(faces: np.ndarray) -> np.ndarray:
    """The faces, and one altered copy of each of the first nine."""
    return np.concatenate([faces, [alter(faces[k]) for k, alter in enumerate(ALTERED.values())]])


def parse(transform: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for word in transform.split():
        if word[-1].isalpha():
            found[word] = []
        else:
            found[list(found)[-1]].append(float(word))
    return found


def test_every_altered_copy_is_found_and_its_change_is_named(with_copies):
    found = {(pair.first, pair.second): pair for pair in find(with_copies)}
    for k, name in enumerate(ALTERED):
        pair = found[k, 120 + k]
        assert pair.score >= SURE, name
        found_change, change = parse(pair.transform), parse(name.removesuffix(" (marked)"))
        assert ("mirror" in found_change) == ("mirror" in change), name
        for word, tolerance, default in (
            ("zoom", 0.015, [1.0]),
            ("angle", 0.8, [0.0]),
            ("shift", 0.7, [0.0, 0.0]),
        ):
            expected = pytest.approx(change.get(word, default)[:1], abs=tolerance)
            assert found_change.get(word, default)[:1] == expected, name
    assert {pair for pair, found in found.items() if found.score >= SURE} == {
        (k, 120 + k) for k in range(9)
    }


def test_the_transform_is_that_of_the_first_image_whichever_was_moved_to_find_it(faces):
    """The zoom from the original to the copy, then from the copy to the original."""
    larger = move(faces[0], zoom=1.06)
    there = find(np.stack([faces[0], larger, *faces[1:9]]))
    back = find(np.stack([larger, faces[0], *faces[1:9]]))
    assert [parse(pair.transform)["zoom"][0] for pair in (there[0], back[0])] == pytest.approx(
        [1.06, 1 / 1.06], abs=0.015
    )


def test_other_workers_shards_and_an_index_give_the_same_pairs(with_copies, tmp_path):
    alone = find(with_copies)
    assert (
        find_pairs(
            to_thumbnails(with_copies), hash_all(with_copies), options=SearchOptions(workers=2)
        )
        == alone
    )
    assert find(with_copies, cache=tmp_path) == alone


def test_an_index_finds_what_comparing_all_finds_but_for_pairs_outside_its_lists(
    with_copies, monkeypatch
):
    monkeypatch.setattr(neighbours, "PROBED_LISTS", 16)  # of 45
    alone, indexed = find(with_copies), find(with_copies, exhaustive=False)
    copies = {(k, 120 + k) for k in range(9)}
    assert (
        copies
        <= {(pair.first, pair.second) for pair in indexed}
        <= {(pair.first, pair.second) for pair in alone}
    )


def test_a_search_in_many_rounds_finds_the_same_copies(with_copies, monkeypatch):
    alone = {(pair.first, pair.second) for pair in find(with_copies) if pair.score >= SURE}
    monkeypatch.setattr(neighbours, "BLOCK", 16)
    assert {
        (pair.first, pair.second)
        for pair in find(with_copies, memory_bytes=1)
        if pair.score >= SURE
    } == alone


def test_finished_shards_are_not_verified_again(with_copies, tmp_path, monkeypatch):
    alone = find(with_copies, cache=tmp_path)
    kept = sorted(tmp_path.rglob("*.npy"))
    assert kept
    monkeypatch.setattr(pairs, "verify_batch", None)
    assert find(with_copies, cache=tmp_path) == alone
    assert sorted(tmp_path.rglob("*.npy")) == kept


def test_a_broken_shard_is_made_again(with_copies, tmp_path):
    alone = find(with_copies, cache=tmp_path)
    for shard in tmp_path.rglob("*.npy"):
        shard.write_bytes(shard.read_bytes()[:-3])
    assert find(with_copies, cache=tmp_path) == alone


def test_faces_beyond_the_memory_are_mapped_and_the_same_and_a_killed_run_decodes_no_shard_twice(
    tiny_faces, tmp_path
):
    files = [(file, "") for file in sorted(tiny_faces.rglob("*.png"))]
    hashes = [pixel_hash(read_image(file)) for file, _ in files]
    rows = np.array([4, 0, 40])
    held = load_thumbnails(files, hashes, workers=1)[rows]
    mapped = load_thumbnails(files, hashes, cache=tmp_path, memory_bytes=1, workers=1)
    assert isinstance(mapped.shards[0].base, np.memmap)
    assert (mapped[rows] == held).all()
    gone = [(tmp_path / "gone.png", "")] * len(files)
    assert (load_thumbnails(gone, hashes, cache=tmp_path, workers=1)[rows] == held).all()
    next(tmp_path.rglob("48-*.npy")).write_bytes(b"broken")
    assert (load_thumbnails(files, hashes, cache=tmp_path, workers=1)[rows] == held).all()


def test_what_another_run_left_in_the_cache_is_removed(with_copies, tmp_path):
    find(with_copies, cache=tmp_path)
    before = set(tmp_path.rglob("*.npy"))
    find(with_copies[:60], cache=tmp_path)
    assert not before & set(tmp_path.rglob("*.npy"))


def test_new_images_compared_with_all_give_what_comparing_all_gives(with_copies):
    hashes, order = hash_all(with_copies), np.random.default_rng(0).permutation(len(with_copies))
    images, hashes = with_copies[order], [hashes[k] for k in order]
    every = find_pairs(to_thumbnails(images), hashes, options=SearchOptions(workers=1))
    is_new = np.arange(len(images)) >= 70
    old = [pair for pair in every if pair.second < 70]
    assert 0 < len(old) < len(every)
    found = find_pairs(
        to_thumbnails(images), hashes, known=old, is_new=is_new, options=SearchOptions(workers=1)
    )
    assert found == every


def test_a_new_image_that_bridges_two_old_ones_has_them_compared_too(faces):
    """Two old images may be copies that no search found: a new one in their group compares all."""
    many = np.stack([cv2.convertScaleAbs(faces[3], alpha=0.9, beta=k) for k in range(15)])
    every = find(many)
    known = [pair for pair in every if pair.second < 14 and (pair.first, pair.second) != (2, 9)]
    hashes, is_new = hash_all(many), np.arange(15) == 14
    found = find_pairs(
        to_thumbnails(many), hashes, known=known, is_new=is_new, options=SearchOptions(workers=1)
    )
    assert {(pair.first, pair.second) for pair in found} == {
        (pair.first, pair.second) for pair in every
    }


def test_blank_and_faint_images_pair_with_nothing(faces):
    blank = np.full((2, 48, 48), 90, np.uint8)
    blank[1, 0, 0] = 91
    assert has_contrast(np.concatenate([blank, faces[:1]])).tolist() == [False, False, True]
    assert find(np.concatenate([blank, faces[:3]])) == []


def test_fewer_images_than_neighbours_are_no_error(faces):
    assert find(faces[:1]) == []
    assert find_pairs(to_thumbnails(faces[:0]), []) == []
    assert [
        (pair.first, pair.second) for pair in find(np.stack([faces[0], faces[0][:, ::-1]]))
    ] == [(0, 1)]


def test_more_copies_than_neighbours_are_all_paired_with_each_other(faces):
    """Twenty copies of one photograph, each a little lighter than the one before: 190 pairs."""
    many = np.stack([cv2.convertScaleAbs(faces[3], alpha=0.9, beta=k) for k in range(20)])
    found = {
        (pair.first, pair.second)
        for pair in find(np.concatenate([many, faces[10:40]]))
        if pair.score >= SURE
    }
    assert found == {(i, j) for i in range(20) for j in range(i + 1, 20)}


def near_hashes(hashes: list[str], bits: int) -> set[tuple[int, int]]:
    """Every pair i < j within the distance."""
    blocks = find_near_hashes(hashes, np.arange(len(hashes)), bits)
    pairs = {(int(i), int(j)) for block in blocks for i, j in block.T}
    return {(i, j) for i, j in pairs if i < j}


@pytest.mark.parametrize("distance", [0, 9, 10, 11])
def test_near_hashes_are_found_up_to_the_bound_and_not_beyond(distance):
    flipped = f"{(1 << distance) - 1:016x}"
    expected = {(0, 1)} if distance <= 10 else set()
    assert near_hashes(["0" * 16, flipped, "f" * 16], 10) == expected


@pytest.mark.parametrize("bits", [3, 26])  # by bands, and exhaustive
def test_near_hashes_agree_with_imagehash_on_every_pair(bits):
    values = np.random.default_rng(0).integers(0, 2**63, 60, dtype=np.uint64)
    values[:5] = values[5:10] ^ np.uint64(0b111)
    hashes = [f"{value:016x}" for value in values]
    library = [imagehash.hex_to_hash(text) for text in hashes]
    every = [(i, j) for i in range(60) for j in range(i + 1, 60)]
    expected = {(i, j) for i, j in every if library[i] - library[j] <= bits}
    assert len(expected) >= 5
    assert near_hashes(hashes, bits) == expected


def test_of_a_crowd_of_near_hashes_the_nearest_are_candidates():
    flips = [0, *[1 << bit for bit in range(40)], *[3 << bit for bit in range(0, 60, 2)]]
    hashes = [f"{value:016x}" for value in flips]
    found = {j for i, j in near_hashes(hashes, 10) if i == 0}
    assert len(hashes) > NEAR_HASHES + 1
    assert found >= set(range(1, 41))  # those of one bit; of two, as many as there is room for


def test_a_candidate_is_named_once_with_its_closest_form(with_copies):
    rows = np.arange(len(with_copies))
    blocks = list(find_neighbours(to_thumbnails(with_copies), rows, rows))
    once = join_candidates(blocks)
    assert join_candidates([once, *blocks]).affine.tolist() == once.affine.tolist()
    low, high = np.minimum(once.query, once.other), np.maximum(once.query, once.other)
    assert len(set(zip(low, high, strict=True))) == len(once)


def test_scores_lie_in_zero_to_one_and_a_stranger_scores_below_the_bound(faces):
    same = np.tile(np.eye(2, 3, dtype=np.float32), (2, 1, 1))
    batch = PairBatch(np.stack([faces[0]] * 2), np.stack([faces[0], faces[1]]), same)
    verified = verify_batch(batch)
    assert verified.place.tolist() == [0]
    assert verified.score == pytest.approx([1], abs=1e-5)
    assert 0 < LOOK < SURE < 1
    strangers = verify_batch(PairBatch(faces[:2], faces[2:4], same))
    assert strangers.place.shape == strangers.score.shape == (0,)
    assert strangers.affine.shape == (0, 2, 3)


def test_a_pair_scores_the_same_whatever_else_is_in_its_batch(faces):
    place = np.arange(SLICE + 5)  # a slice that is not full
    query, other = place % 3, (place + place % 2) % 3  # copies and strangers
    rng = np.random.default_rng(0)
    affine = (np.eye(2, 3) + rng.uniform(-0.03, 0.03, (len(query), 2, 3))).astype(np.float32)
    whole = verify_batch(PairBatch(faces[query], faces[other], affine))
    alone = [
        verify_batch(PairBatch(faces[query[k : k + 1]], faces[other[k : k + 1]], affine[k : k + 1]))
        for k in whole.place
    ]
    assert 0 < len(whole.place) < len(query)
    assert whole.score.tolist() == [float(one.score[0]) for one in alone]
    assert whole.affine.tolist() == [one.affine[0].tolist() for one in alone]


@pytest.mark.parametrize(
    ("mirrored", "affine", "words"),
    [
        (False, [[1, 0, 0], [0, 1, 0]], "none"),
        (True, [[1, 0, 0.1], [0, 1, 0]], "mirror shift 2.4 0.0"),
        (False, [[1.05, 0, 0], [0, 1.05, 0]], "zoom 1.050"),
        (False, [[1.05, 0, 0], [0, 1, 0]], "zoom 1.050 1.000"),
        (False, [[0, 1, 0], [-1, 0, 0]], "angle 90.0"),
    ],
)
def test_the_words_of_a_transform(mirrored, affine, words):
    assert describe_affine(mirrored, np.array(affine)) == words
