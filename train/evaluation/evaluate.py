"""`train evaluate`: what runs are worth on rows that they did not learn from, and every look at the test rows counted.

Scoring is in float32 whatever the training was in, so it depends neither on the machine's precision nor on the batch size.
Several runs are scored one by one and as an ensemble: the mean of their probabilities.
"""

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.files import write_atomically
from curate.result import Result
from curate.workspace.manifest import table_bytes
from curate.workspace.predictions import PREFIX
from curate.workspace.receipts import new_receipt, read_receipts, write_receipt
from curate.workspace.workspace import Workspace
from train.data.images import Rows, count_labels
from train.data.tta import count_views, plan_tta, require_views
from train.evaluation.calibration import bin_confidences, calibration_error
from train.evaluation.intervals import bootstrap_gain, bootstrap_scores
from train.evaluation.metrics import (
    count_confusions,
    format_classes,
    format_interval,
    format_percent,
    format_spread,
    score_classes,
    score_predictions,
)
from train.evaluation.open_runs import Probs, RunSet, open_runs
from train.evaluation.plots import plot_confusion, plot_reliability
from train.evaluation.predict import PREDICT_BATCH, predict_probs
from train.runs.folder import write_json

INPUT_COLUMNS = ("label", "status", "split")
HEADLINES = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1")


def evaluate_runs(
    workspace: Workspace,
    runs: Sequence[Path] = (),
    *,
    rows: str = "test",
    tta: str = "1",
    classes: str | None = None,
    seed: int = 0,
    batch_size: int = PREDICT_BATCH,
    dry_run: bool = False,
) -> Result:
    """Score a run, or several as an ensemble, on the kept rows of a workspace.

    The labels are seen through the view that the runs were trained through; rows outside of it are counted, not scored.

    Parameters
    ----------
    runs : folders; none for the newest of the workspace, which may be another than the one they were trained in
    rows : train, val, test, or all kept rows
    tta : views of test-time augmentation (1: the image alone), or `flip`: the image and its mirror
    classes : "3" merges the classes into positive, neutral and negative
    seed : of the views and of the bootstrap

    Raises
    ------
    RunError  if there is no such run, or the runs know other classes
    ManifestError  if there are no such rows, or their labels are unknown to the runs
    """
    start, views = time.perf_counter(), count_views(tta)
    run_set = open_runs(workspace, runs, rows=rows, classes=classes)
    for record in run_set.known:
        require_views(tta, record.recipe)
    if dry_run:
        return Result(_format_plan(run_set, tta) + run_set.format_outside())
    models, fresh = run_set.load_models(), find_fresh(run_set)
    reads = run_set.count_reads(views)
    metrics: dict[str, Any] = {
        "run": run_set.name, "recipe": "+".join(dict.fromkeys(record.recipe.name for record in run_set.known)),
        "mask": "+".join(dict.fromkeys(record.recipe.mask for record in run_set.known)), "evaluated": rows,
        "views": views, "tta": tta, "seed": seed,
        "manifest_sha256": run_set.manifest_sha256, "test_reads": max(reads, default=None),
    }  # fmt: skip
    probs, alone = predict_runs(run_set, models, tta, seed, batch_size)
    metrics |= score_all(
        run_set, fresh, np.mean(probs, axis=0), np.mean(alone, axis=0) if views > 1 else None, seed
    )
    if len(probs) > 1:
        metrics |= _score_members(run_set, fresh, probs, alone, reads)
    metrics |= (
        {"view": run_set.known[0].class_view, "outside": run_set.outside}
        if run_set.class_views
        else {}
    )
    folder = _choose_folder(run_set, classes)
    table = _write_evaluation(folder, run_set, np.mean(probs, axis=0), metrics)
    summary = f"{_format_summary(metrics)}{run_set.format_outside()} -> {folder}"
    told = Result(summary, metrics | {"folder": str(folder)}, format_classes(table))
    if rows == "test" and run_set.is_home and len(run_set.known) == 1 and classes is None:
        _write_receipt(run_set, told, time.perf_counter() - start)
    return told


def predict_runs(
    run_set: RunSet, models: Sequence[Any], tta: str, seed: int, batch_size: int = PREDICT_BATCH
) -> tuple[list[Probs], list[Probs]]:
    """(N, K) probabilities of each run by all views, and by the image alone (nothing where that is the same)."""
    by_views, alone = [], []
    keys = run_set.manifest.loc[run_set.rows, "pixel_hash"].tolist()
    images = {
        size: run_set.read_images(size) for size in {record.recipe.size for record in run_set.known}
    }
    for record, model in zip(run_set.known, models, strict=True):
        pixels = images[record.recipe.size]
        views = plan_tta(tta, keys, record.recipe, seed)
        by_views.append(
            run_set.merge_probs(predict_probs(model, pixels, run_set.rows, views, batch_size))
        )
        if len(views) > 1:
            first = predict_probs(model, pixels, run_set.rows, views[:1], batch_size)
            alone.append(run_set.merge_probs(first))
    return by_views, alone


