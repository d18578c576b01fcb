"""`train run`: one model from the kept rows of split train, chosen by split val; split test is never read.

The label is the verdict column `label`, as the view (`--classes 5`) sees it. The folder of the run holds everything that made
it and its best weights; while it trains, also the state of its last finished epoch, from which `--resume` goes on.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from curate import engine
from curate.errors import EXIT_INTERRUPTED, CandidError, UsageError
from curate.files import cannot_write, sha256_of, write_atomically
from curate.labels import find_view
from curate.manifest import table_bytes
from curate.receipts import StageResult, new_receipt, write_receipt
from curate.views import count_outside, tell_outside
from curate.workspace import Workspace
from train import record
from train.augment import plan_still
from train.backend import choose_precision
from train.data import MEMORY_BUDGET_BYTES, Examples, load_images
from train.distribute import find_worker, open_strategy
from train.fields import Recipe, from_json, to_json
from train.fit import fit_model, predict_probs
from train.loss import find_weights_file, tell_counts
from train.masks import mask_images
from train.material import Material, choose_rows, read_material
from train.metrics import find_best, format_percent, score_predictions, tell_spread
from train.opened import load_model
from train.plots import plot_curves
from train.watch import read_state, remove_states

READS = ("pixel_hash", "label", "status", "split")


class RunInterruptedError(CandidError):
    """Ctrl-C during the training: everything up to the last finished epoch is kept."""

    exit_code = EXIT_INTERRUPTED


@dataclass(frozen=True)
class RunOptions:
    """What a run is made of besides its recipe.

    Attributes
    ----------
    view : name of a view of the classes, empty for all; rows outside of it are not trained on
    runs : folder that holds the run's own; None for `runs` in the workspace
    name : of the run's folder; None for the time and the recipe
    tensorboard : whether a TensorBoard log is written into the run
    strategy : none, mirrored or multiworker, of `tf.distribute`
    stream : read batches from the disk through `tf.data`, as sets larger than memory are read anyway
    """

    view: str = ""
    seed: int = 0
    precision: str = "auto"
    runs: Path | None = None
    name: str | None = None
    tensorboard: bool = False
    strategy: str = "none"
    stream: bool = False


@dataclass(frozen=True)
class RunResult:
    """The folder of the run, its scores on val, and one line about it."""

    folder: Path
    story: str
    counts: Mapping[str, Any] = field(default_factory=dict)


def train_runs(
    workspace: Workspace,
    recipe: Recipe,
    options: RunOptions,
    *,
    seeds: int = 1,
    resume: bool = False,
    dry_run: bool = False,
) -> RunResult:
    """Train the recipe once, or once for each of `seeds` seeds, and tell the mean and the spread of the scores.

    Raises
    ------
    UsageError  if options exclude each other
    """
    if resume:
        if seeds > 1:
            raise UsageError("--resume and --seeds exclude each other: go on with one run at a time")
        if options.strategy == "multiworker":
            raise UsageError("--resume and --strategy multiworker exclude each other: go on with one worker")
        folder = _find_unfinished(workspace, options)
        recipe, options = read_options(folder, options)
        return train_run(workspace, recipe, options, resume=True, dry_run=dry_run)
    if seeds == 1:
        return train_run(workspace, recipe, options, dry_run=dry_run)
    stem = options.name or record.name_run(recipe)
    results = [
        train_run(workspace, recipe, replace(options, seed=seed, name=f"{stem}-s{seed}"), dry_run=dry_run)
        for seed in range(options.seed, options.seed + seeds)
    ]
    lines = [result.story for result in results]
    if not dry_run:
        scores = {name: [result.counts["val"][name] for result in results] for name in ("accuracy", "macro_f1")}
        told = ", ".join(f"val {name.replace('_', ' ')} {tell_spread(values)}" for name, values in scores.items())
        lines.append(f"run: {recipe.name}, {seeds} seeds: {told}")
    return RunResult(results[0].folder, "\n".join(lines), {"runs": [dict(result.counts) for result in results]})


def train_run(
    workspace: Workspace, recipe: Recipe, options: RunOptions, *, resume: bool = False, dry_run: bool = False
) -> RunResult:
    """Train the recipe on a workspace.

    Parameters
    ----------
    resume : go on with the run in the folder, which read the same manifest

    Raises
    ------
    ManifestError  if there is nothing to train or to validate on, or a photograph stands on both sides of the split
    WorkspaceError  if class weights are asked for and there are none that fit
    RunError  if the folder is taken
    RunInterruptedError  on Ctrl-C
    """
    if options.tensorboard:
        record.require_tensorboard()
    material = read_material(workspace, recipe, options.view)
    folder = (options.runs or workspace.root / "runs") / (options.name or record.name_run(recipe))
    outside = tell_outside(material.manifest, find_view(options.view))
    if folder.exists() and not record.is_unfinished(folder):
        raise record.RunError(f"{folder}: already exists: choose another --name")
    if dry_run:
        return RunResult(folder, _tell_plan(recipe, material.rows, folder) + outside)
    start = time.perf_counter()
    strategy = open_strategy(options.strategy)
    images = load_images(workspace, material.manifest, recipe.size, 0 if options.stream else MEMORY_BUDGET_BYTES)
    train, val = (choose_rows(material, images, split, recipe, options.view) for split in ("train", "val"))
    if find_worker(options.strategy):
        return _help_out(folder, recipe, material.classes, (train, val), options, strategy)
    if resume:
        policy = record.read_precision(folder)
        if record.read_made(folder)["class_weights"] != material.class_weights:
            raise record.RunError(
                f"{folder}: the class weights have changed since this run began: train anew, without --resume"
            )
    else:
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run of this name left
        policy = _write_record(folder, recipe, options, material, workspace, train)
    history = _fit(folder, recipe, material.classes, (train, val), options, policy, resume, strategy)
    result = _finish(folder, recipe, material.classes, history, val, start, outside)
    weights_file = find_weights_file(recipe.class_weights, workspace.class_weights)
    made = {"recipe": to_json(recipe), "seed": options.seed} | ({"view": options.view} if options.view else {})
    receipt = new_receipt(
        workspace.root, "run", material.manifest, reads=(*READS, *(["votes"] if recipe.soft_labels else [])),
        inputs=[weights_file] if weights_file else [], options=made,
        result=StageResult(result.story, counts=result.counts),
    )  # fmt: skip
    write_receipt(workspace.root, receipt, seconds=time.perf_counter() - start)
    return result


def read_options(folder: Path, options: RunOptions) -> tuple[Recipe, RunOptions]:
    """The recipe and the options of an unfinished run, so that it goes on as it began."""
    made = record.read_made(folder)
    known = replace(options, view=made.get("view", ""), seed=made["seed"], runs=folder.parent, name=folder.name)
    return from_json(made["recipe"]), known


def _find_unfinished(workspace: Workspace, options: RunOptions) -> Path:
    """The folder to go on with; the manifest must be the one that its run began on."""
    runs = options.runs or workspace.root / "runs"
    folder = runs / options.name if options.name else record.find_unfinished_run(runs)
    if not record.is_unfinished(folder):
        raise record.RunError(f"{folder}: there is no unfinished run here: leave --resume out, or name another")
    if record.read_made(folder)["manifest_sha256"] != sha256_of(workspace.manifest):
        raise record.RunError(f"{folder}: the manifest has changed since this run began: train anew, without --resume")
    return folder


def _write_record(
    folder: Path, recipe: Recipe, options: RunOptions, material: Material, workspace: Workspace, train: Examples
) -> str:
    """Note what the run is made of before it starts; returns the precision it trains in."""
    policy, reason = choose_precision(options.precision)
    made: dict[str, Any] = {
        "recipe": to_json(recipe), "seed": options.seed, "classes": material.classes,
        "class_weights": material.class_weights, "rows": material.rows,
    }  # fmt: skip
    if options.view:
        made |= {"view": options.view, "outside": count_outside(material.manifest, find_view(options.view))}
    made |= {
        "manifest_sha256": sha256_of(workspace.manifest),
        "precision": policy,
        "precision_reason": reason,
        "started_at": record.tell_time(),
        "versions": record.describe_machine(),
    }
    record.write_json(folder / record.RECIPE, made)
    rows = material.manifest.loc[train.rows, ["path", "pixel_hash"]]
    write_atomically(folder / record.TRAIN_ROWS, table_bytes(rows))
    return policy


def _fit(
    folder: Path,
    recipe: Recipe,
    classes: Sequence[str],
    examples: tuple[Examples, Examples],
    options: RunOptions,
    policy: str,
    resume: bool,
    strategy: Any,
) -> list[dict[str, float]]:
    train, val = examples
    steps = recipe.epochs * -(-len(train.rows) // recipe.batch_size)
    watchers = [record.open_tensorboard(folder)] if options.tensorboard else []
    try:
        with engine.progress(steps, f"train {recipe.name}") as bar:
            _, history = fit_model(
                recipe, len(classes), train, seed=(options.seed,), precision=policy, bar=bar, val=val, folder=folder,
                resume=resume, watchers=watchers, strategy=strategy,
            )  # fmt: skip
        return history
    except KeyboardInterrupt as stop:
        state = read_state(folder)
        if state is not None:
            _write_history(folder, recipe, state.history)
        raise RunInterruptedError(
            f"{folder}: interrupted; {state.epoch if state else 0} of {recipe.epochs} epochs are kept: "
            f"`train run --resume --name {folder.name}` goes on"
        ) from stop
    except OSError as error:  # the weights are the one file that Keras writes by itself
        raise cannot_write(folder / record.WEIGHTS, error) from error


def _help_out(
    folder: Path,
    recipe: Recipe,
    classes: Sequence[str],
    examples: tuple[Examples, Examples],
    options: RunOptions,
    strategy: Any,
) -> RunResult:
    """A worker other than the first: it computes its share and writes nothing."""
    train, val = examples
    policy, _ = choose_precision(options.precision)
    with engine.progress(recipe.epochs * -(-len(train.rows) // recipe.batch_size), f"train {recipe.name}") as bar:
        fit_model(
            recipe, len(classes), train, seed=(options.seed,), precision=policy, bar=bar, val=val, strategy=strategy
        )
    worker = find_worker(options.strategy)
    return RunResult(folder, f"run: worker {worker} is done; the first worker writes the run", {"worker": worker})


def _write_history(folder: Path, recipe: Recipe, history: list[dict[str, float]]) -> pd.DataFrame:
    table = pd.DataFrame(history)
    table.insert(0, "epoch", range(1, len(table) + 1))
    write_atomically(folder / record.HISTORY, table_bytes(table))
    write_atomically(folder / record.CURVES, plot_curves(history, f"{recipe.name}: {folder.name}", recipe.monitor))
    return table


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
    table = _write_history(folder, recipe, history)
    model = load_model(folder / record.WEIGHTS, recipe, len(classes))
    looks = plan_still(len(val.rows))
    probs = predict_probs(model, val.images, val.rows, looks, change=lambda images: mask_images(images, recipe.mask))
    scores = score_predictions(val.targets, probs)
    best, seconds = find_best(history, recipe.monitor), time.perf_counter() - start
    metrics = {
        "val": scores, "epochs": len(table), "best_epoch": best, "seconds": round(seconds, 1),
        "resources": record.measure_resources(),
    }  # fmt: skip
    record.write_json(folder / record.METRICS, metrics)
    remove_states(folder)
    under = f" under mask {recipe.mask}" if recipe.mask != "none" else ""
    story = (
        f"run: {recipe.name}, {len(table)} epochs (best {best}), "
        f"val accuracy{under} {format_percent(scores['accuracy'])}, macro F1 {format_percent(scores['macro_f1'])}, "
        f"{seconds:.0f} s{outside} -> {folder}"
    )
    return RunResult(folder, story, {**metrics, "folder": str(folder)})


def _tell_plan(recipe: Recipe, counts: Mapping[str, Mapping[str, int]], folder: Path) -> str:
    per_split = "; ".join(
        f"{split} {sum(labels.values()):,} rows ({tell_counts(labels)})" for split, labels in counts.items()
    )
    return f"run: would train {recipe.name} for up to {recipe.epochs} epochs on {per_split} -> {folder}"
