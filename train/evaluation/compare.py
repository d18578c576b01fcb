"""`train compare A B`: whether the difference of two runs is larger than chance.

Input: the predictions that `train evaluate` wrote for both runs on the same rows, so test is not
read again. Output: McNemar's test and the gain in accuracy, in the folder of the second run.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.errors import UsageError, amount
from curate.files import sha256_of
from curate.result import Result
from curate.stderr import note_once
from curate.workspace.class_views import apply_class_view, find_class_view, format_class_view
from curate.workspace.workspace import Workspace
from train.data.tta import is_random
from train.evaluation.evaluation_files import REMEDY
from train.evaluation.intervals import bootstrap_gain, compare_mcnemar
from train.evaluation.metrics import format_interval, format_percent
from train.evaluation.open_runs import (
    AND,
    PREDICTIONS_FILE,
    SELECTIONS,
    format_suffix,
    require_selection,
)
from train.runs.errors import RunError, read_json, reading
from train.runs.folder import METRICS, RECIPE, write_json
from train.runs.record import find_home, read_run_record

AGAIN = "run `train evaluate` of both again, with the same -w, --rows, --tta and --seed"


def compare_runs(
    first: Path,
    second: Path,
    *,
    workspace: Workspace | None = None,
    rows: str = "test",
    seed: int = 0,
    dry_run: bool = False,
) -> Result:
    """McNemar's test and the gain in accuracy from the first run to the second.

    Parameters
    ----------
    workspace : whose rows both were scored on; None for the one that each was trained in
    rows : train, val, test, or all kept rows
    seed : of the bootstrap

    Raises
    ------
    RunError  if one of them was not evaluated on these rows, or the two were evaluated on different
        rows or with different TTA views
    """
    require_selection(rows)
    _require_two_runs(first, second, workspace)
    evaluations = [find_evaluation(folder, rows, workspace) for folder in (first, second)]
    tables = [read_predictions(evaluation) for evaluation in evaluations]
    protocols = [read_protocol(evaluation) for evaluation in evaluations]
    for folder, evaluation, table in zip((first, second), evaluations, tables, strict=True):
        note_old_labels(folder, evaluation, table)
    pictures = [read_pictures_digest(evaluation) for evaluation in evaluations]
    _require_one_protocol(first, second, protocols)
    if not tables[0][["path", "label"]].equals(tables[1][["path", "label"]]):
        raise RunError(
            f"{second}: was evaluated on other rows or labels than {first.name}: {AGAIN}"
        )
    if "" not in pictures and pictures[0] != pictures[1]:
        raise RunError(
            f"{second}: was evaluated on other pictures than {first.name}, which have changed "
            f"since under the same paths: {AGAIN}"
        )
    before, after = ((table["predicted"] == table["label"]).to_numpy() for table in tables)
    gain = bootstrap_gain(before, after, seed)
    counts = {
        "first": first.name, "second": second.name, "rows": len(before),
        "accuracy": [float(np.mean(before)), float(np.mean(after))], **gain,
        "p_value": compare_mcnemar(gain["won"], gain["lost"]), **protocols[1],
    }  # fmt: skip
    if not dry_run:
        suffix = evaluations[1].name.removeprefix("evaluation-")
        write_json(second / f"comparison-{suffix}-{first.name}.json", counts)
    return Result(_format_summary(counts), counts)


def _require_one_protocol(
    first: Path, second: Path, protocols: Sequence[Mapping[str, Any]]
) -> None:
    """Raise RunError unless both were scored by one class view and one way of TTA."""
    views = [str(protocol["view"]) for protocol in protocols]
    if views[0] != views[1]:
        raise RunError(
            f"{second}: was scored on {_name_view(views[1])}, but {first.name} on "
            f"{_name_view(views[0])}: compare runs of the same --classes and --group"
        )
    if protocols[0] != protocols[1]:
        raise RunError(
            f"{second}: was evaluated by {_format_protocol(protocols[1])}, but {first.name} by "
            f"{_format_protocol(protocols[0])}: {AGAIN}"
        )


def _name_view(view: str) -> str:
    return f"the classes of view {view}" if view else "all classes"


def _require_two_runs(first: Path, second: Path, workspace: Workspace | None) -> None:
    if first.resolve() == second.resolve():
        raise UsageError(f"compare: {first} and {second} are the same run: name two")
    for folder in (first, second):
        if workspace and folder.is_dir() and not (folder / RECIPE).is_file():
            raise UsageError(
                f"-w: {folder} is no run, and ensembles are compared where they were trained: "
                "leave -w out"
            )


def find_evaluation(folder: Path, rows: str, workspace: Workspace | None) -> Path:
    """The folder of a run's evaluation on those rows.

    Raises
    ------
    RunError  if it was not evaluated on them
    """
    suffix = format_suffix(folder, workspace, rows) if workspace else rows
    evaluation = folder / f"evaluation-{suffix}"
    file = evaluation / PREDICTIONS_FILE
    if file.is_file():
        return evaluation
    if not (folder / RECIPE).is_file():
        raise RunError(
            f"{file}: is missing: name the folder of a run, or of an ensemble that was evaluated"
        )
    root = workspace.root if workspace else find_home(folder)
    command = ["train", "evaluate", str(folder), "--rows", rows, "-w", str(root)]
    raise RunError(f"{file}: is missing: run `{shlex.join(command)}` first")


def read_predictions(evaluation: Path, *, has_probs: bool = False) -> pd.DataFrame:
    """path, label and predicted of an evaluation, sorted by path, as text.

    Parameters
    ----------
    has_probs : also p_<class>…
    """
    file = evaluation / PREDICTIONS_FILE
    columns = None if has_probs else ["path", "label", "predicted"]
    metrics = evaluation / METRICS
    with reading(file, REMEDY):
        table = pd.read_csv(file, dtype=str, keep_default_na=False, usecols=columns)
    digest = read_json(metrics, REMEDY).get("predictions_sha256") if metrics.is_file() else None
    with reading(file, REMEDY):
        if digest not in (None, sha256_of(file)):
            raise ValueError("it was changed after the evaluation")
    return table.sort_values("path", ignore_index=True)


def read_protocol(evaluation: Path) -> dict[str, Any]:
    """The TTA views and the class view of an evaluation, with the seed of random TTA views."""
    file = evaluation / METRICS
    with reading(file, REMEDY):
        metrics = read_json(file, REMEDY)
        views = filter(None, metrics.get("view", "").split(AND))
        protocol = {
            "tta": metrics["tta"],
            "view": AND.join(find_class_view(view).name for view in views),
        }
        if is_random(metrics["tta"]):
            protocol["views_seed"] = metrics["seed"]
        return protocol


def read_pictures_digest(evaluation: Path) -> str:
    """The digest of the pictures of an evaluation; empty for one of an earlier version."""
    return str(read_json(evaluation / METRICS, REMEDY).get("pictures_sha256", ""))


def note_old_labels(run: Path, evaluation: Path, table: pd.DataFrame) -> str:
    """Print a note if the rows or labels of an evaluation are no longer those of the workspace.

    Of a run in the workspace that it was trained in; where another one lies is not known.

    Parameters
    ----------
    table : of `read_predictions`

    Returns
    -------
    a sentence for a page about the scores; empty if they are of the present rows and labels
    """
    rows = evaluation.name.removeprefix("evaluation-")
    if rows not in SELECTIONS or not (run / RECIPE).is_file():
        return ""
    record, home = read_run_record(run), Workspace(find_home(run))
    if not home.manifest.is_file():
        return ""
    viewed = apply_class_view(home.read(), find_class_view(record.class_view))
    is_scored = (viewed["status"] == "keep") & ((viewed["split"] == rows) | (rows == "all"))
    now = viewed.loc[is_scored, ["path", "label"]].sort_values("path", ignore_index=True)
    if now.equals(table[["path", "label"]]):
        return ""
    command = ["train", "evaluate", str(run), "--rows", rows, "-w", str(home.root)]
    note_once(
        f"{evaluation}: its rows or labels have changed since it was scored: run "
        f"`{shlex.join(command)}` again"
    )
    return "These scores are of earlier rows or labels: the workspace has others now."


def _format_protocol(protocol: Mapping[str, Any]) -> str:
    seed = f" --seed {protocol['views_seed']}" if "views_seed" in protocol else ""
    return f"--tta {protocol['tta']}{seed}{format_class_view(protocol['view'])}"


def _format_summary(counts: Mapping[str, Any]) -> str:
    before, after = (format_percent(value) for value in counts["accuracy"])
    points = f"{100 * counts['gain']:+.1f} {format_interval(counts['interval'])} points"
    return (
        f"compare: {counts['second']} against {counts['first']} on "
        f"{amount(counts['rows'], 'row')}: accuracy {after} against {before}, {points}; "
        f"{amount(counts['won'], 'row')} won, {counts['lost']:,} lost; McNemar p = "
        f"{counts['p_value']:.2g}"
    )
