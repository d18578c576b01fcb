"""One model from the kept rows of split train, chosen by split val; split test is never read.

The label is the verdict column `label`, as the view (`--classes 5`) sees it. The folder of the run holds everything that made
it and its best weights; while it trains, also the state of its last finished epoch, from which `--resume` goes on
(`train.training.resume`).
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate import engine
from curate.errors import EXIT_INTERRUPTED, CandidError
from curate.files import write_atomically
from curate.labels import find_class_view
from curate.result import Result
from curate.workspace.class_views import count_outside, format_outside
from curate.workspace.manifest import table_bytes
from curate.workspace.receipts import new_receipt, write_receipt
from curate.workspace.workspace import Workspace
from train.backend import choose_precision, describe_machine, keras
from train.data.augment import plan_still
from train.data.batches import count_steps
from train.data.dataset import Dataset, choose_rows, read_dataset
from train.data.images import MEMORY_BUDGET_BYTES, Examples, load_images
from train.data.masks import mask_images
from train.data.targets import find_weights_file, format_counts
from train.evaluation.metrics import format_percent, score_predictions
from train.evaluation.plots import plot_curves
from train.evaluation.predict import predict_probs
from train.models.build import require_buildable
from train.recipes.presets import resolve_batch_size
from train.recipes.recipe import Recipe, to_json
from train.runs.errors import RunError
from train.runs.folder import (
    CURVES,
    HISTORY,
    METRICS,
    RECIPE,
    TRAIN_ROWS,
    WEIGHTS,
    count_cpu_seconds,
    format_resume_command,
    hold_folder,
    is_unfinished,
    list_versions,
    make_folder,
    measure_resources,
    name_run,
    open_tensorboard,
    read_made,
    read_precision,
    require_tensorboard,
    utc_now,
    write_json,
)
from train.runs.load import load_model
from train.training.checkpoint import State, read_state, remove_states
from train.training.distribute import find_worker, open_strategy
from train.training.fit import DivergedError, fit_model

INPUT_COLUMNS = ("pixel_hash", "label", "status", "split")


class RunInterruptedError(CandidError):
    """Ctrl-C during the training: everything up to the last finished epoch is kept."""

    exit_code = EXIT_INTERRUPTED


@dataclass(frozen=True)
class RunOptions:
    """What a run is made of besides its recipe.

    Attributes
    ----------
    class_view : name of a class view, empty for all; rows outside of it are not trained on
    seeds : models of one recipe; this one is that of `seed`, the first that of `first_seed`
    runs : folder that holds the run's own; None for `runs` in the workspace
    name : of the run's folder, or of the folders of all seeds; None for the time and the recipe
    tensorboard : whether a TensorBoard log is written into the run
    strategy : none, mirrored or multiworker, of `tf.distribute`
    stream : read batches from the disk, as sets larger than memory are read anyway
    """

    class_view: str = ""
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
class RunResult(Result):
    """The scores of a run on val; `folder` is the run's own."""

    folder: Path = Path()


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
        require_tensorboard()
    dataset = read_dataset(workspace, recipe, options.class_view)
    if manifest_sha256 not in (None, dataset.sha256):
        raise RunError(
            f"{workspace.manifest}: has changed since this training began: train anew under another --name"
        )
    runs, name = options.runs or workspace.root / "runs", options.name or name_run(recipe)
    worker = find_worker(options.strategy)
    precision = choose_precision(options.precision) if resumed is None else read_precision(resumed)
    is_first = resumed is None and options.seed == options.first_seed
    recipe = resolve_batch_size(recipe, sum(dataset.rows["train"].values()))
    if dry_run:
        if is_first:
            require_buildable(recipe, len(dataset.classes))
        for split in ("train", "val"):
            choose_rows(dataset, np.zeros((0, 1, 1), np.uint8), split, recipe, options.class_view)
        folder = resumed or runs / f"{name}{options.end}"
        outside = format_outside(dataset.manifest, find_class_view(options.class_view))
        return RunResult(
            folder=folder, summary=_format_plan(recipe, dataset.rows, folder, precision) + outside
        )
    start = time.perf_counter(), count_cpu_seconds()
    strategy = open_strategy(options.strategy)  # TensorFlow wants it before the first network
    if is_first:
        require_buildable(recipe, len(dataset.classes))
    images = load_images(
        workspace, dataset.manifest, recipe.size, 0 if options.stream else MEMORY_BUDGET_BYTES
    )
    train, val = (
        choose_rows(dataset, images, split, recipe, options.class_view)
        for split in ("train", "val")
    )
    if worker:
        return _help_out(
            runs / name, recipe, dataset.classes, (train, val), options, precision[0], strategy
        )
    folder = resumed or make_folder(runs, name, options.end, is_given=options.name is not None)
    with hold_folder(folder):
        if resumed is None:
            stem = folder.name.removesuffix(options.end)
            _write_record(
                folder, recipe, replace(options, name=stem), dataset, workspace, train, precision
            )
        begun = read_begun(folder, dataset)
        history = _fit(begun, recipe, dataset.classes, (train, val), options, strategy)
        result = _finish(begun, recipe, dataset, options, history, val, start)
        _write_receipt(workspace, recipe, dataset, options, result, time.perf_counter() - start[0])
    return result


