"""The scores of a run on val and test, by one view and by several; a step of `studies.py`.

    python benchmarks/study_scores.py RUN COPIES --views flip 5 10 20 [--classes 3] --out FILE

COPIES is a workspace that knows all copies of these images. FILE gets the scores of each number of
views, all of test and without any copy in train; beside it `-test.csv` has the predicted classes by
each, and `-history.csv` the curves of the training.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd
from curation_reviewer import write_json
from recipes import has_known_copy_in_train

from curate.files import write_atomically
from curate.workspace.manifest import table_bytes
from curate.workspace.predictions import PREFIX, class_names
from curate.workspace.workspace import Workspace
from train.evaluation.evaluate import evaluate_runs
from train.evaluation.metrics import score_predictions
from train.runs.folder import METRICS, RECIPE

SCORES = ("rows", "accuracy", "balanced_accuracy", "macro_f1", "weighted_f1")
CURVES = ("epoch", "accuracy", "val_accuracy")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("copies", type=Path)
    parser.add_argument("--views", nargs="+", required=True)
    parser.add_argument("--classes", help="merge into so many besides")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    record = describe(options.run)
    history = pd.read_csv(options.run / "history.csv")
    kept = history[[name for name in CURVES if name in history]]
    for rows in ("val", "test"):
        table = pd.DataFrame()
        for views in ("1", *options.views):
            found = evaluate(options.run, rows, views)
            if table.empty:
                table = found[["path", "label"]].copy()
                leaked = find_leaked(options.run, options.copies, table["path"])
                table["copy_free"] = ~leaked
            table[f"v{views}"] = found["predicted"]
            record.setdefault(rows, {})[views] = score(found, table["copy_free"])
        if options.classes:
            merged = evaluate(options.run, rows, options.views[0], options.classes)
            record[rows][f"classes {options.classes}"] = score(merged, table["copy_free"])
        write_atomically(
            options.out.with_name(f"{options.out.stem}-{rows}.csv"), table_bytes(table)
        )
    write_atomically(options.out.with_name(f"{options.out.stem}-history.csv"), table_bytes(kept))
    write_json(options.out, record)


def describe(run: Path) -> dict[str, Any]:
    """What the run took, and how long it was trained."""
    metrics, recipe = (json.loads((run / name).read_text()) for name in (METRICS, RECIPE))
    return {
        "recipe": recipe["recipe"]["name"],
        "epochs": metrics["epochs"],
        "best_epoch": metrics["best_epoch"],
        "minutes": metrics["seconds"] / 60,
        "cpu_minutes": metrics["resources"]["cpu_seconds"] / 60,
    }


def evaluate(run: Path, rows: str, views: str, classes: str | None = None) -> pd.DataFrame:
    """The predictions of `train evaluate`, in this process, which loads TensorFlow once."""
    workspace = Workspace(run.parent.parent)
    found = evaluate_runs(workspace, [run], rows=rows, tta=views, classes=classes)
    return pd.read_csv(Path(found.counts["folder"]) / "predictions.csv", keep_default_na=False)


def find_leaked(run: Path, copies: Path, paths: "pd.Series[str]") -> "pd.Series[bool]":
    """Whether each image has a copy, exact or not, among the rows of split train."""
    trained = Workspace(run.parent.parent).read()
    leaked = has_known_copy_in_train(Workspace(copies).read(), trained, paths)
    return pd.Series(leaked, paths.index)


def score(table: pd.DataFrame, copy_free: "pd.Series[bool]") -> dict[str, dict[str, float]]:
    """The scores of all rows, per class too, and of those without a copy."""
    classes = class_names(table)
    found = {}
    for name, rows in (("all", table), ("copy_free", table[copy_free])):
        targets = rows["label"].map(classes.index).to_numpy()
        scores = score_predictions(targets, rows[[PREFIX + k for k in classes]].to_numpy())
        found[name] = {key: scores[key] for key in SCORES}
        right = rows["predicted"] == rows["label"]
        found[name] |= {f"recall {k}": float(right[rows["label"] == k].mean()) for k in classes}
    return found


if __name__ == "__main__":
    main()
