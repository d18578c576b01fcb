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
from curate.manifest import table_bytes
from curate.predictions import PREFIX
from curate.receipts import StageResult, new_receipt, read_receipts, write_receipt
from curate.workspace import Workspace
from train.calibration import bin_confidences, calibration_error
from train.data import Rows, count_labels
from train.fit import PREDICT_BATCH, predict_probs
from train.intervals import bootstrap_gain, bootstrap_scores
from train.metrics import (
    count_confusions,
    format_classes,
    format_interval,
    format_percent,
    score_classes,
    score_predictions,
    tell_spread,
)
from train.opened import Opened, Probs, open_runs
from train.plots import plot_confusion, plot_reliability
from train.record import write_json
from train.result import Result
from train.tta import count_views, plan_tta, require_views

READS = ("label", "status", "split")
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
    opened = open_runs(workspace, runs, rows=rows, classes=classes)
    for record in opened.known:
        require_views(tta, record.recipe)
    if dry_run:
        return Result(_tell_plan(opened, tta) + opened.tell_outside())
    models, fresh = opened.load_models(), find_fresh(opened)
    reads = opened.count_reads(views)
    metrics: dict[str, Any] = {
        "run": opened.name, "recipe": "+".join(dict.fromkeys(record.recipe.name for record in opened.known)),
        "mask": "+".join(dict.fromkeys(record.recipe.mask for record in opened.known)), "evaluated": rows,
        "views": views, "tta": tta, "seed": seed,
        "manifest_sha256": opened.manifest_sha256, "test_reads": max(reads, default=None),
    }  # fmt: skip
    probs, alone = predict_runs(opened, models, tta, seed, batch_size)
    metrics |= score_all(opened, fresh, np.mean(probs, axis=0), np.mean(alone, axis=0) if views > 1 else None, seed)
    if len(probs) > 1:
        metrics |= _score_members(opened, fresh, probs, alone, reads)
    metrics |= {"view": opened.known[0].view, "outside": opened.outside} if opened.views else {}
    folder = _choose_folder(opened, classes)
    table = _write_evaluation(folder, opened, np.mean(probs, axis=0), metrics)
    story = f"{_tell_story(metrics)}{opened.tell_outside()} -> {folder}"
    told = Result(story, metrics | {"folder": str(folder)}, format_classes(table))
    if rows == "test" and opened.is_home and len(opened.known) == 1 and classes is None:
        _write_receipt(opened, told, time.perf_counter() - start)
    return told


def predict_runs(
    opened: Opened, models: Sequence[Any], tta: str, seed: int, batch_size: int = PREDICT_BATCH
) -> tuple[list[Probs], list[Probs]]:
    """(N, K) probabilities of each run by all views, and by the image alone (nothing where that is the same)."""
    by_views, alone = [], []
    keys = opened.manifest.loc[opened.rows, "pixel_hash"].tolist()
    images = {size: opened.read_images(size) for size in {record.recipe.size for record in opened.known}}
    for record, model in zip(opened.known, models, strict=True):
        pixels = images[record.recipe.size]
        views = plan_tta(tta, keys, record.recipe, seed)
        by_views.append(opened.merge_probs(predict_probs(model, pixels, opened.rows, views, batch_size)))
        if len(views) > 1:
            first = predict_probs(model, pixels, opened.rows, views[:1], batch_size)
            alone.append(opened.merge_probs(first))
    return by_views, alone


def score_all(
    opened: Opened, fresh: npt.NDArray[np.bool_], probs: Probs, alone: Probs | None, seed: int
) -> dict[str, Any]:
    """Every score of the rows, with intervals: of all, of the `fresh` without a copy in train, and the gain by TTA."""
    targets = opened.targets
    scores = _score_with_intervals(targets, probs, opened.classes, seed)
    scores["without_copy_in_train"] = (
        _score_with_intervals(targets[fresh], probs[fresh], opened.classes, seed) if fresh.any() else {"rows": 0}
    )
    scores["near_copies_known"] = knows_near_copies(opened)
    if alone is not None:
        scores["one_view"] = score_predictions(targets, alone)
        right = [each.argmax(axis=1) == targets for each in (alone, probs)]
        scores["tta_gain"] = bootstrap_gain(right[0], right[1], seed)
    return scores


