"""Scores of a classifier, by scikit-learn's definitions, with what each of them hides.

Averages over classes run over the classes that occur among the labels; a prediction of any other class is simply wrong.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from train.data.images import Rows

# A probability below this counts as this much in the loss: one certain mistake must not make the mean infinite.
LEAST_PROBABILITY = 1e-7


def score_predictions(targets: Rows, probs: npt.NDArray[np.float64]) -> dict[str, Any]:
    """The headline numbers; each is the mean of something and hides its spread.

    - accuracy: share of rows predicted right. Hides small classes: always saying `happy` scores 25 % on FER2013.
    - balanced_accuracy: mean recall of the classes. Hides how often a rare class is cried wrongly (precision).
    - macro_f1: mean F1 of the classes. Hides the class sizes: 55 rows of disgust weigh as much as 879 of happy.
    - weighted_f1: mean F1 weighted by class size. Hides what accuracy hides.
    - loss: mean negative log-probability of the label, nats. Hides the decision: it judges confidence.

    Parameters
    ----------
    targets : (N,) class indices, N >= 1
    probs : (N, K); the prediction is the largest, the first one on a tie

    Returns
    -------
    rows, and the scores above (all but the loss in [0, 1])
    """
    predicted = probs.argmax(axis=1)
    present = np.unique(targets)
    _, recall, f1, support = precision_recall_fscore_support(
        targets, predicted, labels=present, zero_division=0
    )
    believed = probs[np.arange(len(targets)), targets]
    return {
        "rows": len(targets),
        "accuracy": float(np.mean(predicted == targets)),
        "balanced_accuracy": float(np.mean(recall)),
        "macro_f1": float(np.mean(f1)),
        "weighted_f1": float(np.average(f1, weights=support)),
        "loss": float(-np.log(np.maximum(believed, LEAST_PROBABILITY)).mean()),
    }


def score_classes(targets: Rows, predicted: Rows, classes: Sequence[str]) -> pd.DataFrame:
    """One row per class: precision, recall, F1 in [0, 1] and support in rows.

    A class that is never predicted has precision 0, one that never occurs has recall 0; F1 hides which of the two is low.
    """
    columns = precision_recall_fscore_support(
        targets, predicted, labels=range(len(classes)), zero_division=0
    )
    table = pd.DataFrame(dict(zip(("precision", "recall", "f1", "support"), columns, strict=True)))
    table.insert(0, "class", list(classes))
    return table


def count_confusions(targets: Rows, predicted: Rows, classes: Sequence[str]) -> pd.DataFrame:
    """(K, K) rows: labels down, predictions across. It shows where mistakes go, not how sure the model was of them."""
    counts = confusion_matrix(targets, predicted, labels=range(len(classes)))
    return pd.DataFrame(counts, index=pd.Index(list(classes), name="label"), columns=list(classes))


def find_best(history: Sequence[Mapping[str, float]], monitor: str) -> int:
    """The epoch, counted from 1, with the best score of val; the first one on a tie, never one that is no number."""
    values = [
        epoch["val_accuracy"] if monitor == "accuracy" else -epoch["val_loss"] for epoch in history
    ]
    return int(np.nan_to_num(values, nan=-np.inf).argmax()) + 1


def format_percent(share: float) -> str:
    """0.652 -> "65.2 %"."""
    return f"{100 * share:.1f} %"


def format_spread(shares: Sequence[float]) -> str:
    """Mean and sample standard deviation over runs, in percent: [0.64, 0.66] -> "65.0 % ± 1.4 (64.0 to 66.0)"."""
    values = 100 * np.asarray(shares, float)
    return f"{values.mean():.1f} % ± {values.std(ddof=1):.1f} ({values.min():.1f} to {values.max():.1f})"


def format_interval(bounds: Sequence[float]) -> str:
    """[0.638, 0.661] -> "[63.8, 66.1]", percent or points."""
    return f"[{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]"


def format_classes(table: pd.DataFrame) -> str:
    """The per-class table for a terminal, in percent."""
    lines = [f"{'class':<10}{'precision':>11}{'recall':>9}{'F1':>8}{'rows':>9}"]
    for row in table.itertuples(index=False):
        name, precision, recall, f1, support = row
        lines.append(
            f"{name:<10}{100 * precision:>11.1f}{100 * recall:>9.1f}{100 * f1:>8.1f}{support:>9,}"
        )
    return "\n".join(lines)
