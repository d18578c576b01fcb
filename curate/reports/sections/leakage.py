"""Held-out images with a copy in train: how many, side by side, and what they do to a score.

A model that knows train by heart is right on a leaked row whose copy has the row's label, whatever
it can do otherwise, and wrong on one whose copies have other labels. That bounds the effect. The
scores of `train evaluate` in this workspace, with and without the leaked rows, measure it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curate.errors import amount, first_line
from curate.files import load_record
from curate.reports.album import Album, Records, to_records
from curate.reports.audit import Leak
from curate.reports.leaks import list_leaks
from curate.reports.sampling import take_over_kinds
from curate.stderr import note_once

SHOWN = 21  # pairs a gallery: three of each class of FER2013
ACCURACIES = (0.5, 0.6, 0.7, 0.8)  # on rows without a copy, for the table of the bound
SHOWN_RUNS = 12
NAMES = {"source_split": "the dataset's split", "split": "the new split"}


@dataclass(frozen=True)
class Gallery:
    """Pairs of one split: records of leaks.csv with `image` and `copy_image`."""

    title: str
    pairs: Records


@dataclass(frozen=True)
class RunScore:
    """The accuracy of a run on all rows and on those without a copy in train, in [0, 1]."""

    run: str
    rows: str
    accuracy: float
    without: float


@dataclass(frozen=True)
class Leakage:
    """What the section shows; `reason` alone if the leaks are not known.

    `bounds` are the leaked parts, each with `bound_score` at every one of the accuracies.
    """

    reason: str = ""
    totals: Sequence[Leak] = ()
    classes: Sequence[Leak] = ()
    accuracies: Sequence[float] = ACCURACIES
    bounds: Sequence[tuple[Leak, list[float]]] = ()
    galleries: Sequence[Gallery] = ()
    runs: Sequence[RunScore] = ()


def bound_score(leak: Leak, accuracy: float) -> float:
    """The accuracy on all rows of a model that knows train by heart.

    Parameters
    ----------
    accuracy : of the model on the rows without a copy in train, in [0, 1]
    """
    if not leak.rows:
        return accuracy
    return ((leak.rows - leak.copies) * accuracy + leak.agree) / leak.rows


def show_leakage(
    root: Path, manifest: pd.DataFrame, leaks: Sequence[Leak], pairs: pd.DataFrame, album: Album
) -> Leakage:
    """The counts, the pairs side by side, and the effect on a score.

    Parameters
    ----------
    root : of the workspace, with the evaluations below `runs/`
    leaks : of `audit`
    pairs : the verified pairs of dedup
    """
    totals = [leak for leak in leaks if leak.label == "all"]
    if not any(leak.rows for leak in totals):
        return Leakage("There is no held-out image yet: run `curate split`.")
    leaked = [leak for leak in totals if leak.copies]
    return Leakage(
        totals=totals,
        classes=[leak for leak in leaks if leak.label != "all" and leak.copies],
        bounds=[(leak, [bound_score(leak, each) for each in ACCURACIES]) for leak in leaked],
        galleries=_fill_galleries(list_leaks(manifest, pairs), album),
        runs=read_scores(root / "runs"),
    )


def _fill_galleries(rows: pd.DataFrame, album: Album) -> list[Gallery]:
    """Two per split: pairs under one label, and pairs under two."""
    galleries = []
    for split, name in NAMES.items():
        for same_label, words in (("true", "the same label"), ("false", "another label")):
            found = rows[(rows["split"] == split) & (rows["same_label"] == same_label)]
            if len(found):
                title = f"{amount(len(found), 'row')} of {name} whose copy in train has {words}"
                galleries.append(Gallery(title, _show_pairs(found, album)))
    return galleries


def _show_pairs(rows: pd.DataFrame, album: Album) -> Records:
    """The worst pairs of each class: identical pixels first, then by the score of the pair."""
    score = pd.to_numeric(rows["score"], errors="coerce").fillna(0.0)
    order = rows.assign(order=-score).sort_values(["order", "path"]).drop(columns="order")
    records = to_records(order)
    chosen = take_over_kinds(records, lambda row: (row["kind"], row["label"]), SHOWN)
    return [
        {**row, "image": album.show(row["path"]), "copy_image": album.show(row["copy"])}
        for row in chosen
    ]


def read_scores(runs: Path) -> list[RunScore]:
    """The newest evaluations whose rows have copies in train, by the run's name.

    A file that holds no scores is noted and left out.
    """
    found = []
    for file in sorted(runs.glob("*/evaluation-*/metrics.json"), reverse=True):
        try:
            score = _read_score(file.parent, load_record(file))
        except (OSError, ValueError, LookupError, TypeError) as error:
            note_once(f"{file}: holds no scores ({first_line(error)}), so the page is without them")
            continue
        if score:
            found.append(score)
    return found[:SHOWN_RUNS]


def _read_score(folder: Path, metrics: dict[str, Any]) -> RunScore | None:
    """The scores of one evaluation; None if it has no leaked row, or none that is not."""
    others = metrics["without_copy_in_train"]
    if others["rows"] in (0, metrics["rows"]):
        return None
    scores = [float(each["accuracy"]) for each in (metrics, others)]
    return RunScore(folder.parent.name, str(metrics["evaluated"]), *scores)
