"""`train run`: one model from the kept rows of split train, chosen by split val; split test is never read.

The label is the verdict column `label`, as the view (`--classes 5`) sees it. The folder of the run holds everything that made
it and its best weights.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate import engine
from curate.errors import ManifestError, WorkspaceError
from curate.files import cannot_write, sha256_of, write_atomically
from curate.labels import find_view
from curate.laws import require_split
from curate.manifest import kept_rows, table_bytes
from curate.receipts import StageResult, new_receipt, write_receipt
from curate.views import count_outside, look_through, tell_outside
from curate.workspace import Workspace
from train import record
from train.augment import plan_views
from train.backend import choose_precision
from train.data import Examples, Images, count_labels, encode_labels, list_classes, load_images, number_rows
from train.evaluate import load_model
from train.fit import fit_model, predict_probs
from train.metrics import format_percent, score_predictions
from train.plots import plot_curves
from train.recipes import Recipe, to_json

READS = ("pixel_hash", "label", "status", "split")


@dataclass(frozen=True)
class RunResult:
    """The folder of the run, its scores on val, and one line about it."""

    folder: Path
    story: str
    counts: Mapping[str, Any] = field(default_factory=dict)


def train_run(
    workspace: Workspace,
    recipe: Recipe,
    *,
    use_class_weights: bool = False,
    view: str = "",
    seed: int = 0,
    precision: str = "auto",
    runs: Path | None = None,
    name: str | None = None,
    dry_run: bool = False,
) -> RunResult:
    """Train the recipe on a workspace.

    Parameters
    ----------
    view : name of a view of the classes, empty for all; rows outside of it are not trained on
    runs : folder that holds the run's own; None for `runs` in the workspace
    name : of the run's folder; None for the time and the recipe

    Raises
    ------
    ManifestError  if there is nothing to train or to validate on, or a photograph stands on both sides of the split
    WorkspaceError  if class weights are asked for and there are none that fit
    RunError  if the folder is taken
    """
    manifest = workspace.read()
    require_split(manifest)
    through = find_view(view)
    seen = look_through(manifest, through)
    classes, counts = _count_rows(seen)
    weights = _read_class_weights(workspace.class_weights, counts["train"]) if use_class_weights else None
    folder = (runs or workspace.root / "runs") / (name or record.name_run(recipe))
    if folder.exists() and not record.is_unfinished(folder):
        raise record.RunError(f"{folder}: already exists: choose another --name")
    if dry_run:
        return RunResult(folder, _tell_plan(recipe, counts, folder) + tell_outside(manifest, through))
    start = time.perf_counter()
    shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run of this name left
    images = load_images(workspace, manifest, recipe.size)
    train, val = (_choose_rows(seen, images, split, classes, weights) for split in ("train", "val"))
    made = {"recipe": to_json(recipe), "seed": seed, "classes": classes, "class_weights": weights, "rows": counts}
    made |= {"view": view, "outside": count_outside(manifest, through)} if view else {}
    policy = _write_record(folder, made, workspace, manifest.loc[train.rows, ["path", "pixel_hash"]], precision)
    history = _fit(folder, recipe, len(classes), train, val, seed, policy)
    result = _finish(folder, recipe, classes, history, val, start, tell_outside(manifest, through))
    inputs = [workspace.class_weights] if use_class_weights else []
    told = StageResult(result.story, counts=result.counts)
    options = {"recipe": to_json(recipe), "seed": seed} | ({"view": view} if view else {})
    receipt = new_receipt(workspace.root, "run", manifest, reads=READS, inputs=inputs, options=options, result=told)
    write_receipt(workspace.root, receipt, seconds=time.perf_counter() - start)
    return result


def _write_record(
    folder: Path, made: Mapping[str, Any], workspace: Workspace, train_rows: pd.DataFrame, precision: str
) -> str:
    """Note what the run is made of before it starts; returns the precision it trains in."""
    policy, reason = choose_precision(precision)
    values = {
        **made,
        "manifest_sha256": sha256_of(workspace.manifest),
        "precision": policy,
        "precision_reason": reason,
        "started_at": record.tell_time(),
        "versions": record.describe_machine(),
    }
    record.write_json(folder / record.RECIPE, values)
    write_atomically(folder / record.TRAIN_ROWS, table_bytes(train_rows))
    return policy


def _fit(
    folder: Path, recipe: Recipe, classes: int, train: Examples, val: Examples, seed: int, policy: str
) -> list[dict[str, float]]:
    steps = recipe.epochs * -(-len(train.rows) // recipe.batch_size)
    best = folder / record.WEIGHTS
    try:
        with engine.progress(steps, f"train {recipe.name}") as bar:
            _, history = fit_model(
                recipe, classes, train, seed=(seed,), precision=policy, bar=bar, val=val, checkpoint=best
            )
        return history
    except OSError as error:  # the weights are the one file that Keras writes by itself
        raise cannot_write(best, error) from error


def _finish(
    folder: Path,
    recipe: Recipe,
    classes: list[str],
    history: list[dict[str, float]],
    val: Examples,
    start: float,
    outside: str,
) -> RunResult:
    """Write history, curves and, last, the scores of the best weights on val."""
    table = pd.DataFrame(history)
    table.insert(0, "epoch", range(1, len(table) + 1))
    write_atomically(folder / record.HISTORY, table_bytes(table))
    write_atomically(folder / record.CURVES, plot_curves(history, f"{recipe.name}: {folder.name}"))
    model = load_model(folder / record.WEIGHTS, recipe, len(classes))
    probs = predict_probs(model, val.images, val.rows, plan_views(len(val.rows), recipe, recipe.size, 1, 0))
    scores = score_predictions(val.targets, probs)
    best, seconds = int(np.argmax(table["val_accuracy"])) + 1, time.perf_counter() - start
    metrics = {"val": scores, "epochs": len(table), "best_epoch": best, "seconds": round(seconds, 1)}
    record.write_json(folder / record.METRICS, metrics)
    story = (
        f"run: {recipe.name}, {len(table)} epochs (best {best}), "
        f"val accuracy {format_percent(scores['accuracy'])}, macro F1 {format_percent(scores['macro_f1'])}, "
        f"{seconds:.0f} s{outside} -> {folder}"
    )
    return RunResult(folder, story, {**metrics, "folder": str(folder)})


def _count_rows(manifest: pd.DataFrame) -> tuple[list[str], dict[str, dict[str, int]]]:
    """The classes of split train, and the kept rows per split and class."""
    kept = kept_rows(manifest)
    counts = {split: count_labels(kept.loc[kept["split"] == split, "label"]) for split in ("train", "val")}
    for split, labels in counts.items():
        if not labels:
            raise ManifestError(f"manifest.csv: no kept row has split {split}: run `curate split` first")
    classes = list_classes(kept.loc[kept["split"] == "train", "label"])
    if len(classes) < 2:
        raise ManifestError(
            f"manifest.csv: the rows of split train are all {classes[0]}: there is nothing to tell apart"
        )
    return classes, counts


def _choose_rows(
    manifest: pd.DataFrame, images: Images, split: str, classes: list[str], weights: Mapping[str, float] | None
) -> Examples:
    rows = number_rows((manifest["status"] == "keep") & (manifest["split"] == split))
    targets = encode_labels(manifest.loc[rows, "label"], classes, f"split {split}")
    factors = np.array([weights[name] if weights else 1.0 for name in classes], np.float32)
    return Examples(images, rows, targets, factors[targets])


def _read_class_weights(file: Path, counts: Mapping[str, int]) -> dict[str, float]:
    if not file.is_file():
        raise WorkspaceError(f"{file}: there are no class weights here: run `curate weights` first")
    try:
        table = pd.read_csv(file, dtype={"class": str, "count": int, "weight": float}, keep_default_na=False)
        weights = dict(zip(table["class"], table["weight"], strict=True))
        counted = dict(zip(table["class"], table["count"], strict=True))
    except (ValueError, KeyError) as error:
        raise WorkspaceError(f"{file}: no table of class, count, weight: run `curate weights` again") from error
    if counted != dict(counts):
        raise WorkspaceError(
            f"{file}: the weights are for {_tell_counts(counted)}, but the rows of split train are {_tell_counts(counts)}: "
            "run `curate weights` again"
        )
    return {name: float(weights[name]) for name in counts}


def _tell_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _tell_plan(recipe: Recipe, counts: Mapping[str, Mapping[str, int]], folder: Path) -> str:
    per_split = "; ".join(
        f"{split} {sum(labels.values()):,} rows ({_tell_counts(labels)})" for split, labels in counts.items()
    )
    return f"run: would train {recipe.name} for up to {recipe.epochs} epochs on {per_split} -> {folder}"