def find_fresh(opened: Opened) -> npt.NDArray[np.bool_]:
    """(n,) whether a scored row has no copy among those that the models learned from."""
    train_rows = pd.concat([record.read_train_rows() for record in opened.known])
    return ~has_copy_in_train(opened.manifest, train_rows)[opened.rows]


def knows_near_copies(opened: Opened) -> bool:
    """Whether `curate dedup` has looked for copies here that are not identical, as it does without `--exact-only`."""
    receipt = read_receipts(opened.workspace.root).get("dedup", {})
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


def _score_with_intervals(targets: Rows, probs: Probs, classes: Sequence[str], seed: int) -> dict[str, Any]:
    scores = score_predictions(targets, probs)
    confusions = count_confusions(targets, probs.argmax(axis=1), classes).to_numpy()
    scores["ece"] = calibration_error(bin_confidences(targets, probs))
    scores["intervals"] = bootstrap_scores(confusions, seed)
    return scores


def _score_members(
    opened: Opened,
    fresh: npt.NDArray[np.bool_],
    probs: Sequence[Probs],
    alone: Sequence[Probs],
    reads: Sequence[int],
) -> dict[str, Any]:
    """The runs of an ensemble one by one, and the mean and spread of their scores, of those without copies and by one view."""
    targets = opened.targets
    members: list[dict[str, Any]] = []
    for number, (record, each) in enumerate(zip(opened.known, probs, strict=True)):
        scores = score_predictions(targets, each)
        member = {"run": record.folder.name, **{name: scores[name] for name in HEADLINES}}
        if fresh.any():
            member["without_copy_in_train"] = score_predictions(targets[fresh], each[fresh])["accuracy"]
        if alone:
            member["one_view"] = score_predictions(targets, alone[number])["accuracy"]
        members.append(member)
    for member, count in zip(members, reads, strict=False):
        member["test_reads"] = count
    names = [*HEADLINES, *(name for name in ("without_copy_in_train", "one_view") if name in members[0])]
    return {"members": members, "spread": {name: tell_spread([one[name] for one in members]) for name in names}}


def _choose_folder(opened: Opened, classes: str | None) -> Path:
    """Inside the run, or beside the runs for an ensemble."""
    name = f"evaluation-{opened.take_place()}{f'-{classes}' if classes else ''}"
    if len(opened.known) == 1:
        return opened.known[0].folder / name
    beside = opened.known[0].folder.parent
    places = [os.path.relpath(record.folder.resolve(), beside.resolve()) for record in opened.known]
    digest = hashlib.sha256("+".join(places).encode()).hexdigest()[:8]
    return beside / f"ensemble-{len(places)}-{digest}" / name


def _write_evaluation(folder: Path, opened: Opened, probs: Probs, metrics: Mapping[str, Any]) -> pd.DataFrame:
    predicted = probs.argmax(axis=1)
    table = score_classes(opened.targets, predicted, opened.classes)
    confusions = count_confusions(opened.targets, predicted, opened.classes)
    reliability = bin_confidences(opened.targets, probs)
    on = f"{metrics['recipe']} on {len(opened.rows):,} {opened.chosen} rows"
    write_atomically(folder / "per_class.csv", table_bytes(table.round(6)))
    write_atomically(folder / "confusion.csv", table_bytes(confusions.reset_index()))
    title = f"{on}, accuracy {format_percent(metrics['accuracy'])}"
    write_atomically(folder / "confusion.png", plot_confusion(confusions, title))
    write_atomically(folder / "calibration.csv", table_bytes(reliability.round(6)))
    title = f"{on}, ECE {format_percent(metrics['ece'])}"
    write_atomically(folder / "calibration.png", plot_reliability(reliability, title))
    write_atomically(folder / "predictions.csv", table_bytes(list_beliefs(opened, probs)))
    write_json(folder / "metrics.json", metrics)
    return table


