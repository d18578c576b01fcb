"""How often random slices raise a false alarm, and how often a planted slice is found.

    python benchmarks/slices.py [DRAWS]

Nothing is trained: the predictions are simulated. Of 7,178 rows, as FER2013's val and test, each is
right with the accuracy of the table; random columns cut them into four slices each. Then 200 rows,
a slice of one more column, are right 10 points less often. Writes the section `slices` of
RESULTS.md.
"""

import sys

import numpy as np
import numpy.typing as npt
from results import RESULTS, describe_machine, replace_section, to_table

from train.evaluation.slices import Names, score_slices

ROWS = 7178
PLANTED = 200
WORSE = 0.10
CLASSES = 7
PARTS = np.array(["a", "b", "c", "d"], dtype=object)
ACCURACIES = (0.7, 0.8, 0.9)
COLUMNS = (1, 5)  # random columns of four slices


def main() -> None:
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    rows = []
    for accuracy in ACCURACIES:
        for columns in COLUMNS:
            random = np.random.default_rng(0)
            alarms = [draw_random(random, accuracy, columns) for _ in range(draws)]
            found = [draw_planted(random, accuracy, columns) for _ in range(draws)]
            worse, first = (np.mean(each) for each in zip(*found, strict=True))
            slices = 4 * columns
            shares = (f"{100 * share:.1f} %" for share in (np.mean(alarms), worse, first))
            rows.append([f"{100 * accuracy:.0f} %", slices, *shares])
            print(*rows[-1], flush=True)
    replace_section(RESULTS, "slices", format_section(rows, draws))


def draw_columns(random: np.random.Generator, columns: int) -> dict[str, Names]:
    """Name -> (ROWS,) one of four slices at random."""
    parts = random.integers(0, len(PARTS), (columns, ROWS))
    return {f"random {k}": PARTS[part] for k, part in enumerate(parts)}


def draw_right(random: np.random.Generator, accuracy: float, rows: int) -> npt.NDArray[np.bool_]:
    """(rows,) whether each is right."""
    return random.random(rows) < accuracy


def draw_random(random: np.random.Generator, accuracy: float, columns: int) -> bool:
    """Whether any of the random slices is called worse."""
    targets = random.integers(0, CLASSES, ROWS)
    right = draw_right(random, accuracy, ROWS)
    return bool(score_slices(right, targets, draw_columns(random, columns))["worse"].any())


def draw_planted(random: np.random.Generator, accuracy: float, columns: int) -> tuple[bool, bool]:
    """Whether the planted slice is called worse, and whether it is the first of the table."""
    targets = random.integers(0, CLASSES, ROWS)
    right = draw_right(random, accuracy, ROWS)
    names = np.full(ROWS, "other", dtype=object)
    planted = random.permutation(ROWS)[:PLANTED]
    names[planted] = "planted"
    right[planted] = draw_right(random, accuracy - WORSE, PLANTED)
    table = score_slices(right, targets, {**draw_columns(random, columns), "plant": names})
    row = table[table["slice"] == "planted"]
    return bool(row["worse"].item()), row.index[0] == 0


def format_section(rows: list[list[object]], draws: int) -> str:
    """The text of the section."""
    header = [
        "accuracy of the others", "random slices", "any false alarm", "planted slice called worse",
        "planted slice first",
    ]  # fmt: skip
    return (
        "## Slices\n\n"
        f"{ROWS:,} simulated predictions, {draws:,} draws of each kind. A draw without a planted "
        "slice has a false alarm if any slice is called worse; with one, "
        f"{PLANTED} rows are {100 * WORSE:.0f} points worse than the others, and two more slices "
        f"are tested. By chance alone the accuracy of {PLANTED} rows has a standard deviation of "
        f"{_measure_spread(min(ACCURACIES)):.1f} points at {100 * min(ACCURACIES):.0f} % and of "
        f"{_measure_spread(max(ACCURACIES)):.1f} at {100 * max(ACCURACIES):.0f} %.\n\n"
        f"{to_table(header, rows)}\n\n"
        f"`python benchmarks/slices.py {draws}`; {describe_machine()}"
    )


def _measure_spread(accuracy: float) -> float:
    """The standard deviation of the accuracy of the planted rows, in points."""
    return float(100 * np.sqrt(accuracy * (1 - accuracy) / PLANTED))


if __name__ == "__main__":
    main()
