"""inspect: masked faces are faces; drawings, texts and signs stay findings."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from curate.images.constant_areas import find_varying_part, has_sharp_edge
from curate.images.decode import encode_png, pixel_hash
from curate.images.hog import find_components
from curate.images.levels import _judge_levels, judge_grey
from curate.images.likeness import Squares, describe_faces, find_unlike

SIDE = 48
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE] - 23.5


def ellipse(width: float, height: float, x: float = 0, y: float = 0, turn: float = 0) -> np.ndarray:
    across = (COLUMNS - x) * np.cos(turn) + (ROWS - y) * np.sin(turn)
    along = (ROWS - y) * np.cos(turn) - (COLUMNS - x) * np.sin(turn)
    return (across / width) ** 2 + (along / height) ** 2 < 1


def box(width: float, height: float, x: float = 0, y: float = 0) -> np.ndarray:
    return (np.abs(COLUMNS - x) < width) & (np.abs(ROWS - y) < height)


MASKS = {
    "circle": ellipse(23.5, 23.5),
    "wide ellipse": ellipse(21, 23.5),
    "tight ellipse": ellipse(16, 23.5),
    "narrow ellipse": ellipse(14, 20.5),
    "ellipse aside": ellipse(15, 22, x=-3, y=2),
    "turned ellipse": ellipse(15, 21, turn=0.5),
    "narrow box": box(15, 15.5),
    "box aside": box(18, 20, x=-4, y=2),
    "wide box": box(21, 22),
    "lower half": ROWS > -2,
}


def draw_noisy(seed: int, size: int = SIDE) -> np.ndarray:
    """A drawn face with the noise of a photograph."""
    face = draw_face(EXPRESSIONS[seed % 7], seed, seed, size=size).astype(int)
    noise = np.random.default_rng(seed).normal(0, 4, face.shape)
    return np.clip(face + noise, 0, 255).astype(np.uint8)


FACES = [draw_noisy(seed) for seed in range(60)]


@pytest.mark.parametrize("level", [0, 127, 255])
@pytest.mark.parametrize("name", MASKS)
def test_a_masked_face_is_no_finding(name: str, level: int) -> None:
    mask = MASKS[name]
    assert 0.38 < mask.mean() <= 0.81
    findings = [judge_grey(np.where(mask, face, np.uint8(level))) for face in FACES]
    assert set(findings) == {""}


def test_these_masks_are_what_the_levels_alone_would_drop() -> None:
    masked = [np.where(MASKS["narrow box"], face, np.uint8(0)) for face in FACES]
    assert sum(map(bool, map(_judge_levels, masked))) > 40


@pytest.mark.parametrize("size", [32, 64, 120, 224])
def test_a_masked_face_of_another_size_is_no_finding(size: int) -> None:
    mask = cv2.resize(MASKS["narrow ellipse"].astype(np.uint8), (size, size), interpolation=0) > 0
    faces = [draw_noisy(seed, size) for seed in range(12)]
    assert {judge_grey(np.where(mask, face, np.uint8(0))) for face in faces} == {""}


def test_masks_of_several_colours_and_black_boxes_inside_a_face_are_no_finding() -> None:
    for face in FACES:
        masked = face.copy()
        masked[:, :10], masked[:, 38:] = 0, 255
        masked[18:26, 14:34] = 127
        assert judge_grey(masked) == ""


def draw_text() -> np.ndarray:
    page = np.full((SIDE, SIDE), 254, np.uint8)
    for row in (8, 18, 28, 38):
        cv2.putText(page, "moved or", (1, row), cv2.FONT_HERSHEY_SIMPLEX, 0.3, 40, 1, cv2.LINE_AA)
    return page


def draw_sign() -> np.ndarray:
    sign = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(sign, [np.array([[24, 8], [6, 42], [42, 42]])], 230, cv2.LINE_AA)
    cv2.fillPoly(sign, [np.array([[24, 15], [12, 39], [36, 39]])], 40, cv2.LINE_AA)
    cv2.line(sign, (24, 22), (24, 32), 230, 2, cv2.LINE_AA)
    return sign


def draw_dots() -> np.ndarray:
    dots = np.full((SIDE, SIDE), 200, np.uint8)
    dots[10:38, 4:44] = 130
    for x in (14, 24, 34):
        cv2.circle(dots, (x, 24), 3, 230, -1, cv2.LINE_AA)
    return dots


@pytest.mark.parametrize("draw", [draw_text, draw_sign, draw_dots])
@pytest.mark.parametrize("quality", [None, 95, 80])
def test_texts_signs_and_drawings_stay_findings(draw, quality: int | None) -> None:
    picture = draw()
    if quality:
        encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        picture = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
    before = _judge_levels(picture)
    assert before in ("black_and_white", "low_information", "")
    assert judge_grey(picture) == before


def test_a_constant_area_is_found_whatever_its_level_and_a_small_one_is_none() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(40, 200, (SIDE, SIDE)).astype(np.uint8)
    assert find_varying_part(noise).all()
    assert not has_sharp_edge(noise, find_varying_part(noise))
    noise[:8, :8] = 99  # 64 pixels, under 3 %
    assert find_varying_part(noise).all()
    noise[:8, :9] = 99  # 72 pixels
    part = find_varying_part(noise)
    assert not part[:8, :9].any()
    assert part[9:].all()
    assert has_sharp_edge(noise, part)


def test_a_few_masked_faces_among_many_are_not_unlike_faces(tmp_path: Path) -> None:
    whole = np.stack([draw_noisy(k) for k in range(150)])
    basis = find_components(describe_faces(Squares(whole)), 8)[:2]
    masked = [
        np.where(MASKS[name], face, np.uint8(0))
        for name in list(MASKS)[:-1]  # half a face is unlike faces
        for face in FACES[:20]
    ]
    pictures = []
    for k, picture in enumerate(masked):
        pictures.append((tmp_path / f"{k}.png", "", pixel_hash(picture)))
        pictures[-1][0].write_bytes(encode_png(picture))
    assert not any(find_unlike(Squares(np.stack(masked), pictures), basis))
