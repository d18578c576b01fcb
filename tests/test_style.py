"""The style of curate/ and train/ in numbers, each with its bound."""

from pathlib import Path

import pytest
from style import VERBS, Style, measure_style

import curate

ROOT = Path(curate.__file__).parent.parent
# Verbs for people, not for code: at most this often per 1,000 words of docstrings and comments.
MOST_VERBS = 0.1
MOST_LONG_LINES = 2.0  # percent
MOST_COMPLEXITY = 12
MOST_PARAMETERS = 8


@pytest.fixture(scope="module")
def style() -> Style:
    return measure_style([ROOT / "curate", ROOT / "train"])


def test_few_lines_are_longer_than_a_hundred_characters(style: Style) -> None:
    assert style.long_lines < MOST_LONG_LINES


def test_no_function_has_too_many_decisions(style: Style) -> None:
    over = [f"{f.place}: {f.complexity}" for f in style.functions if f.complexity > MOST_COMPLEXITY]
    assert over == []


def test_no_function_but_a_command_has_too_many_parameters(style: Style) -> None:
    plain = [function for function in style.functions if not function.is_command]
    over = [f"{f.place}: {f.parameters}" for f in plain if f.parameters > MOST_PARAMETERS]
    assert over == []


@pytest.mark.parametrize("verb", VERBS)
def test_docstrings_and_comments_use_verbs_of_code(style: Style, verb: str) -> None:
    assert style.verbs[verb] < MOST_VERBS


CODE = '''
def told(a, /, b, *, c):
    """It tells. A word."""
    assert a and b or c  # three decisions
    for x in [y for y in a if y]:  # three: the loop, the comprehension, its condition
        try:
            z = lambda: 1 if x else 2  # two
        except ValueError:  # one
            pass
'''


def test_the_measures_agree_with_a_count_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(CODE + "#" * 101 + "\n")
    style = measure_style([tmp_path])
    (function,) = style.functions
    assert (function.complexity, function.parameters, function.lines) == (10, 3, 7)
    assert style.verbs["tell"] == pytest.approx(1000 / 15)
    assert style.long_lines == pytest.approx(100 / 10)
    assert style.comprehensions == style.conditionals == pytest.approx(100 / 9)
    assert style.chained == 0
