"""Scores of a classifier, by scikit-learn's definitions, with what each of them hides.

Input: (N,) class indices and (N, K) probabilities or (N,) predictions. Averages over classes use
the classes that occur among the labels; a prediction of any other class is simply wrong.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from train.data.dataset import Rows

Probs = npt.NDArray[np.float64]
# Lower bound of a probability in the loss: one certain mistake cannot make the mean infinite.
MIN_PROBABILITY = 1e-7


def score_predictions(targets: Rows, probs: Probs) -> dict[str, Any]:
    """The headline scores; each is a mean and hides the spread behind it.

    - accuracy: share of rows predicted right. Hides small classes: a model that always predicts
      `happy` has 25 % on FER2013.
    - balanced_accuracy: mean recall of the classes. Hides how often the model predicts a rare class
      wrongly (precision).
    - macro_f1: mean F1 of the classes. Hides the class sizes: 55 rows of disgust weigh as much as
      879 of happy.
    - weighted_f1: mean F1 weighted by class size. Hides what accuracy hides.
    - loss: mean negative log-probability of the label, nats. Hides the decision: it measures
      confidence.

    Parameters
    ----------
    targets : (N,) class indices, N >= 1
    probs : (N, K); the predicted class has the largest, the first one on a tie

    Returns
    -------
    rows, and the scores above (all but the loss in [0, 1])
    """
    predicted = probs.argmax(axis=1)
    present = np.unique(targets)
    _, recall, f1, support = precision_recall_fscore_support(
        targets, predicted, labels=present, zero_division=0
    )
    label_probs = probs[np.arange(len(targets)), targets]
    return {
        "rows": len(targets),
        "accuracy": float(np.mean(predicted == targets)),
        "balanced_accuracy": float(np.mean(recall)),
        "macro_f1": float(np.mean(f1)),
        "weighted_f1": float(np.average(f1, weights=support)),
        "loss": float(-np.log(np.maximum(label_probs, MIN_PROBABILITY)).mean()),
    }


def score_classes(targets: Rows, predicted: Rows, classes: Sequence[str]) -> pd.DataFrame:
    """One row per class: precision, recall, F1 in [0, 1] and support in rows.

    A class that is never predicted has precision 0; a class that never occurs has recall 0. F1
    hides which of the two is low.
    """
    columns = precision_recall_fscore_support(
        targets, predicted, labels=range(len(classes)), zero_division=0
    )
    table = pd.DataFrame(dict(zip(("precision", "recall", "f1", "support"), columns, strict=True)))
    table.insert(0, "class", list(classes))
    return table


def count_confusions(targets: Rows, predicted: Rows, classes: Sequence[str]) -> pd.DataFrame:
    """The confusion matrix, (K, K) counts of rows: labels down, predictions across.

    It shows which classes are confused, not how confident the model was.
    """
    counts = confusion_matrix(targets, predicted, labels=range(len(classes)))
    return pd.DataFrame(counts, index=pd.Index(list(classes), name="label"), columns=list(classes))


def find_best(history: Sequence[Mapping[str, float]], monitor: str) -> int:
    """The epoch, counted from 1, with the best score of val.

    The first one on a tie; a score of NaN never wins.

    Parameters
    ----------
    monitor : accuracy (the highest val_accuracy) or loss (the lowest val_loss)
    """
    sign = 1 if monitor == "accuracy" else -1
    values = [sign * epoch[f"val_{monitor}"] for epoch in history]
    return int(np.nan_to_num(values, nan=-np.inf).argmax()) + 1


def format_percent(share: float) -> str:
    """0.652 -> "65.2 %"."""
    return f"{100 * share:.1f} %"


def format_spread(shares: Sequence[float]) -> str:
    """Mean, sample standard deviation and range over runs, in percent.

    [0.64, 0.66] -> "65.0 % ± 1.4 (64.0 to 66.0)"
    """
    values = 100 * np.asarray(shares, float)
    spread = f"{values.std(ddof=1):.1f} ({values.min():.1f} to {values.max():.1f})"
    return f"{values.mean():.1f} % ± {spread}"


def format_interval(bounds: Sequence[float]) -> str:
    """[0.638, 0.661] -> "[63.8, 66.1]", percent or points."""
    return f"[{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]"


def format_classes(table: pd.DataFrame) -> str:
    """The per-class table for a terminal, in percent."""
    lines = [f"{'class':<10}{'precision':>11}{'recall':>9}{'F1':>8}{'rows':>9}"]
    for name, precision, recall, f1, support in table.itertuples(index=False):
        scores = f"{100 * precision:>11.1f}{100 * recall:>9.1f}{100 * f1:>8.1f}"
        lines.append(f"{name:<10}{scores}{support:>9,}")
    return "\n".join(lines)