def read_begun(folder: Path, dataset: Dataset) -> Begun:
    """The run in that folder, begun just now or to be gone on with.

    Raises
    ------
    RunError  if it began under other class weights, or another command has ended it meanwhile
    """
    if not is_unfinished(folder):
        raise RunError(f"{folder}: another command has ended this run")
    if read_made(folder)["class_weights"] != dataset.class_weights:
        raise RunError(
            f"{folder}: the class weights have changed since this run began: train anew, without --resume"
        )
    return Begun(folder, *read_precision(folder), read_state(folder))


def _write_record(
    folder: Path,
    recipe: Recipe,
    options: RunOptions,
    dataset: Dataset,
    workspace: Workspace,
    train: Examples,
    precision: tuple[str, str],
) -> None:
    """Note what the run is made of before it starts."""
    made: dict[str, Any] = {
        "recipe": to_json(recipe), "seed": options.seed, "classes": dataset.classes,
        "class_weights": dataset.class_weights, "rows": dataset.rows,
    }  # fmt: skip
    if options.class_view:
        made |= {
            "view": options.class_view,
            "outside": count_outside(dataset.manifest, find_class_view(options.class_view)),
        }
    if options.seeds > 1:
        made |= {
            "series": {"name": options.name, "seed": options.first_seed, "seeds": options.seeds}
        }
    made |= {
        "options": {
            name: getattr(options, name)
            for name in ("precision", "strategy", "stream", "tensorboard")
        },
        "workspace": os.path.relpath(workspace.root.resolve(), folder.resolve()),
        "manifest_sha256": dataset.sha256,
        "precision": precision[0],
        "precision_reason": precision[1],
        "started_at": utc_now(),
        "backend": keras.backend.backend(),
        "machine": describe_machine(),
        "versions": list_versions(),
    }
    rows = dataset.manifest.loc[train.rows, ["path", "pixel_hash"]]
    write_atomically(folder / TRAIN_ROWS, table_bytes(rows))
    write_json(folder / RECIPE, made)


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
    watchers = [open_tensorboard(folder)] if options.tensorboard else []
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
        raise RunInterruptedError(
            f"{folder}: interrupted; {kept}: {format_resume_command(folder)} goes on"
        ) from stop


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
    with engine.progress(
        recipe.epochs * count_steps(recipe, len(train.rows)), f"train {recipe.name}"
    ) as bar:
        fit_model(
            recipe,
            len(classes),
            train,
            seed=(options.seed,),
            precision=precision,
            bar=bar,
            val=val,
            strategy=strategy,
        )
    worker = find_worker(options.strategy)
    return RunResult(
        folder=folder,
        summary=f"run: worker {worker} is done; the first worker writes the run",
        counts={"worker": worker},
    )


