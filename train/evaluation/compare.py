"""`train compare A B`: whether two runs differ by more than chance, on the rows that both were scored on.

It reads the predictions that `train evaluate` wrote, so no row of test is read once more.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.errors import UsageError
from curate.labels import show_class_view
from curate.result import Result
from curate.workspace.workspace import Workspace
from train.data.tta import is_random
from train.evaluation.intervals import bootstrap_gain, compare_mcnemar
from train.evaluation.metrics import format_interval, format_percent
from train.evaluation.open_runs import name_place, require_rows
from train.runs.errors import RunError, read_json, reading
from train.runs.folder import METRICS, RECIPE, find_home, write_json

BELIEFS = "predictions.csv"
AGAIN = "run `train evaluate` again"


def compare_runs(
    first: Path,
    second: Path,
    *,
    workspace: Workspace | None = None,
    rows: str = "test",
    seed: int = 0,
    dry_run: bool = False,
) -> Result:
    """McNemar's test and the gain in accuracy from the first run to the second, written into the second's folder.

    Parameters
    ----------
    workspace : whose rows both were scored on; None for the one that each was trained in
    seed : of the bootstrap

    Raises
    ------
    RunError  if one of them was not evaluated on these rows, or on others than the other one, or by other views
    """
    require_rows(rows)
    if first.resolve() == second.resolve():
        raise UsageError(f"compare: {first} and {second} are the same run: name two")
    for folder in (first, second):
        if workspace and folder.is_dir() and not (folder / RECIPE).is_file():
            raise UsageError(
                f"-w: {folder} is no run, and ensembles are compared where they were trained: leave -w out"
            )
    places = [find_evaluation(folder, rows, workspace) for folder in (first, second)]
    tables = [read_beliefs(place) for place in places]
    again = "run `train evaluate` of both again, with the same -w, --rows, --tta and --seed"
    if not tables[0][["path", "label"]].equals(tables[1][["path", "label"]]):
        raise RunError(
            f"{second}: was evaluated on other rows or labels than {first.name}: {again}"
        )
    one, two = (read_protocol(place) for place in places)
    if one != two:
        raise RunError(
            f"{second}: was evaluated by {_format_protocol(two)}, but {first.name} by {_format_protocol(one)}: {again}"
        )
    right = [(table["predicted"] == table["label"]).to_numpy() for table in tables]
    gain = bootstrap_gain(right[0], right[1], seed)
    accuracies = [float(np.mean(each)) for each in right]
    counts = {
        "first": first.name, "second": second.name, "rows": len(right[0]), "accuracy": accuracies, **gain,
        "p_value": compare_mcnemar(gain["won"], gain["lost"]), **two,
    }  # fmt: skip
    if not dry_run:
        place = places[1].name.removeprefix("evaluation-")
        write_json(second / f"comparison-{place}-{first.name}.json", counts)
    return Result(_format_summary(counts), counts)


def find_evaluation(folder: Path, rows: str, workspace: Workspace | None) -> Path:
    """The folder of a run's scores on those rows.

    Raises
    ------
    RunError  if it was not evaluated on them
    """
    is_run = (folder / RECIPE).is_file()
    place = folder / f"evaluation-{name_place(folder, workspace, rows) if workspace else rows}"
    if not (place / BELIEFS).is_file():
        if not is_run:
            raise RunError(
                f"{place / BELIEFS}: is not there: name the folder of a run, or of an ensemble that was evaluated"
            )
        root = workspace.root if workspace else find_home(folder)
        words = ["train", "evaluate", str(folder), "--rows", rows, "-w", str(root)]
        raise RunError(f"{place / BELIEFS}: is not there: run `{shlex.join(words)}` first")
    return place


def read_beliefs(place: Path) -> pd.DataFrame:
    """path, label and predicted of an evaluation, sorted by path."""
    file, columns = place / BELIEFS, ["path", "label", "predicted"]
    with reading(file, AGAIN):
        table = pd.read_csv(file, dtype=str, keep_default_na=False, usecols=columns)
        return table.sort_values("path", ignore_index=True)


def read_protocol(place: Path) -> dict[str, Any]:
    """By which views of each image an evaluation was, and through which view of the classes."""
    with reading(place / METRICS, AGAIN):
        metrics = read_json(place / METRICS, AGAIN)
        random = {"views_seed": metrics["seed"]} if is_random(metrics["tta"]) else {}
        return {"tta": metrics["tta"], "view": metrics.get("view", ""), **random}


def _format_protocol(protocol: Mapping[str, Any]) -> str:
    seed = f" --seed {protocol['views_seed']}" if "views_seed" in protocol else ""
    return f"--tta {protocol['tta']}{seed}{show_class_view(protocol['view'])}"


def _format_summary(counts: Mapping[str, Any]) -> str:
    one, two = (format_percent(value) for value in counts["accuracy"])
    return (
        f"compare: {counts['second']} against {counts['first']} on {counts['rows']:,} rows: accuracy {two} against {one}, "
        f"{100 * counts['gain']:+.1f} {format_interval(counts['interval'])} points; {counts['won']:,} rows won, "
        f"{counts['lost']:,} lost; McNemar p = {counts['p_value']:.2g}"
    )