def score_all(
    run_set: RunSet, fresh: npt.NDArray[np.bool_], probs: Probs, alone: Probs | None, seed: int
) -> dict[str, Any]:
    """Every score of the rows, with intervals: of all, of the `fresh` without a copy in train, and the gain by TTA."""
    targets = run_set.targets
    scores = _score_with_intervals(targets, probs, run_set.classes, seed)
    scores["without_copy_in_train"] = (
        _score_with_intervals(targets[fresh], probs[fresh], run_set.classes, seed)
        if fresh.any()
        else {"rows": 0}
    )
    scores["near_copies_known"] = knows_near_copies(run_set)
    if alone is not None:
        scores["one_view"] = score_predictions(targets, alone)
        right = [each.argmax(axis=1) == targets for each in (alone, probs)]
        scores["tta_gain"] = bootstrap_gain(right[0], right[1], seed)
    return scores


def find_fresh(run_set: RunSet) -> npt.NDArray[np.bool_]:
    """(n,) whether a scored row has no copy among those that the models learned from."""
    train_rows = pd.concat([record.read_train_rows() for record in run_set.known])
    return ~has_copy_in_train(run_set.manifest, train_rows)[run_set.rows]


def knows_near_copies(run_set: RunSet) -> bool:
    """Whether `curate dedup` has looked for copies here that are not identical, as it does without `--exact-only`."""
    receipt = read_receipts(run_set.workspace.root).get("dedup", {})
    return bool(receipt.get("options", {}).get("near", False))


