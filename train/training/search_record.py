"""search.json: the request of a search by `train tune`, and its finished trials.

The file is written whole before the first trial and after each. A search that was broken off goes
on from it: Optuna gets the finished trials, as if it had just made them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curate.errors import UsageError, shorten
from curate.files import record_bytes, write_atomically
from curate.workspace.manifest import table_bytes
from train.runs.errors import read_json, reading

SEARCH, TRIALS = "search.json", "trials.csv"
FIX = "leave --resume out to search anew"


@dataclass(frozen=True)
class FinishedTrial:
    """One model of a search.

    Attributes
    ----------
    params : what was drawn, by the name of the field
    distributions : what it was drawn from, in Optuna's own JSON
    scores : val accuracy of each epoch that Optuna was shown, 0 to 1
    is_pruned : whether it was given up early, or diverged
    row : of trials.csv
    """

    params: dict[str, Any]
    distributions: dict[str, str]
    scores: list[float]
    is_pruned: bool
    row: dict[str, Any]


@dataclass(frozen=True)
class Search:
    """A search in its folder.

    Attributes
    ----------
    request : everything on which a trial depends, as plain JSON values; the first that differs is
        named where a search cannot go on
    trials : those that are finished, in their order
    """

    folder: Path
    request: Mapping[str, Any]
    trials: list[FinishedTrial]

    @property
    def table(self) -> pd.DataFrame:
        """What trials.csv holds."""
        return pd.DataFrame([trial.row for trial in self.trials])

    @property
    def has_scores(self) -> bool:
        """Whether any training has come to the end of an epoch."""
        return any(trial.row["epochs"] for trial in self.trials)

    def write(self) -> None:
        """Write the record, then the table that is made of it."""
        trials = [asdict(trial) for trial in self.trials]
        record = {"request": dict(self.request), "trials": trials}
        write_atomically(self.folder / SEARCH, record_bytes(record))
        if trials:
            write_atomically(self.folder / TRIALS, table_bytes(self.table))


def finish_trial(
    trial: Any, scores: Sequence[float], row: Mapping[str, Any], *, is_pruned: bool
) -> FinishedTrial:
    """The record of a trial of Optuna."""
    import optuna

    drawn_from = {
        name: optuna.distributions.distribution_to_json(distribution)
        for name, distribution in trial.distributions.items()
    }
    return FinishedTrial(dict(trial.params), drawn_from, list(scores), is_pruned, dict(row))


def read_search(folder: Path, request: Mapping[str, Any]) -> Search:
    """A search that is to go on.

    Raises
    ------
    RunError  if the record is damaged
    UsageError  if there is none, or its request was another one
    """
    file = folder / SEARCH
    if not file.exists():
        raise UsageError(f"--resume: {folder}: holds no search: {FIX}")
    record = read_json(file, FIX)
    with reading(file, FIX):
        known = dict(record["request"])
        trials = [FinishedTrial(**trial) for trial in record["trials"]]
        make_trials(trials)
    wanted = json.loads(json.dumps(request))
    for name in {**wanted, **known}:
        if known.get(name) != wanted.get(name):
            was, now = (shorten(str(each.get(name))) for each in (known, wanted))
            raise UsageError(
                f"--resume: {folder}: was searched with {name} {was}, now it is {now}: make them "
                f"equal, or {FIX}"
            )
    return Search(folder, request, trials)


def make_trials(trials: Sequence[FinishedTrial]) -> list[Any]:
    """The trials as Optuna keeps them."""
    import optuna

    states = optuna.trial.TrialState
    made = []
    for trial in trials:
        distributions = {
            name: optuna.distributions.json_to_distribution(text)
            for name, text in trial.distributions.items()
        }
        made.append(
            optuna.trial.create_trial(
                state=states.PRUNED if trial.is_pruned else states.COMPLETE,
                value=None if trial.is_pruned else float(trial.row["val_accuracy"]),
                params=trial.params,
                distributions=distributions,
                intermediate_values=dict(enumerate(trial.scores)),
            )
        )
    return made
