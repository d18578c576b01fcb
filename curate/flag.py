"""flag: out-of-fold predictions -> how far the model doubts each given label.

Reads any predictions table. Several models are averaged score by score. The ranking uses one of the documented scores; the
suggestion is the class of this manifest that the averaged model believes most, where that is not the given label.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.errors import PredictionsError
from curate.predictions import PREFIX, class_names, read_predictions
from curate.receipts import StageResult

READS = ("given_label", "fold")

Labels = npt.NDArray[np.integer]
Probs = npt.NDArray[np.float64]


def self_confidence(labels: Labels, probs: Probs) -> Probs:
    """How much the model believes each given label.

    Parameters
    ----------
    labels : (N,) class index of the given label
    probs : (N, K) out-of-fold probabilities; each row sums to 1

    Returns
    -------
    (N,) float in [0, 1]; lower means the label is more suspect

    References
    ----------
    Northcutt et al., Confident Learning, JAIR 2021, section 3
    """
    believed: Probs = probs[np.arange(len(labels)), labels]
    return believed


def margin(labels: Labels, probs: Probs) -> Probs:
    """How much more the model believes the given label than the best other class.

    Returns
    -------
    (N,) float in [-1, 1]; lower means the label is more suspect

    References
    ----------
    Northcutt et al., Confident Learning, JAIR 2021, section 3 (normalized margin, there mapped to [0, 1])
    """
    others = probs.copy()
    others[np.arange(len(labels)), labels] = -1
    believed: Probs = self_confidence(labels, probs) - others.max(axis=1)
    return believed


SCORES: Mapping[str, Callable[[Labels, Probs], Probs]] = {"margin": margin, "self_confidence": self_confidence}


def flag_tables(manifest: pd.DataFrame, files: Sequence[Path], score: str) -> StageResult:
    """`flag` on predictions files, each checked against the manifest."""
    return flag(manifest, [read_predictions(file, manifest) for file in files], score)


def flag(manifest: pd.DataFrame, predictions: Sequence[pd.DataFrame], score: str = "margin") -> StageResult:
    """Rank every predicted row, most suspect first.

    Parameters
    ----------
    predictions : tables of `read_predictions`, one a model, all of the folded rows in their order
    score : a name of `SCORES`; ties are broken by the path

    Raises
    ------
    PredictionsError  if there is no table, or the tables hold different classes
    """
    classes = [name for name in _common_classes(predictions) if name in set(manifest["given_label"])]
    folded = manifest[manifest["fold"] != ""]
    labels = folded["given_label"].map({name: k for k, name in enumerate(classes)}).to_numpy(dtype=np.int64)
    tables = [table[[PREFIX + name for name in classes]].to_numpy(dtype=np.float64) for table in predictions]
    suspicion = np.mean([SCORES[score](labels, probs) for probs in tables], axis=0).round(9)
    mean = np.mean(tables, axis=0)
    best = mean.argmax(axis=1)
    rank = np.empty(len(folded), np.int64)
    rank[np.argsort(suspicion, kind="stable")] = np.arange(1, len(folded) + 1)
    suggested = np.where(best == labels, "", np.array(classes)[best])
    own = {
        "self_confidence": [f"{value:.6f}" for value in self_confidence(labels, mean)],
        "issue_rank": rank.astype(str),
        "suggested_label": suggested,
    }
    columns = pd.DataFrame(own, index=folded.index, dtype=str).reindex(manifest.index, fill_value="")
    count = int((suggested != "").sum())
    story = (
        f"flag: {len(folded):,} rows ranked by {score} over {len(tables)} model{'s' * (len(tables) > 1)}; another label is "
        f"suggested for {count:,} ({100 * count / max(len(folded), 1):.1f} %)"
    )
    return StageResult(story, columns, counts={"ranked": len(folded), "suggested": count})


def _common_classes(predictions: Sequence[pd.DataFrame]) -> list[str]:
    if not predictions:
        raise PredictionsError("predictions: none found: run `train oof`, or name a file with --predictions")
    lists = [class_names(table) for table in predictions]
    if any(names != lists[0] for names in lists):
        raise PredictionsError(
            f"predictions: the tables hold different classes ({lists[0]} and others): use models of one class list"
        )
    return lists[0]
