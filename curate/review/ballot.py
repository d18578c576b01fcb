"""The verdicts of several reviewers as one table of numbers, and the consensus that fits them.

In: a workspace. Out: the images that two reviewers or more have judged, their verdicts by class
index, the models' probabilities, and `curate.label_issues.consensus` of both. Nothing is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from curate.errors import PredictionsError
from curate.label_issues.consensus import NO_VOTE, Consensus, Votes, find_consensus
from curate.label_issues.scores import Probs
from curate.labels import VOCABULARY
from curate.review.reliability import Counts
from curate.review.reviewers import own_verdicts
from curate.workspace.journal.decisions import Decision
from curate.workspace.predictions import PREFIX, class_names, read_predictions
from curate.workspace.workspace import Workspace

DROP = "drop"  # a verdict beside the classes


@dataclass(frozen=True)
class Ballot:
    """N images with the own verdicts of at least two of R reviewers.

    Attributes
    ----------
    paths : (N,) sorted
    reviewers : (R,) those who judged one of these images, sorted
    verdicts : (K,) the classes that are given here or that somebody named, and `DROP` if it was
    votes : (N, R) number of the verdict, `NO_VOTE` for none
    """

    paths: list[str]
    reviewers: list[str]
    verdicts: list[str]
    votes: Votes

    def count_votes(self) -> Counts:
        """(N, K) how many reviewers gave image n verdict k."""
        numbers = np.arange(len(self.verdicts))
        counts: Counts = (self.votes[..., None] == numbers).sum(axis=1)
        return counts


def gather_ballot(manifest: pd.DataFrame, journal: Sequence[Decision]) -> Ballot:
    """Every image that two reviewers or more have judged."""
    by_reviewer = own_verdicts(manifest, journal)
    table = pd.DataFrame(by_reviewer).sort_index()
    table = table[table.notna().sum(axis=1) > 1].dropna(axis=1, how="all")
    reviewers = sorted(map(str, table.columns))
    table = table.reindex(columns=reviewers)
    named = set(manifest["given_label"]) | {name for name in table.to_numpy().ravel() if name}
    verdicts = [name for name in (*VOCABULARY, DROP) if name in named]
    number_of = {name: number for number, name in enumerate(verdicts)}
    votes = [[number_of.get(name, NO_VOTE) for name in row] for row in table.to_numpy().tolist()]
    shape = (len(table), len(reviewers))
    numbers = np.array(votes, np.int64).reshape(shape)
    return Ballot([str(path) for path in table.index], reviewers, verdicts, numbers)


def read_believed(
    workspace: Workspace, manifest: pd.DataFrame, ballot: Ballot
) -> tuple[Probs | None, list[str], list[str]]:
    """The models' out-of-fold probabilities of the images of a ballot.

    The class posterior is left out: it has learned from these verdicts.

    Returns
    -------
    (N, K) the mean of the models, NaN in rows of no fold, or None without a model that fits; the
    names of the models; a note if their tables do not fit the manifest
    """
    try:
        files = workspace.find_predictions()
        tables = [read_predictions(file, manifest) for file in files]
    except PredictionsError as error:
        return None, [], [f"the verdicts are counted without models: {error}"]
    if not tables:
        return None, [], []
    columns = [PREFIX + name for name in ballot.verdicts]
    probs = [table.set_index("path").reindex(columns=columns, fill_value=0.0) for table in tables]
    assert all(name in VOCABULARY for table in tables for name in class_names(table))
    mean = sum(probs[1:], start=probs[0]) / len(probs)
    believed: Probs = mean.reindex(ballot.paths).to_numpy(np.float64)
    return believed, sorted(file.stem for file in files), []


def fit_ballot(ballot: Ballot, believed: Probs | None) -> Consensus | None:
    """The consensus; None for two reviewers alone, without a model: nothing shows who is right."""
    if len(ballot.reviewers) < 2 or (len(ballot.reviewers) == 2 and believed is None):
        return None
    return find_consensus(ballot.votes, len(ballot.verdicts), believed)
