"""The folder of an evaluation: where it is, and what is written there.

In: the runs with their rows, the probabilities and the scores. Out: tables, plots and, last, the
metrics with the digests of the tables that other commands read; the receipt of the workspace.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.csv_text import read_cell
from curate.files import sha256_of, write_atomically
from curate.result import Result
from curate.workspace.manifest import export_bytes, table_bytes
from curate.workspace.predictions import PREFIX
from curate.workspace.receipts import new_receipt, write_receipt
from train.evaluation.calibration import bin_confidences
from train.evaluation.metrics import Probs, count_confusions, format_percent, score_classes
from train.evaluation.open_runs import PREDICTIONS_FILE, RunSet
from train.evaluation.plots import plot_confusion, plot_reliability
from train.evaluation.slices import SLICES_FILE
from train.runs.errors import read_json, reading
from train.runs.folder import METRICS, write_json

REMEDY = "run `train evaluate` again"
INPUT_COLUMNS = ("pixel_hash", "label", "status", "split")


def choose_folder(run_set: RunSet, classes: str | None) -> Path:
    """A folder inside the run's, or for an ensemble beside the runs' folders."""
    name = f"evaluation-{run_set.reserve_suffix()}"
    if classes:
        name += f"-{classes}"
    folders = [record.folder for record in run_set.records]
    if len(folders) == 1:
        return folders[0] / name
    parent = folders[0].parent
    paths = [os.path.relpath(folder.resolve(), parent.resolve()) for folder in folders]
    digest = hashlib.sha256("+".join(paths).encode()).hexdigest()[:8]
    return parent / f"ensemble-{len(paths)}-{digest}" / name


def write_evaluation(
    folder: Path,
    run_set: RunSet,
    probs: Probs,
    metrics: Mapping[str, Any],
    slices: pd.DataFrame | None,
) -> pd.DataFrame:
    """Write tables, plots and, last, the metrics; return the table of the classes.

    Parameters
    ----------
    slices : of `score_slices`; None removes those of an earlier evaluation
    """
    predicted = probs.argmax(axis=1)
    table = score_classes(run_set.targets, predicted, run_set.classes)
    confusions = count_confusions(run_set.targets, predicted, run_set.classes)
    reliability = bin_confidences(run_set.targets, probs)
    subject = f"{metrics['recipe']} on {len(run_set.rows):,} {run_set.selection} rows"
    write_atomically(folder / "per_class.csv", table_bytes(table.round(6)))
    write_atomically(folder / "confusion.csv", table_bytes(confusions.reset_index()))
    title = f"{subject}, accuracy {format_percent(metrics['accuracy'])}"
    write_atomically(folder / "confusion.png", plot_confusion(confusions, title))
    write_atomically(folder / "calibration.csv", table_bytes(reliability.round(6)))
    title = f"{subject}, ECE {format_percent(metrics['ece'])}"
    write_atomically(folder / "calibration.png", plot_reliability(reliability, title))
    write_atomically(folder / PREDICTIONS_FILE, table_bytes(list_predictions(run_set, probs)))
    digests = {"predictions_sha256": sha256_of(folder / PREDICTIONS_FILE)}
    if slices is None:
        (folder / SLICES_FILE).unlink(missing_ok=True)
    else:
        write_atomically(folder / SLICES_FILE, export_bytes(slices.round(6)))
        digests["slices_sha256"] = sha256_of(folder / SLICES_FILE)
    write_json(folder / METRICS, {**metrics, **digests})
    return table


def list_predictions(run_set: RunSet, probs: Probs) -> pd.DataFrame:
    """One row per selected row: path, label, predicted and one probability per class."""
    columns = [PREFIX + name for name in run_set.classes]
    table = pd.DataFrame(probs, columns=columns).map("{:.6f}".format)
    table.insert(0, "predicted", np.array(run_set.classes)[probs.argmax(axis=1)])
    for name in ("label", "path"):
        table.insert(0, name, run_set.viewed.loc[run_set.rows, name].to_numpy())
    return table


def read_slices(evaluation: Path) -> pd.DataFrame | None:
    """The slices of an evaluation, as `score_slices` returns them, and `detectable`.

    None if it has none.

    Raises
    ------
    RunError  if the table is missing or damaged, or is not that of the evaluation
    """
    digest = read_json(evaluation / METRICS, REMEDY).get("slices_sha256")
    if digest is None:
        return None
    file = evaluation / SLICES_FILE
    with reading(file, REMEDY):
        if digest != sha256_of(file):
            raise ValueError("it was changed after the evaluation")
        texts = pd.read_csv(file, dtype=str, keep_default_na=False)
        table = pd.DataFrame({name: texts[name].map(read_cell) for name in ("column", "slice")})
        for name in ("rows", "all_rows", "all_right"):
            table[name] = texts[name].astype(int)
        for name in ("accuracy", "low", "high", "expected", "p_value", "detectable"):
            table[name] = pd.to_numeric(texts[name])
        return table.assign(worse=texts["worse"] == "True")


def write_evaluation_receipt(run_set: RunSet, result: Result, seconds: float) -> None:
    """Write the receipt: the scores are stale once the rows change or another run is the newest."""
    root = run_set.workspace.root
    options = {name: result.counts[name] for name in ("run", "views", "seed")}
    scores = {name: result.counts[name] for name in ("accuracy", "macro_f1", "test_reads")}
    run_receipt = root / "receipts" / "run.json"
    inputs = [run_set.records[0].weights]
    if run_receipt.is_file():
        inputs.append(run_receipt)
    receipt = new_receipt(
        root,
        "evaluate",
        run_set.manifest,
        input_columns=INPUT_COLUMNS,
        inputs=inputs,
        options=options,
        result=Result(result.summary, counts=scores),
    )
    write_receipt(root, receipt, seconds=seconds)
