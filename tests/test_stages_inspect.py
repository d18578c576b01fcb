"""inspect: what counts as an image without a face."""

import numpy as np
import pytest

from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from curate.images.decode import encode_png, pixel_hash
from curate.images.hog import find_components
from curate.images.levels import BLACK_AND_WHITE_SHARE, judge_grey
from curate.images.likeness import Squares, describe_faces, find_unlike


def shades(counts: dict[int, int]) -> np.ndarray:
    """A picture with that many pixels of each level."""
    return np.concatenate([np.full(n, level, np.uint8) for level, n in counts.items()]).reshape(
        1, -1
    )


@pytest.mark.parametrize(
    ("pixels", "finding"),
    [
        (shades({0: 100}), "blank"),
        (shades({100: 50, 109: 50}), "blank"),  # standard deviation 4.5
        (shades({100: 50, 110: 50}), "low_information"),  # standard deviation 5: no longer blank
        (shades({0: 50, 255: 50}), "black_and_white"),
        (shades({10: 50, 245: 50}), "black_and_white"),
        (shades({11: 50, 244: 50}), "low_information"),
        (shades({k * 11: 10 for k in range(23)}), ""),  # 23 levels: 4.52 bits
        (shades({k * 11: 10 for k in range(22)}), "low_information"),  # 22 levels: 4.46 bits
    ],
)
def test_each_bound_holds_at_the_bound_and_beside_it(pixels, finding):
    assert judge_grey(pixels) == finding


def test_the_share_of_black_and_white_is_exclusive():
    grey = {40 + k: 1 for k in range(25)}
    assert judge_grey(shades({0: 40, 255: 35} | grey)) != "black_and_white"
    assert judge_grey(shades({0: 40, 255: 36} | grey)) == "black_and_white"
    assert BLACK_AND_WHITE_SHARE == 75 / 100


def test_no_drawn_face_is_called_empty():
    assert {judge_grey(draw_face(e, k, k)) for e in EXPRESSIONS for k in range(30)} == {""}


def test_a_photograph_whose_neighbours_differ_is_no_graphic():
    noisy = np.tile(np.array([0, 255], np.uint8), 50).reshape(1, -1)
    assert judge_grey(noisy) == ""
    assert judge_grey(np.sort(noisy)) == "black_and_white"


def test_what_has_nothing_of_a_face_is_found_among_many_faces(tmp_path):
    rng = np.random.default_rng(0)
    sign = np.full((48, 48), 200, np.uint8)
    sign[14:34, 6:42] = 90
    sign[22:26, 12:36] = 220
    pictures = [draw_face(EXPRESSIONS[k % 7], k, k) for k in range(150)]
    noise = (rng.integers(0, 3, sign.shape) + np.arange(48) // 2).astype(
        np.uint8
    )  # as a photograph of the sign
    files = []
    for k, picture in enumerate([*pictures, sign + noise]):
        files.append((tmp_path / f"{k}.png", "", pixel_hash(picture)))
        files[-1][0].write_bytes(encode_png(picture))
    faces = np.stack([*pictures, sign + noise])
    basis = find_components(describe_faces(Squares(faces[:-1])), 8)[:2]
    assert find_unlike(Squares(faces, files), basis) == [False] * 150 + [True]


def test_a_dry_run_shows_a_sample(built, curate):
    result = curate("inspect", "-n", "-j", 1, "-w", built.root)
    assert result.stderr == "blank: tiny/train/angry/blank.png\n"
    assert result.stdout.startswith(
        "inspect: 47 rows, 1 found (0 unreadable, 1 blank, 0 black_and_white, 0 low_information, 0 "
        "unlike_faces)"
    )


def test_what_is_found_is_dropped_and_a_person_can_bring_it_back(built, curate):
    curate("inspect", "-j", 1, "-w", built.root)
    blank = built.read().set_index("path").loc["tiny/train/angry/blank.png"]
    assert (blank["quality"], blank["status"], blank["reason"]) == ("blank", "drop", "degenerate")
    curate("decide", "tiny/train/angry/blank.png", "--keep", "-w", built.root)
    curate("inspect", "-j", 1, "-w", built.root)
    blank = built.read().set_index("path").loc["tiny/train/angry/blank.png"]
    assert (blank["quality"], blank["status"], blank["reason"]) == ("blank", "keep", "human")
