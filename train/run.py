"""One model from the kept rows of split train, chosen by split val; split test is never read.

The label is the verdict column `label`, as the view (`--classes 5`) sees it. The folder of the run holds everything that made
it and its best weights; while it trains, also the state of its last finished epoch, from which `--resume` goes on
(`train.resume`).
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate import engine
from curate.errors import EXIT_INTERRUPTED, CandidError
from curate.files import write_atomically
from curate.labels import find_view
from curate.manifest import table_bytes
from curate.receipts import StageResult, new_receipt, write_receipt
from curate.views import count_outside, tell_outside
from curate.workspace import Workspace
from train import record
from train.augment import plan_still
from train.backend import choose_precision, describe_machine, keras
from train.damage import RunError
from train.data import MEMORY_BUDGET_BYTES, Examples, load_images
from train.distribute import find_worker, open_strategy
from train.feed import count_steps
from train.fields import Recipe, to_json
from train.fit import DivergedError, fit_model, predict_probs
from train.loss import find_weights_file, tell_counts
from train.masks import mask_images
from train.material import Material, choose_rows, read_material
from train.metrics import format_percent, score_predictions
from train.models import require_buildable
from train.opened import load_model
from train.plots import plot_curves
from train.recipes import settle_batch
from train.watch import State, read_state, remove_states

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
    seeds : models of one recipe; this one is that of `seed`, the first that of `first_seed`
    runs : folder that holds the run's own; None for `runs` in the workspace
    name : of the run's folder, or of the folders of all seeds; None for the time and the recipe
    tensorboard : whether a TensorBoard log is written into the run
    strategy : none, mirrored or multiworker, of `tf.distribute`
    stream : read batches from the disk, as sets larger than memory are read anyway
    """

    view: str = ""
    seed: int = 0
    seeds: int = 1
    first_seed: int = 0
    precision: str = "auto"
    runs: Path | None = None
    name: str | None = None
    tensorboard: bool = False
    strategy: str = "none"
    stream: bool = False

    @property
    def end(self) -> str:
        """What the name of a run ends with, where there are several seeds."""
        return f"-s{self.seed}" if self.seeds > 1 else ""


@dataclass(frozen=True)
class RunResult:
    """The folder of the run, its scores on val, and one line about it."""

    folder: Path
    story: str
    counts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Begun:
    """A run whose folder is made: where it is, the number format it trains in, and what it has taken so far."""

    folder: Path
    precision: str
    reason: str
    state: State | None = None


def train_run(
    workspace: Workspace,
    recipe: Recipe,
    options: RunOptions,
    *,
    resumed: Path | None = None,
    manifest_sha256: str | None = None,
    dry_run: bool = False,
) -> RunResult:
    """Train the recipe on a workspace.

    Parameters
    ----------
    resumed : go on with the run in that folder
    manifest_sha256 : of the manifest that this run, or the first of its seeds, began with; None where it is the first

    Raises
    ------
    ManifestError  if there is nothing to train or to validate on, or a photograph stands on both sides of the split
    WorkspaceError  if class weights are asked for and there are none that fit
    RunError  if the folder is taken, another command trains in it, or the manifest has changed since it began
    DivergedError  if the loss is no number any more
    RunInterruptedError  on Ctrl-C
    """
    if options.tensorboard:
        record.require_tensorboard()
    material = read_material(workspace, recipe, options.view)
    if manifest_sha256 not in (None, material.sha256):
        raise RunError(f"{workspace.manifest}: has changed since this training began: train anew under another --name")
    runs, name = options.runs or workspace.root / "runs", options.name or record.name_run(recipe)
    worker = find_worker(options.strategy)
    precision = choose_precision(options.precision) if resumed is None else record.read_precision(resumed)
    is_first = resumed is None and options.seed == options.first_seed
    recipe = settle_batch(recipe, sum(material.rows["train"].values()))
    if dry_run:
        if is_first:
            require_buildable(recipe, len(material.classes))
        for split in ("train", "val"):
            choose_rows(material, np.zeros((0, 1, 1), np.uint8), split, recipe, options.view)
        folder = resumed or runs / f"{name}{options.end}"
        outside = tell_outside(material.manifest, find_view(options.view))
        return RunResult(folder, _tell_plan(recipe, material.rows, folder, precision) + outside)
    start = time.perf_counter(), record.count_cpu_seconds()
    strategy = open_strategy(options.strategy)  # TensorFlow wants it before the first network
    if is_first:
        require_buildable(recipe, len(material.classes))
    images = load_images(workspace, material.manifest, recipe.size, 0 if options.stream else MEMORY_BUDGET_BYTES)
    train, val = (choose_rows(material, images, split, recipe, options.view) for split in ("train", "val"))
    if worker:
        return _help_out(runs / name, recipe, material.classes, (train, val), options, precision[0], strategy)
    folder = resumed or record.make_folder(runs, name, options.end, is_given=options.name is not None)
    with record.hold_folder(folder):
        if resumed is None:
            stem = folder.name.removesuffix(options.end)
            _write_record(folder, recipe, replace(options, name=stem), material, workspace, train, precision)
        begun = read_begun(folder, material)
        history = _fit(begun, recipe, material.classes, (train, val), options, strategy)
        result = _finish(begun, recipe, material, options, history, val, start)
        _write_receipt(workspace, recipe, material, options, result, time.perf_counter() - start[0])
    return result