def list_beliefs(opened: Opened, probs: Probs) -> pd.DataFrame:
    """path, label, predicted and one probability per class."""
    beliefs = pd.DataFrame(probs, columns=[PREFIX + name for name in opened.classes]).map("{:.6f}".format)
    beliefs.insert(0, "predicted", np.array(opened.classes)[probs.argmax(axis=1)])
    beliefs.insert(0, "label", opened.seen.loc[opened.rows, "label"].to_numpy())
    beliefs.insert(0, "path", opened.seen.loc[opened.rows, "path"].to_numpy())
    return beliefs


def _write_receipt(opened: Opened, told: Result, seconds: float) -> None:
    """The score goes stale with the rows, and when another model takes the run's place."""
    root = opened.workspace.root
    options = {name: told.counts[name] for name in ("run", "views", "seed")}
    scores = {name: told.counts[name] for name in ("accuracy", "macro_f1", "test_reads")}
    newest = root / "receipts" / "run.json"
    inputs = [opened.known[0].weights, *([newest] if newest.is_file() else [])]
    result = StageResult(told.story, counts=scores)
    receipt = new_receipt(root, "evaluate", opened.manifest, reads=READS, inputs=inputs, options=options, result=result)
    write_receipt(root, receipt, seconds=seconds)


def _tell_story(metrics: Mapping[str, Any]) -> str:
    views = f" by {metrics['views']} views" if metrics["views"] > 1 else ""
    intervals = metrics["intervals"]
    means = ", ".join(
        f"{name.replace('_', ' ').replace('f1', 'F1')} {format_percent(metrics[name])}"
        + (f" {format_interval(intervals[name])}" if name in ("accuracy", "macro_f1") else "")
        + (_tell_gain(metrics) if name == "accuracy" else "")
        for name in HEADLINES
    )
    fresh = metrics["without_copy_in_train"]
    copy = "copy" if metrics["near_copies_known"] else "exact copy (run `curate dedup` to know the others)"
    of_fresh = f", accuracy {format_percent(fresh['accuracy'])}" if fresh["rows"] else ""
    mask = f" (trained under mask {metrics['mask']}, scored without)" if metrics["mask"] != "none" else ""
    members = _tell_members(metrics["spread"]) if "members" in metrics else ""
    counts = [member["test_reads"] for member in metrics.get("members", [metrics]) if member.get("test_reads")]
    reads = f"; reads of test so far: {', '.join(map(str, counts))}" if counts else ""
    return (
        f"evaluate: {metrics['run']} on {metrics['rows']:,} {metrics['evaluated']} rows{views}{mask}: {means}, "
        f"ECE {format_percent(metrics['ece'])}{members}; "
        f"{fresh['rows']:,} rows have no {copy} in train{of_fresh}{reads}"
    )


def _tell_members(spread: Mapping[str, str]) -> str:
    """Mean and spread of the members' accuracy."""
    told = {"accuracy": "accuracy", "one_view": "by one view", "without_copy_in_train": "without copies in train"}
    return "; one by one: " + ", ".join(f"{words} {spread[name]}" for name, words in told.items() if name in spread)


def _tell_gain(metrics: Mapping[str, Any]) -> str:
    if "tta_gain" not in metrics:
        return ""
    gain = metrics["tta_gain"]
    return (
        f" ({format_percent(metrics['one_view']['accuracy'])} by one view: gain {100 * gain['gain']:+.1f} "
        f"{format_interval(gain['interval'])} points)"
    )


def _tell_plan(opened: Opened, tta: str) -> str:
    labels = opened.seen.loc[opened.rows, "label"]
    counts = ", ".join(f"{name} {count:,}" for name, count in count_labels(labels).items())
    return f"evaluate: would score {opened.name} on {len(labels):,} {opened.chosen} rows ({counts}) by --tta {tta}"
