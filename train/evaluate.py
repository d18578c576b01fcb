"""`train evaluate`: what a run is worth on rows that it did not learn from, and every look at the test rows counted.

Scoring is in float32 whatever the training was in, so it depends neither on the machine's precision nor on the batch size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.errors import ManifestError, UsageError
from curate.files import sha256_of, write_atomically
from curate.labels import find_view
from curate.laws import require_split
from curate.manifest import SPLITS, table_bytes
from curate.predictions import PREFIX
from curate.receipts import StageResult, new_receipt, write_receipt
from curate.views import count_outside, look_through, tell_outside
from curate.workspace import Workspace
from train.augment import plan_views
from train.backend import FLOAT32
from train.data import Images, Rows, count_labels, encode_labels, load_images, number_rows
from train.fields import Recipe
from train.fit import PREDICT_BATCH, predict_probs
from train.metrics import count_confusions, format_classes, format_percent, score_classes, score_predictions
from train.models import build_model
from train.plots import plot_confusion
from train.record import Record, count_read, find_newest_run, read_record, write_json

Probs = npt.NDArray[np.float64]
ROWS = (*SPLITS, "all")
READS = ("label", "status", "split")


@dataclass(frozen=True)
class Evaluation:
    """One line, the table per class for a terminal, and every score."""

    story: str
    table: str
    counts: Mapping[str, Any]


def evaluate_run(
    workspace: Workspace,
    run: Path | None = None,
    *,
    rows: str = "test",
    views: int = 1,
    seed: int = 0,
    batch_size: int = PREDICT_BATCH,
    dry_run: bool = False,
) -> Evaluation:
    """Score a run on the kept rows of a workspace, which may be another than the one it was trained in.

    The labels are seen through the view that the run was trained through; rows outside of it are counted, not scored.

    Parameters
    ----------
    run : folder of the run; None for the newest of the workspace
    rows : train, val, test, or all kept rows
    views : of test-time augmentation, 1 for none

    Raises
    ------
    RunError  if there is no such run
    ManifestError  if there are no such rows, or their labels are unknown to the run
    """
    if rows not in ROWS:
        raise UsageError(f"--rows {rows}: must be one of {', '.join(ROWS)}")
    known = read_record(run or find_newest_run(workspace.root / "runs"))
    manifest = workspace.read()
    if rows != "all":
        require_split(manifest)
    view = find_view(known.view)
    seen = look_through(manifest, view)
    chosen = _choose_rows(seen, rows)
    targets = encode_labels(seen.loc[chosen, "label"], known.classes, f"rows {rows}")
    if dry_run:
        return Evaluation(
            _tell_plan(known, seen.loc[chosen, "label"], rows, views) + tell_outside(manifest, view), "", {}
        )
    metrics: dict[str, Any] = {
        "run": known.folder.name, "recipe": known.recipe.name, "evaluated": rows, "views": views, "seed": seed,
        "manifest_sha256": sha256_of(workspace.manifest), "test_reads": None,
    }  # fmt: skip
    if (manifest.loc[chosen, "split"] == "test").any():
        metrics["test_reads"] = count_read(known.folder, rows, views, metrics["manifest_sha256"])
    images = load_images(workspace, manifest, known.recipe.size)
    probs, scores = _score_rows(known, images, manifest, chosen, targets, (views, seed, batch_size))
    metrics |= scores | ({"view": known.view, "outside": count_outside(manifest, view)} if known.view else {})
    place = rows if _is_at_home(known, workspace) else f"{workspace.root.name}-{rows}"
    folder = known.folder / f"evaluation-{place}"
    table = _write_evaluation(folder, known, seen.loc[chosen], targets, probs, metrics)
    told = Evaluation(_tell_story(metrics) + tell_outside(manifest, view), format_classes(table), metrics)
    if rows == "test" and _is_at_home(known, workspace):
        _write_receipt(workspace, manifest, known, told)
    return told


def load_model(weights: Path, recipe: Recipe, classes: int) -> Any:
    """The recipe's network in float32 with trained weights."""
    model = build_model(replace(recipe, weights="none"), classes, FLOAT32)
    model.load_weights(str(weights))
    model.jit_compile = False
    return model