def read_begun(folder: Path, material: Material) -> Begun:
    """The run in that folder, begun just now or to be gone on with.

    Raises
    ------
    RunError  if it began under other class weights, or another command has ended it meanwhile
    """
    if not record.is_unfinished(folder):
        raise RunError(f"{folder}: another command has ended this run")
    if record.read_made(folder)["class_weights"] != material.class_weights:
        raise RunError(f"{folder}: the class weights have changed since this run began: train anew, without --resume")
    return Begun(folder, *record.read_precision(folder), read_state(folder))


def _write_record(
    folder: Path,
    recipe: Recipe,
    options: RunOptions,
    material: Material,
    workspace: Workspace,
    train: Examples,
    precision: tuple[str, str],
) -> None:
    """Note what the run is made of before it starts."""
    made: dict[str, Any] = {
        "recipe": to_json(recipe), "seed": options.seed, "classes": material.classes,
        "class_weights": material.class_weights, "rows": material.rows,
    }  # fmt: skip
    if options.view:
        made |= {"view": options.view, "outside": count_outside(material.manifest, find_view(options.view))}
    if options.seeds > 1:
        made |= {"series": {"name": options.name, "seed": options.first_seed, "seeds": options.seeds}}
    made |= {
        "options": {name: getattr(options, name) for name in ("precision", "strategy", "stream", "tensorboard")},
        "workspace": os.path.relpath(workspace.root.resolve(), folder.resolve()),
        "manifest_sha256": material.sha256,
        "precision": precision[0],
        "precision_reason": precision[1],
        "started_at": record.tell_time(),
        "backend": keras.backend.backend(),
        "machine": describe_machine(),
        "versions": record.list_versions(),
    }
    rows = material.manifest.loc[train.rows, ["path", "pixel_hash"]]
    write_atomically(folder / record.TRAIN_ROWS, table_bytes(rows))
    record.write_json(folder / record.RECIPE, made)


def _fit(
    begun: Begun,
    recipe: Recipe,
    classes: Sequence[str],
    examples: tuple[Examples, Examples],
    options: RunOptions,
    strategy: Any,
) -> list[dict[str, float]]:
    train, val = examples
    folder, steps = begun.folder, recipe.epochs * count_steps(recipe, len(train.rows))
    watchers = [record.open_tensorboard(folder)] if options.tensorboard else []
    try:
        with engine.progress(steps, f"train {recipe.name}") as bar:
            _, history = fit_model(
                recipe, len(classes), train, seed=(options.seed,), precision=begun.precision, bar=bar, val=val,
                folder=folder, resume=begun.state is not None, watchers=watchers, strategy=strategy,
            )  # fmt: skip
        return history
    except (KeyboardInterrupt, DivergedError) as stop:
        state = read_state(folder)
        if state is not None:
            _write_history(folder, recipe, state.history)
        kept = f"{state.epoch if state else 0} of {recipe.epochs} epochs are kept"
        if isinstance(stop, DivergedError):
            raise DivergedError(f"{folder}: {stop}; {kept}") from stop
        raise RunInterruptedError(f"{folder}: interrupted; {kept}: {record.tell_resume(folder)} goes on") from stop


