"""What the loss aims at and how it is weighed: class weights, and soft labels from the crowd's votes.

The loss of a batch is the sum over its rows of weight * cross-entropy, divided by the number of rows; with balanced
weights the mean weight of a row is 1.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.class_weights import Scheme, weigh_classes
from curate.errors import ManifestError, UsageError, WorkspaceError
from curate.labels import ClassView
from curate.workspace.votes import share_votes, votes_of
from train.data.images import Rows
from train.recipes.recipe import SCHEMES

# What `--class-weights` alone stands for: the table of `curate weights`.
OF_WORKSPACE = "workspace"
MOST_WEIGHT = 1e6


def choose_class_weights(
    asked: str, of_workspace: Path, counts: Mapping[str, int]
) -> dict[str, float] | None:
    """Class -> weight, or None for none.

    Parameters
    ----------
    asked : none, balanced, sqrt, effective (counted on the rows of split train), workspace, or a file
    of_workspace : class_weights.csv of `curate weights`
    counts : class -> rows of split train

    Raises
    ------
    UsageError  if it is neither a scheme nor a file
    WorkspaceError  if the table does not fit the rows
    """
    if asked == "none":
        return None
    if asked in SCHEMES:
        scheme: Scheme = asked  # type: ignore[assignment]  # none is gone
        weights = weigh_classes(np.array(list(counts.values()), np.int64), scheme)
        return {name: round(float(weight), 6) for name, weight in zip(counts, weights, strict=True)}
    if asked == OF_WORKSPACE:
        return read_class_weights(of_workspace, counts, is_counted=True)
    if not Path(asked).is_file():
        raise UsageError(
            f"--class-weights {asked}: must be one of {', '.join(SCHEMES)}, or a file that is there"
        )
    return read_class_weights(Path(asked), counts, is_counted=False)


def find_weights_file(asked: str, of_workspace: Path) -> Path | None:
    """The table that `asked` names, or None where it names none."""
    if asked in SCHEMES:
        return None
    return of_workspace if asked == OF_WORKSPACE else Path(asked)


def read_class_weights(
    file: Path, counts: Mapping[str, int], *, is_counted: bool
) -> dict[str, float]:
    """The weights of a table of class and weight; with `is_counted` its column count must be that of the rows."""
    if not file.is_file():
        raise WorkspaceError(f"{file}: there are no class weights here: run `curate weights` first")
    try:
        table = pd.read_csv(
            file, dtype={"class": str, "count": int, "weight": float}, keep_default_na=False
        )
        weights = dict(zip(table["class"], table["weight"], strict=True))
        counted = (
            dict(zip(table["class"], table["count"], strict=True)) if is_counted else dict(counts)
        )
    except OSError as error:
        raise WorkspaceError(
            f"{file}: cannot be opened ({error.strerror}): make it readable"
        ) from error
    except (ValueError, KeyError) as error:
        raise WorkspaceError(
            f"{file}: no table of class, count, weight: run `curate weights` again"
        ) from error
    if counted != dict(counts):
        raise WorkspaceError(
            f"{file}: the weights are for {format_counts(counted)}, but the rows of split train are {format_counts(counts)}: "
            "run `curate weights` again"
        )
    if len(weights) < len(table):
        raise WorkspaceError(f"{file}: a class has two weights: give each class one")
    missing = [name for name in counts if not 0 < weights.get(name, 0.0) <= MOST_WEIGHT]
    if missing:
        raise WorkspaceError(
            f"{file}: no weight above 0 and up to {MOST_WEIGHT:.0f} for {', '.join(missing)}: give every class of split "
            "train one"
        )
    return {name: float(weights[name]) for name in counts}


def soften_labels(
    votes: "pd.Series[str]",
    targets: Rows,
    classes: Sequence[str],
    class_view: ClassView,
    is_human: Sequence[bool],
) -> npt.NDArray[np.float32]:
    """The share of the crowd's votes that each class has, by the rule of `curate.workspace.votes.share_votes`.

    Parameters
    ----------
    votes : (N,) JSON of answer -> count, empty where there are none; answers that are no class do not count
    targets : (N,) class indices of the labels
    class_view : merges and narrows the answers as it does the labels
    is_human : (N,) whether a person decided the label, which the crowd does not overrule

    Returns
    -------
    (N, K) rows that sum to 1

    Raises
    ------
    ManifestError  if no row has votes

    References
    ----------
    E. Barsoum et al., Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution,
    ICMI 2016, section 4.4 (cross-entropy against the distribution)
    """
    if not (votes != "").any():
        raise ManifestError(
            "manifest.csv: no row of split train has votes: give them with `curate build --votes FILE`"
        )
    index = {name: k for k, name in enumerate(classes)}
    shares = np.zeros((len(votes), len(classes)))
    for row, (text, target, human) in enumerate(zip(votes, targets, is_human, strict=True)):
        counts = Counter[str]()
        for answer, count in votes_of(text).items():
            if class_view.class_of.get(answer) in index:
                counts[class_view.class_of[answer]] += count
        for name, share in share_votes(counts, classes[target], is_human=human).items():
            shares[row, index[name]] = share
    return shares.astype(np.float32)


def format_counts(counts: Mapping[str, int]) -> str:
    """`angry 16, happy 15`."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
