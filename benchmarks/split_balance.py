"""Sizes and class shares of `curate split`, against scikit-learn's StratifiedGroupKFold.

    python benchmarks/split_balance.py

Both split to the same ratios. Rows have FER2013's class shares; groups are single rows, copies,
sequences, or subjects who show every expression.
"""

import numpy as np
from results import RESULTS, describe_machine, replace_section, to_table
from sklearn.model_selection import StratifiedGroupKFold

from curate.stages.stratify import assign_parts

SHARES = np.array((4953, 547, 5121, 8989, 6198, 6077, 4002)) / 35887  # FER2013's classes
RATIOS = (0.7, 0.15, 0.15)
KINDS = {
    "single rows": (1, 2, 0.9),
    "copies": (1, 4, 0.9),
    "sequences": (3, 12, 0.5),
    "subjects": (8, 40, 0.3),
}
SEEDS = 10
ROWS = 3000


def draw_rows(seed: int, low: int, high: int, purity: float) -> tuple[np.ndarray, np.ndarray]:
    """(ROWS,) class and group of each row.

    A group has `low` to `high` - 1 rows; a row has its group's class with probability `purity`.
    """
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(ROWS), rng.integers(low, high, ROWS))[:ROWS]
    class_of_group = rng.choice(7, groups.max() + 1, p=SHARES)
    is_pure = rng.random(ROWS) < purity
    return np.where(is_pure, class_of_group[groups], rng.choice(7, ROWS, p=SHARES)), groups


def measure(labels: np.ndarray, part: np.ndarray) -> tuple[float, float]:
    """Largest error of a size (points of all rows) and of a class share (points of the part)."""
    size = max(abs(np.mean(part == k) - ratio) for k, ratio in enumerate(RATIOS))
    whole = np.bincount(labels, minlength=7) / len(labels)
    errors = []
    for k in range(3):
        inside = labels[part == k]
        errors.append(np.abs(np.bincount(inside, minlength=7) / len(inside) - whole).max())
    return 100 * size, 100 * max(errors)


def split_by_library(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Twenty folds, 14 to train, 3 to val, 3 to test."""
    folds = np.empty(len(labels), int)
    splitter = StratifiedGroupKFold(20, shuffle=True, random_state=seed)
    for k, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        folds[held_out] = k
    return np.digitize(folds, [14, 17])


def main() -> None:
    rows = []
    for kind, (low, high, purity) in KINDS.items():
        errors = {"curate split": [], "StratifiedGroupKFold(20)": []}
        for seed in range(SEEDS):
            labels, groups = draw_rows(seed, low, high, purity)
            ours = assign_parts(labels, groups, RATIOS, seed)
            theirs = split_by_library(labels, groups, seed)
            errors["curate split"].append(measure(labels, ours))
            errors["StratifiedGroupKFold(20)"].append(measure(labels, theirs))
        for method, found in errors.items():
            size, share = np.max(found, axis=0)
            rows.append([kind, method, f"{size:.2f}", f"{share:.2f}"])
    largest = ["largest error of a size (points)", "largest error of a class share (points)"]
    table = to_table(["groups", "method", *largest], rows)
    body = (
        f"Measured by `python benchmarks/split_balance.py`: {ROWS:,} rows, 70/15/15, the worst of "
        f"{SEEDS} seeds; {describe_machine()}."
    )
    replace_section(RESULTS, "split", f"## Balance of the split\n\n{body}\n\n{table}")
    print(table)


if __name__ == "__main__":
    main()
