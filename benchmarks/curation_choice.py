"""Row (h) of `curation_pays.py`: each row scored on val, where no copy of train is.

In: the predictions of val in FOLDER/scores, and the posteriors of the states. Out: the mean over
the seeds of each row, by its number of keys. Scores by a posterior are kept beside the predictions,
because the posteriors are not.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.workspace.predictions import PREFIX, class_names

VAL_SCORES = "val-by-posterior.csv"  # in FOLDER/scores


def score_rows(
    folder: Path, split: str, rows: Mapping[str, Sequence[Any]]
) -> dict[int, dict[str, float]]:
    """Number of keys -> row -> its mean score of val; NaN if one is not known.

    Without keys val has the given labels; with keys a row is judged by the share of val that its
    predictions have right by the posterior of those keys. Row (a) is no candidate: copies of val
    are in its train.
    """
    by_keys: dict[int, dict[str, float]] = defaultdict(dict)
    known = read_val_scores(folder)
    for row, lines in ((row, lines) for row, lines in rows.items() if row != "a"):
        keys = count_keys(row)
        values = [score_val(folder, split, line, keys, known) for line in lines]
        by_keys[keys][row] = float(np.mean(values))
    write_val_scores(folder, known)
    return by_keys


def count_keys(row: str) -> int:
    """How many images a person judged for a row of a split."""
    match = re.fullmatch(r"(?:d|e-posterior|h-\w+)-(\d+)", row)
    return int(match[1]) if match else 0


def score_val(folder: Path, split: str, line: Any, keys: int, known: dict[str, float]) -> float:
    """The score of val by which (h) is chosen; NaN if it is not known.

    Parameters
    ----------
    known : job -> such a score by a posterior; a new one is added, as its workspace may be gone
        when the tables are written next
    """
    if not keys:
        return float(line["result"]["val"]["official"]["accuracy"])
    if line["job"] not in known:
        posterior = folder / f"{split}-random-{keys}" / "predictions" / "posterior.csv"
        if not posterior.is_file():
            return float("nan")
        known[line["job"]] = score_by_posterior(folder, line, posterior)
    return known[line["job"]]


def score_by_posterior(folder: Path, line: Any, posterior: Path) -> float:
    """The mean probability by a posterior of what the row predicts of val."""
    file = folder / "scores" / f"{line['job'].replace('/', '-')}-val.csv"
    predicted = pd.read_csv(file, keep_default_na=False).set_index("path")["predicted"]
    table = pd.read_csv(posterior).set_index("path").reindex(predicted.index)
    names = class_names(table)
    column = predicted.map({name: k for k, name in enumerate(names)}).to_numpy()
    probs = table[[PREFIX + name for name in names]].to_numpy()
    return float(probs[np.arange(len(probs)), column].mean())


def read_val_scores(folder: Path) -> dict[str, float]:
    """Job -> its score of val by a posterior, as far as one is known."""
    file = folder / "scores" / VAL_SCORES
    if not file.is_file():
        return {}
    table = pd.read_csv(file)
    return dict(zip(table["job"], table["score"], strict=True))


def write_val_scores(folder: Path, known: Mapping[str, float]) -> None:
    table = pd.DataFrame(sorted(known.items()), columns=["job", "score"])
    table.to_csv(folder / "scores" / VAL_SCORES, index=False)
