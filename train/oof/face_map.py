"""The map of the set that `curate report` draws: every predicted face as a point of the plane.

Comes in: the predictions tables of all models. Goes out: `map.csv` with path, x and y in [0, 1].

The features of a face are what the models that did not learn from it believe: the log-probabilities
of each model, less their mean. The penultimate features of two folds have no axis in common; their
last layers bring them to the classes, where they have. So faces near each other look alike to the
models, and a face among those of another class is suspect.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.workspace.predictions import PREFIX, class_names
from train.evaluation.layout import lay_out_many

FILE = "map.csv"
# Less than this is no information: one certain model cannot decide alone where a face is.
MIN_PROBABILITY = 1e-3


def map_faces(tables: Sequence[pd.DataFrame], seed: int) -> pd.DataFrame:
    """path, x, y of every row.

    Parameters
    ----------
    tables : predictions of one model each, of the same rows in the same order
    seed : of the drawn landmarks and of t-SNE
    """
    features = np.concatenate([_center_logs(table) for table in tables], axis=1)
    x, y = (np.char.mod("%.4f", values) for values in lay_out_many(features, seed).T)
    return pd.DataFrame({"path": tables[0]["path"], "x": x, "y": y}, dtype=str)


def _center_logs(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """(N, K) log-probabilities, each row with mean 0."""
    columns = [PREFIX + name for name in class_names(table)]
    probs = table[columns].to_numpy(dtype=np.float64)
    logs = np.log(np.maximum(probs, MIN_PROBABILITY))
    return np.asarray(logs - logs.mean(axis=1, keepdims=True), np.float64)