def _help_out(
    folder: Path,
    recipe: Recipe,
    classes: Sequence[str],
    examples: tuple[Examples, Examples],
    options: RunOptions,
    precision: str,
    strategy: Any,
) -> RunResult:
    """A worker other than the first: it computes its share and writes nothing."""
    train, val = examples
    with engine.progress(recipe.epochs * count_steps(recipe, len(train.rows)), f"train {recipe.name}") as bar:
        fit_model(
            recipe, len(classes), train, seed=(options.seed,), precision=precision, bar=bar, val=val, strategy=strategy
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
    begun: Begun,
    recipe: Recipe,
    material: Material,
    options: RunOptions,
    history: list[dict[str, float]],
    val: Examples,
    start: tuple[float, float],
) -> RunResult:
    """Write history, curves and, last, the scores of the best weights on val."""
    folder, earlier, ended = begun.folder, begun.state or State(), read_state(begun.folder)
    assert ended is not None  # every epoch keeps it
    table = _write_history(folder, recipe, history)
    model = load_model(folder / record.WEIGHTS, recipe, len(material.classes))
    looks = plan_still(len(val.rows))
    probs = predict_probs(model, val.images, val.rows, looks, change=lambda images: mask_images(images, recipe.mask))
    seconds = earlier.seconds + time.perf_counter() - start[0]
    cpu_seconds = earlier.cpu_seconds + record.count_cpu_seconds() - start[1]
    metrics = {
        "val": score_predictions(val.targets, probs), "epochs": len(table),
        "best_epoch": ended.best_epoch, "seconds": round(seconds, 1), "precision": begun.precision,
        "precision_reason": begun.reason, "resources": record.measure_resources(cpu_seconds),
    }  # fmt: skip
    record.write_json(folder / record.METRICS, metrics)
    remove_states(folder)
    outside = tell_outside(material.manifest, find_view(options.view))
    return RunResult(folder, _tell_story(folder, recipe, metrics, outside), {**metrics, "folder": str(folder)})


def _write_receipt(
    workspace: Workspace, recipe: Recipe, material: Material, options: RunOptions, result: RunResult, seconds: float
) -> None:
    weights_file = find_weights_file(recipe.class_weights, workspace.class_weights)
    made = {"recipe": to_json(recipe), "seed": options.seed} | ({"view": options.view} if options.view else {})
    receipt = new_receipt(
        workspace.root, "run", material.manifest, reads=(*READS, *(["reason", "votes"] if recipe.soft_labels else [])),
        inputs=[weights_file] if weights_file else [], options=made,
        result=StageResult(result.story, counts=result.counts),
    )  # fmt: skip
    write_receipt(workspace.root, receipt, seconds=seconds)


def _tell_story(folder: Path, recipe: Recipe, metrics: Mapping[str, Any], outside: str = "") -> str:
    under = f" under mask {recipe.mask}" if recipe.mask != "none" else ""
    scores = metrics["val"]
    return (
        f"run: {recipe.name}, {metrics['epochs']} epochs (best {metrics['best_epoch']}), "
        f"val accuracy{under} {format_percent(scores['accuracy'])}, macro F1 {format_percent(scores['macro_f1'])}, "
        f"in {metrics['precision']} ({metrics['precision_reason']}), {metrics['seconds']:.0f} s{outside} "
        f"-> {folder}"
    )


def _tell_plan(
    recipe: Recipe, counts: Mapping[str, Mapping[str, int]], folder: Path, precision: tuple[str, str]
) -> str:
    per_split = "; ".join(
        f"{split} {sum(labels.values()):,} rows ({tell_counts(labels)})" for split, labels in counts.items()
    )
    return (
        f"run: would train {recipe.name} for up to {recipe.epochs} epochs in {precision[0]} ({precision[1]}) on {per_split} "
        f"-> {folder}"
    )