def _write_history(folder: Path, recipe: Recipe, history: list[dict[str, float]]) -> pd.DataFrame:
    table = pd.DataFrame(history)
    table.insert(0, "epoch", range(1, len(table) + 1))
    write_atomically(folder / HISTORY, table_bytes(table))
    write_atomically(
        folder / CURVES,
        plot_curves(history, f"{recipe.name}: {folder.name}", recipe.monitor),
    )
    return table


def _finish(
    begun: Begun,
    recipe: Recipe,
    dataset: Dataset,
    options: RunOptions,
    history: list[dict[str, float]],
    val: Examples,
    start: tuple[float, float],
) -> RunResult:
    """Write history, curves and, last, the scores of the best weights on val."""
    folder, earlier, ended = begun.folder, begun.state or State(), read_state(begun.folder)
    assert ended is not None  # every epoch keeps it
    table = _write_history(folder, recipe, history)
    model = load_model(folder / WEIGHTS, recipe, len(dataset.classes))
    looks = plan_still(len(val.rows))
    probs = predict_probs(
        model, val.images, val.rows, looks, change=lambda images: mask_images(images, recipe.mask)
    )
    seconds = earlier.seconds + time.perf_counter() - start[0]
    cpu_seconds = earlier.cpu_seconds + count_cpu_seconds() - start[1]
    metrics = {
        "val": score_predictions(val.targets, probs), "epochs": len(table),
        "best_epoch": ended.best_epoch, "seconds": round(seconds, 1), "precision": begun.precision,
        "precision_reason": begun.reason, "resources": measure_resources(cpu_seconds),
    }  # fmt: skip
    write_json(folder / METRICS, metrics)
    remove_states(folder)
    outside = format_outside(dataset.manifest, find_class_view(options.class_view))
    return RunResult(
        folder=folder,
        summary=_format_summary(folder, recipe, metrics, outside),
        counts={**metrics, "folder": str(folder)},
    )


def _write_receipt(
    workspace: Workspace,
    recipe: Recipe,
    dataset: Dataset,
    options: RunOptions,
    result: RunResult,
    seconds: float,
) -> None:
    weights_file = find_weights_file(recipe.class_weights, workspace.class_weights)
    made = {"recipe": to_json(recipe), "seed": options.seed} | (
        {"view": options.class_view} if options.class_view else {}
    )
    receipt = new_receipt(
        workspace.root, "run", dataset.manifest, input_columns=(*INPUT_COLUMNS, *(["reason", "votes"] if recipe.soft_labels else [])),
        inputs=[weights_file] if weights_file else [], options=made,
        result=Result(result.summary, counts=result.counts),
    )  # fmt: skip
    write_receipt(workspace.root, receipt, seconds=seconds)


def _format_summary(
    folder: Path, recipe: Recipe, metrics: Mapping[str, Any], outside: str = ""
) -> str:
    under = f" under mask {recipe.mask}" if recipe.mask != "none" else ""
    scores = metrics["val"]
    return (
        f"run: {recipe.name}, {metrics['epochs']} epochs (best {metrics['best_epoch']}), "
        f"val accuracy{under} {format_percent(scores['accuracy'])}, macro F1 {format_percent(scores['macro_f1'])}, "
        f"in {metrics['precision']} ({metrics['precision_reason']}), {metrics['seconds']:.0f} s{outside} "
        f"-> {folder}"
    )


def _format_plan(
    recipe: Recipe,
    counts: Mapping[str, Mapping[str, int]],
    folder: Path,
    precision: tuple[str, str],
) -> str:
    per_split = "; ".join(
        f"{split} {sum(labels.values()):,} rows ({format_counts(labels)})"
        for split, labels in counts.items()
    )
    return (
        f"run: would train {recipe.name} for up to {recipe.epochs} epochs in {precision[0]} ({precision[1]}) on {per_split} "
        f"-> {folder}"
    )
