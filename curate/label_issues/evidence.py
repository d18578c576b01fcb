"""The rows of a manifest and the tables of models as evidence and verdicts of label issues.

In: folded rows, tables of predictions. Out: `Evidence` for the scores, and the `Verdicts` of people
and the crowd, both by class index.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.errors import PredictionsError
from curate.label_issues.error_model import collect_verdicts, name_verdicts
from curate.label_issues.posterior import NO_VERDICT
from curate.label_issues.scores import Evidence, Labels, Probs
from curate.labels import VOCABULARY
from curate.workspace.predictions import MARGIN_AUC, PREFIX, class_names


@dataclass(frozen=True)
class Verdicts:
    """What people and the crowd gave N rows.

    Attributes
    ----------
    is_wrong : (N,) 1 where the given label is wrong, 0 where right, NaN without a verdict
    classes : (N,) class index of the verdict; K for a class that the data set does not have;
        `NO_VERDICT` for none
    """

    is_wrong: Probs
    classes: Labels

    @classmethod
    def of(cls, folded: pd.DataFrame, classes: Sequence[str]) -> "Verdicts":
        """The verdicts on the folded rows."""
        index_of = {"": NO_VERDICT, **{name: k for k, name in enumerate(classes)}}
        named = name_verdicts(folded)
        numbers = [index_of.get(name, len(classes)) for name in named]
        return cls(collect_verdicts(folded), np.array(numbers, np.int64))

    def leave_out(self, rows: npt.NDArray[np.bool_]) -> "Verdicts":
        """Without the verdicts on the rows."""
        return Verdicts(
            np.where(rows, np.nan, self.is_wrong), np.where(rows, NO_VERDICT, self.classes)
        )


def gather_evidence(
    folded: pd.DataFrame, predictions: Sequence[pd.DataFrame], classes: Sequence[str]
) -> Evidence:
    """What predictions and duplicate groups show about the folded rows.

    Parameters
    ----------
    predictions : tables of the folded rows in their order
    classes : the K classes, in the order of the probabilities
    """
    index_of = {name: k for k, name in enumerate(classes)}
    labels = folded["given_label"].map(index_of).to_numpy(dtype=np.int64)
    probs = tuple(_select_classes(classes, table) for table in predictions)
    group = folded["duplicate_group"].where(folded["duplicate_group"] != "", folded["path"])
    groups, _ = pd.factorize(group)
    tables = [table for table in predictions if MARGIN_AUC in table]
    dynamics = [pd.to_numeric(table[MARGIN_AUC], errors="coerce").to_numpy() for table in tables]
    # The mean over the models that learned from the row; NaN if none did.
    margin_auc = pd.DataFrame(dynamics, columns=folded.index, dtype=np.float64).mean(axis=0)
    return Evidence(labels, probs, groups.astype(np.int64), margin_auc.to_numpy())


def _select_classes(classes: Sequence[str], table: pd.DataFrame) -> Probs:
    """(N, K) the probabilities of these classes.

    If the model predicts further classes, each row is divided by its sum; a row of zeros becomes
    equal shares.
    """
    probs: Probs = table[[PREFIX + name for name in classes]].to_numpy(dtype=np.float64)
    if len(classes) == len(class_names(table)):
        return probs
    total = probs.sum(axis=1, keepdims=True)
    equal = np.full_like(probs, 1 / len(classes))
    shares: Probs = np.divide(probs, total, out=equal, where=total > 0)
    return shares


def common_classes(
    predictions: Sequence[pd.DataFrame], independent: Mapping[str, pd.DataFrame]
) -> list[str]:
    """The classes of all tables; PredictionsError if they differ or there is no table.

    Independent models alone are about every class.
    """
    if independent and not predictions:
        return list(VOCABULARY)
    if not predictions:
        raise PredictionsError(
            "predictions: none found: run `train oof`, or name a file with --predictions"
        )
    lists = [class_names(table) for table in predictions]
    other = [names for names in lists if set(names) != set(lists[0])]
    if other:
        raise PredictionsError(
            f"predictions: one table holds the classes {', '.join(lists[0])}, another one "
            f"{', '.join(other[0])}: use models of one class list"
        )
    return lists[0]