def has_copy_in_train(manifest: pd.DataFrame, train_rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """(N,) whether the model was trained on the pixels of the row, or on a member of its duplicate group.

    Paths do not count: another workspace may have another face by the same one.

    Parameters
    ----------
    manifest : N rows
    train_rows : pixel_hash of what the model was trained on
    """
    seen = manifest["pixel_hash"].isin(train_rows["pixel_hash"])
    groups = manifest.loc[seen, "duplicate_group"]
    grouped = (manifest["duplicate_group"] != "") & manifest["duplicate_group"].isin(groups)
    return (seen | grouped).to_numpy()


def _score_with_intervals(
    targets: Rows, probs: Probs, classes: Sequence[str], seed: int
) -> dict[str, Any]:
    scores = score_predictions(targets, probs)
    confusions = count_confusions(targets, probs.argmax(axis=1), classes).to_numpy()
    scores["ece"] = calibration_error(bin_confidences(targets, probs))
    scores["intervals"] = bootstrap_scores(confusions, seed)
    return scores


def _score_members(
    run_set: RunSet,
    fresh: npt.NDArray[np.bool_],
    probs: Sequence[Probs],
    alone: Sequence[Probs],
    reads: Sequence[int],
) -> dict[str, Any]:
    """The runs of an ensemble one by one, and the mean and spread of their scores, of those without copies and by one view."""
    targets = run_set.targets
    members: list[dict[str, Any]] = []
    for number, (record, each) in enumerate(zip(run_set.known, probs, strict=True)):
        scores = score_predictions(targets, each)
        member = {"run": record.folder.name, **{name: scores[name] for name in HEADLINES}}
        if fresh.any():
            member["without_copy_in_train"] = score_predictions(targets[fresh], each[fresh])[
                "accuracy"
            ]
        if alone:
            member["one_view"] = score_predictions(targets, alone[number])["accuracy"]
        members.append(member)
    for member, count in zip(members, reads, strict=False):
        member["test_reads"] = count
    names = [
        *HEADLINES,
        *(name for name in ("without_copy_in_train", "one_view") if name in members[0]),
    ]
    return {
        "members": members,
        "spread": {name: format_spread([one[name] for one in members]) for name in names},
    }


def _choose_folder(run_set: RunSet, classes: str | None) -> Path:
    """Inside the run, or beside the runs for an ensemble."""
    name = f"evaluation-{run_set.take_place()}{f'-{classes}' if classes else ''}"
    if len(run_set.known) == 1:
        return run_set.known[0].folder / name
    beside = run_set.known[0].folder.parent
    places = [
        os.path.relpath(record.folder.resolve(), beside.resolve()) for record in run_set.known
    ]
    digest = hashlib.sha256("+".join(places).encode()).hexdigest()[:8]
    return beside / f"ensemble-{len(places)}-{digest}" / name


def _write_evaluation(
    folder: Path, run_set: RunSet, probs: Probs, metrics: Mapping[str, Any]
) -> pd.DataFrame:
    predicted = probs.argmax(axis=1)
    table = score_classes(run_set.targets, predicted, run_set.classes)
    confusions = count_confusions(run_set.targets, predicted, run_set.classes)
    reliability = bin_confidences(run_set.targets, probs)
    on = f"{metrics['recipe']} on {len(run_set.rows):,} {run_set.chosen} rows"
    write_atomically(folder / "per_class.csv", table_bytes(table.round(6)))
    write_atomically(folder / "confusion.csv", table_bytes(confusions.reset_index()))
    title = f"{on}, accuracy {format_percent(metrics['accuracy'])}"
    write_atomically(folder / "confusion.png", plot_confusion(confusions, title))
    write_atomically(folder / "calibration.csv", table_bytes(reliability.round(6)))
    title = f"{on}, ECE {format_percent(metrics['ece'])}"
    write_atomically(folder / "calibration.png", plot_reliability(reliability, title))
    write_atomically(folder / "predictions.csv", table_bytes(list_beliefs(run_set, probs)))
    write_json(folder / "metrics.json", metrics)
    return table


def list_beliefs(run_set: RunSet, probs: Probs) -> pd.DataFrame:
    """path, label, predicted and one probability per class."""
    beliefs = pd.DataFrame(probs, columns=[PREFIX + name for name in run_set.classes]).map(
        "{:.6f}".format
    )
    beliefs.insert(0, "predicted", np.array(run_set.classes)[probs.argmax(axis=1)])
    beliefs.insert(0, "label", run_set.seen.loc[run_set.rows, "label"].to_numpy())
    beliefs.insert(0, "path", run_set.seen.loc[run_set.rows, "path"].to_numpy())
    return beliefs


def _write_receipt(run_set: RunSet, told: Result, seconds: float) -> None:
    """The score goes stale with the rows, and when another model takes the run's place."""
    root = run_set.workspace.root
    options = {name: told.counts[name] for name in ("run", "views", "seed")}
    scores = {name: told.counts[name] for name in ("accuracy", "macro_f1", "test_reads")}
    newest = root / "receipts" / "run.json"
    inputs = [run_set.known[0].weights, *([newest] if newest.is_file() else [])]
    result = Result(told.summary, counts=scores)
    receipt = new_receipt(
        root,
        "evaluate",
        run_set.manifest,
        input_columns=INPUT_COLUMNS,
        inputs=inputs,
        options=options,
        result=result,
    )
    write_receipt(root, receipt, seconds=seconds)


def _format_summary(metrics: Mapping[str, Any]) -> str:
    views = f" by {metrics['views']} views" if metrics["views"] > 1 else ""
    intervals = metrics["intervals"]
    means = ", ".join(
        f"{name.replace('_', ' ').replace('f1', 'F1')} {format_percent(metrics[name])}"
        + (f" {format_interval(intervals[name])}" if name in ("accuracy", "macro_f1") else "")
        + (_format_gain(metrics) if name == "accuracy" else "")
        for name in HEADLINES
    )
    fresh = metrics["without_copy_in_train"]
    copy = (
        "copy"
        if metrics["near_copies_known"]
        else "exact copy (run `curate dedup` to know the others)"
    )
    of_fresh = f", accuracy {format_percent(fresh['accuracy'])}" if fresh["rows"] else ""
    mask = (
        f" (trained under mask {metrics['mask']}, scored without)"
        if metrics["mask"] != "none"
        else ""
    )
    members = _format_members(metrics["spread"]) if "members" in metrics else ""
    counts = [
        member["test_reads"]
        for member in metrics.get("members", [metrics])
        if member.get("test_reads")
    ]
    reads = f"; reads of test so far: {', '.join(map(str, counts))}" if counts else ""
    return (
        f"evaluate: {metrics['run']} on {metrics['rows']:,} {metrics['evaluated']} rows{views}{mask}: {means}, "
        f"ECE {format_percent(metrics['ece'])}{members}; "
        f"{fresh['rows']:,} rows have no {copy} in train{of_fresh}{reads}"
    )


def _format_members(spread: Mapping[str, str]) -> str:
    """Mean and spread of the members' accuracy."""
    told = {
        "accuracy": "accuracy",
        "one_view": "by one view",
        "without_copy_in_train": "without copies in train",
    }
    return "; one by one: " + ", ".join(
        f"{words} {spread[name]}" for name, words in told.items() if name in spread
    )


def _format_gain(metrics: Mapping[str, Any]) -> str:
    if "tta_gain" not in metrics:
        return ""
    gain = metrics["tta_gain"]
    return (
        f" ({format_percent(metrics['one_view']['accuracy'])} by one view: gain {100 * gain['gain']:+.1f} "
        f"{format_interval(gain['interval'])} points)"
    )


def _format_plan(run_set: RunSet, tta: str) -> str:
    labels = run_set.seen.loc[run_set.rows, "label"]
    counts = ", ".join(f"{name} {count:,}" for name, count in count_labels(labels).items())
    return f"evaluate: would score {run_set.name} on {len(labels):,} {run_set.chosen} rows ({counts}) by --tta {tta}"