def has_copy_in_train(manifest: pd.DataFrame, train_rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """(N,) whether the model was trained on the row itself, on its pixels, or on a member of its duplicate group.

    Parameters
    ----------
    manifest : N rows
    train_rows : path and pixel_hash of what the model was trained on
    """
    seen = manifest["path"].isin(train_rows["path"]) | manifest["pixel_hash"].isin(train_rows["pixel_hash"])
    groups = manifest.loc[seen, "duplicate_group"]
    grouped = (manifest["duplicate_group"] != "") & manifest["duplicate_group"].isin(groups)
    return (seen | grouped).to_numpy()


def _choose_rows(manifest: pd.DataFrame, rows: str) -> Rows:
    kept = manifest["status"] == "keep"
    chosen = number_rows(kept if rows == "all" else kept & (manifest["split"] == rows))
    if not len(chosen):
        fix = "run `curate build`" if rows == "all" else "run `curate split` first, or choose --rows all"
        raise ManifestError(f"manifest.csv: no kept row has split {rows}: {fix}")
    return chosen


def _score_rows(
    known: Record, images: Images, manifest: pd.DataFrame, rows: Rows, targets: Rows, viewing: tuple[int, int, int]
) -> tuple[Probs, dict[str, Any]]:
    """Probabilities of the rows, and their scores: by all views, without copies in train, and by one view."""
    views, seed, batch_size = viewing
    model = load_model(known.weights, known.recipe, len(known.classes))
    planned = plan_views(len(rows), known.recipe, known.recipe.size, views, seed)
    probs = predict_probs(model, images, rows, planned, batch_size)
    fresh = ~has_copy_in_train(manifest, known.read_train_rows())[rows]
    scores = score_predictions(targets, probs)
    scores["without_copy_in_train"] = score_predictions(targets[fresh], probs[fresh]) if fresh.any() else {"rows": 0}
    if views > 1:
        alone = predict_probs(model, images, rows, planned[:1], batch_size)
        scores["one_view"] = score_predictions(targets, alone)
    return probs, scores


def _write_evaluation(
    folder: Path, known: Record, rows: pd.DataFrame, targets: Rows, probs: Probs, metrics: Mapping[str, Any]
) -> pd.DataFrame:
    predicted = probs.argmax(axis=1)
    table = score_classes(targets, predicted, known.classes)
    confusions = count_confusions(targets, predicted, known.classes)
    beliefs = pd.DataFrame(probs, columns=[PREFIX + name for name in known.classes]).map("{:.6f}".format)
    beliefs.insert(0, "predicted", np.array(known.classes)[predicted])
    beliefs.insert(0, "label", rows["label"].to_numpy())
    beliefs.insert(0, "path", rows["path"].to_numpy())
    title = (
        f"{known.recipe.name} on {len(rows):,} {metrics['evaluated']} rows, accuracy {100 * metrics['accuracy']:.1f} %"
    )
    write_atomically(folder / "per_class.csv", table_bytes(table.round(6)))
    write_atomically(folder / "confusion.csv", table_bytes(confusions.reset_index()))
    write_atomically(folder / "confusion.png", plot_confusion(confusions, title))
    write_atomically(folder / "predictions.csv", table_bytes(beliefs))
    write_json(folder / "metrics.json", metrics)
    return table


def _is_at_home(known: Record, workspace: Workspace) -> bool:
    """Whether the run was trained in this workspace."""
    return known.folder.resolve().is_relative_to(workspace.root.resolve())


def _newest_run(workspace: Workspace) -> list[Path]:
    """The receipt of the last run, where there is one: a newer run makes the score stale."""
    file = workspace.root / "receipts" / "run.json"
    return [file] if file.is_file() else []


def _write_receipt(workspace: Workspace, manifest: pd.DataFrame, known: Record, told: Evaluation) -> None:
    """The score goes stale with the rows, and when another model takes the run's place."""
    options = {name: told.counts[name] for name in ("run", "views", "seed")}
    scores = {name: told.counts[name] for name in ("accuracy", "macro_f1", "test_reads")}
    result = StageResult(told.story, counts=scores)
    inputs = [known.weights, *_newest_run(workspace)]
    receipt = new_receipt(
        workspace.root, "evaluate", manifest, reads=READS, inputs=inputs, options=options, result=result
    )
    write_receipt(workspace.root, receipt, seconds=0.0)


def _tell_story(metrics: Mapping[str, Any]) -> str:
    views = f" by {metrics['views']} views" if metrics["views"] > 1 else ""
    one_view = f" ({format_percent(metrics['one_view']['accuracy'])} by one view)" if "one_view" in metrics else ""
    means = ", ".join(
        f"{words} {format_percent(metrics[name])}"
        for name, words in (
            ("balanced_accuracy", "balanced accuracy"),
            ("macro_f1", "macro F1"),
            ("weighted_f1", "weighted F1"),
        )
    )
    fresh = metrics["without_copy_in_train"]
    of_fresh = f", accuracy {format_percent(fresh['accuracy'])}" if fresh["rows"] else ""
    reads = f"; reads of test so far: {metrics['test_reads']}" if metrics["test_reads"] else ""
    return (
        f"evaluate: {metrics['run']} on {metrics['rows']:,} {metrics['evaluated']} rows{views}: "
        f"accuracy {format_percent(metrics['accuracy'])}{one_view}, {means}; "
        f"{fresh['rows']:,} rows have no copy in train{of_fresh}{reads}"
    )


def _tell_plan(known: Record, labels: "pd.Series[str]", rows: str, views: int) -> str:
    counts = ", ".join(f"{name} {count:,}" for name, count in count_labels(labels).items())
    return f"evaluate: would score {known.folder.name} on {len(labels):,} {rows} rows ({counts}) by {views} views"
