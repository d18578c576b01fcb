"""Drawn faces: the same arguments, the same pixels; every argument shows."""

import subprocess
import sys

import numpy as np
import pytest

from curate.demo.drawing import draw_face
from curate.demo.people import ACTIONS, EXPRESSIONS, NEIGHBOURS, RECIPES


def correlate(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_same_arguments_draw_the_same_face(expression: str) -> None:
    first = draw_face(expression, 5, 9)
    draw_face("happy", 1, 1)  # nothing is carried over from another call
    np.testing.assert_array_equal(first, draw_face(expression, 5, 9))
    assert (first.shape, first.dtype) == ((48, 48), np.uint8)


def test_a_face_is_drawn_at_any_size() -> None:
    large = draw_face("sad", 5, 9, size=96)
    assert large.shape == (96, 96)
    halved = large.reshape(48, 2, 48, 2).mean(axis=(1, 3))
    assert correlate(halved, draw_face("sad", 5, 9)) > 0.95


def test_expression_person_photograph_and_intensity_each_change_the_face() -> None:
    face = draw_face("fear", 5, 9, intensity=1.0)
    others = [
        draw_face("happy", 5, 9, intensity=1.0),
        draw_face("fear", 6, 9, intensity=1.0),
        draw_face("fear", 5, 10, intensity=1.0),
        draw_face("fear", 5, 9, intensity=0.0),
    ]
    assert all((other != face).any() for other in others)


def test_expressions_meet_at_intensity_zero() -> None:
    faces = [draw_face(expression, 5, 9, intensity=0.0) for expression in EXPRESSIONS]
    assert all((face == faces[0]).all() for face in faces)


def test_two_people_in_the_same_light_are_not_copies() -> None:
    faces = [draw_face("neutral", person, 9).astype(float) for person in range(20)]
    alike = [correlate(faces[i], faces[j]) for i in range(20) for j in range(i)]
    assert max(alike) < 0.98
    assert np.median(alike) < 0.8


def test_every_expression_has_two_recipes_and_a_neighbour() -> None:
    assert tuple(sorted(EXPRESSIONS)) == EXPRESSIONS
    assert tuple(RECIPES) == EXPRESSIONS
    assert set(NEIGHBOURS) == set(EXPRESSIONS)
    assert {np.shape(recipe) for recipe in RECIPES.values()} == {(2, len(ACTIONS))}


def test_drawing_needs_neither_tables_nor_picture_files() -> None:
    code = "import sys, curate.demo.drawing; print({'pandas', 'PIL', 'tqdm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
