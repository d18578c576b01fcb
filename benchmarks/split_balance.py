"""Sizes and class shares of `curate split`, against scikit-learn's StratifiedGroupKFold dealt out to the same ratios.

    python benchmarks/split_balance.py

Rows have FER2013's class shares; groups are single rows, copies, sequences, or subjects who show every expression.
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
    rng = np.random.default_rng(seed)
    units = np.repeat(np.arange(ROWS), rng.integers(low, high, ROWS))[:ROWS]
    of_unit = rng.choice(7, units.max() + 1, p=SHARES)
    return np.where(rng.random(ROWS) < purity, of_unit[units], rng.choice(7, ROWS, p=SHARES)), units


def measure(labels: np.ndarray, part: np.ndarray) -> tuple[float, float]:
    """Largest error of a size (points of all rows) and of a class share (points of the part)."""
    size = max(abs(np.mean(part == k) - ratio) for k, ratio in enumerate(RATIOS))
    whole = np.bincount(labels, minlength=7) / len(labels)
    share = max(
        np.abs(np.bincount(labels[part == k], minlength=7) / (part == k).sum() - whole).max()
        for k in range(3)
    )
    return 100 * size, 100 * share


def split_by_library(labels: np.ndarray, units: np.ndarray, seed: int) -> np.ndarray:
    """Twenty folds, 14 to train, 3 to val, 3 to test."""
    folds = np.empty(len(labels), int)
    splitter = StratifiedGroupKFold(20, shuffle=True, random_state=seed)
    for k, (_, held_out) in enumerate(splitter.split(labels, labels, units)):
        folds[held_out] = k
    return np.digitize(folds, [14, 17])


def main() -> None:
    rows = []
    for kind, (low, high, purity) in KINDS.items():
        errors = {"curate split": [], "StratifiedGroupKFold(20)": []}
        for seed in range(SEEDS):
            labels, units = draw_rows(seed, low, high, purity)
            errors["curate split"].append(
                measure(labels, assign_parts(labels, units, RATIOS, seed))
            )
            errors["StratifiedGroupKFold(20)"].append(
                measure(labels, split_by_library(labels, units, seed))
            )
        for method, found in errors.items():
            size, share = np.max(found, axis=0)
            rows.append([kind, method, f"{size:.2f}", f"{share:.2f}"])
    header = [
        "groups",
        "method",
        "largest error of a size (points)",
        "largest error of a class share (points)",
    ]
    body = (
        f"Measured by `python benchmarks/split_balance.py`: {ROWS:,} rows, 70/15/15, the worst of {SEEDS} seeds; "
        f"{describe_machine()}."
    )
    replace_section(
        RESULTS, "split", f"## Balance of the split\n\n{body}\n\n{to_table(header, rows)}"
    )
    print(to_table(header, rows))


if __name__ == "__main__":
    main()
