"""`train run`: one model from the kept rows of split train, chosen by split val.

`train` trains a `Plan` (`plan.py`), `describe` is its dry run. Split test is never read. The label
is the verdict column `label` under the class view (`--classes 5`). The folder of the run holds
everything that made it and its best weights; while it trains, also the state after its last
finished epoch, from which `--resume` goes on (`series.py`).
"""

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.errors import EXIT_INTERRUPTED, CandidError, amount
from curate.files import sha256_of, write_atomically
from curate.result import Result, format_counts
from curate.stderr import open_bar, print_notes
from curate.workspace.class_views import count_outside, find_class_view, format_outside
from curate.workspace.manifest import table_bytes
from curate.workspace.receipts import list_versions, new_receipt, write_receipt
from curate.workspace.workspace import Workspace
from train.backend import describe_machine, keras
from train.data.batches import Validation, make_validation
from train.data.dataset import (
    MEMORY_BUDGET_BYTES,
    Examples,
    aim_labels,
    find_weights_file,
    load_images,
    select_examples,
)
from train.data.targets import VAL_LABELS
from train.evaluation.metrics import format_percent, score_predictions
from train.evaluation.plots import plot_curves
from train.recipes.recipe import Recipe, find_targets, is_run_weights, to_json
from train.runs.errors import RunError
from train.runs.folder import (
    CURVES,
    HISTORY,
    METRICS,
    RECIPE,
    TRAIN_ROWS,
    VAL_ROWS,
    WEIGHTS,
    count_cpu_seconds,
    is_unfinished,
    lock_folder,
    make_folder,
    measure_resources,
    open_tensorboard,
    utc_now,
    write_json,
)
from train.runs.load import load_model
from train.runs.record import format_resume_command
from train.training.checkpoint import Checkpoint, State, read_state, remove_states
from train.training.distribute import open_strategy
from train.training.fit import (
    DivergedError,
    History,
    Training,
    continue_from_state,
    fit_model,
    make_model,
    predict_in_float32,
)
from train.training.plan import Plan, RunOptions, find_beginning, list_targets, prepare
from train.training.start import is_start_unknown, list_start_tables

INPUT_COLUMNS = ("pixel_hash", "label", "status", "split")
# The further columns that the targets of the loss are made of.
TARGET_COLUMNS = {
    "verdicts": (),
    "given": ("given_label",),
    "crowd": ("reason", "votes"),
    "posterior": ("reason",),
    "oof": ("reason", "given_label", "fold", "duplicate_group"),
}
# Their versions are in the run record.
PACKAGES = (
    "candid-fer", "keras", "tensorflow", "jax", "torch", "numpy", "pandas",
    "opencv-python-headless", "scikit-learn",
)  # fmt: skip
# The options in the run record that a resumed run takes over.
RECORDED_OPTIONS = ("precision", "strategy", "stream", "tensorboard")


class RunInterruptedError(CandidError):
    """Ctrl-C during the training: everything up to the last finished epoch is kept."""

    exit_code = EXIT_INTERRUPTED


def train_run(
    workspace: Workspace, recipe: Recipe, options: RunOptions, *, dry_run: bool = False
) -> Result:
    """Train the recipe on a workspace, or describe what would be trained.

    Raises as `prepare` and `train` do.
    """
    plan = prepare(workspace, recipe, options)
    return describe(plan) if dry_run else train(plan)


def describe(plan: Plan) -> Result:
    """What `train` would do, after every check that needs no image.

    Raises
    ------
    SourceError, UsageError  if the network cannot be built
    ManifestError  if val has a class that train has not, or no row has the votes that it needs
    """
    series = plan.options.series
    is_first = series is None or plan.options.seed == series.first_seed
    if plan.resumed is None and is_first:  # the networks of the other seeds differ in no field
        make_model(_plan_training(plan))
    no_images = np.zeros((0, 1, 1), np.uint8)
    for split in ("train", "val"):
        select_examples(plan.dataset, no_images, split, plan.recipe)
    per_split = "; ".join(
        f"{split} {amount(sum(counts.values()), 'row')} ({format_counts(counts)})"
        for split, counts in plan.dataset.counts.items()
    )
    return Result(
        f"run: would train {plan.recipe.name} for up to {plan.recipe.epochs} epochs in "
        f"{plan.precision} ({plan.precision_reason}) on {per_split}{_format_targets(plan)} -> "
        f"{plan.folder}{_format_outside(plan)}"
    )


def _format_targets(plan: Plan) -> str:
    """What the loss aims at; empty for the labels after decisions and for votes."""
    targets = plan.recipe.targets
    if targets == "given":
        return " towards the given labels"
    tables = list_targets(plan.dataset)
    return f" towards {targets} ({', '.join(tables)})" if tables else ""


def train(plan: Plan) -> Result:
    """Train the plan: build the network, fit it, score its best weights on val, write the run.

    The network is built before anything is written, so a network that cannot be built leaves no
    run.

    Raises
    ------
    SourceError, UsageError  if the network cannot be built
    RunError  if another command trains or has ended this run, or the folder is taken
    DivergedError  if the loss is NaN or infinite
    RunInterruptedError  on Ctrl-C
    """
    start = time.perf_counter(), count_cpu_seconds()
    strategy = None
    if plan.options.strategy != "none":
        strategy = open_strategy(plan.options.strategy)  # TensorFlow wants it before the network
    training = _plan_training(plan, strategy)
    model = make_model(training)
    train_examples, val_examples = _load_examples(plan)
    val = make_validation(plan.recipe, training.classes, val_examples)
    if plan.worker:
        return _train_share(plan, model, training, train_examples, val)
    if plan.resumed is None:
        plan = replace(plan, folder=_make_folder(plan))
    with lock_folder(plan.folder):
        if plan.resumed is None:
            _write_record(plan, train_examples, val_examples)
        elif not is_unfinished(plan.folder):
            raise RunError(f"{plan.folder}: another command has ended this run")
        state = (read_state(plan.folder) if plan.resumed else None) or State()
        seconds, cpu_seconds = state.seconds - start[0], state.cpu_seconds - start[1]
        # With a strategy, weights that only one worker assigns would wait for the others forever.
        checkpoint = Checkpoint(plan.recipe, plan.folder, state, restores=strategy is None)
        print_notes()
        network = _fit(plan, model, training, train_examples, val, checkpoint)
        probs = _predict_val(plan, network, val)
        metrics = {
            "val": score_predictions(val_examples.targets, probs),
            "epochs": state.epoch,
            "best_epoch": state.best_epoch,
            "seconds": round(seconds + time.perf_counter(), 1),
            "precision": plan.precision,
            "precision_reason": plan.precision_reason,
            "resources": measure_resources(cpu_seconds + count_cpu_seconds()),
        }
        if plan.recipe.targets in VAL_LABELS:
            metrics["val_labels"] = plan.recipe.targets
        result = _finish(plan, state.history, metrics)
        _write_receipt(plan, result, time.perf_counter() - start[0])
    return result


def _make_folder(plan: Plan) -> Path:
    series = plan.options.series
    suffix = series.suffix(plan.options.seed) if series else ""
    name = plan.folder.name.removesuffix(suffix)
    is_given = plan.options.name is not None
    return make_folder(plan.folder.parent, name, suffix, is_given=is_given)


def _plan_training(plan: Plan, strategy: Any = None) -> Training:
    recipe, dataset = plan.recipe, plan.dataset
    seed, rows = (plan.options.seed,), dataset.train_rows
    training = Training(recipe, len(dataset.classes), rows, seed, plan.precision, strategy)
    # A run that was broken off in its first epoch has no state yet, and starts as it began.
    has_state = plan.resumed is not None and read_state(plan.resumed.folder) is not None
    return continue_from_state(training) if has_state else training


def _load_examples(plan: Plan) -> tuple[Examples, Examples]:
    """The examples of split train and of split val."""
    recipe, dataset = plan.recipe, plan.dataset
    budget = 0 if plan.options.stream else MEMORY_BUDGET_BYTES
    images = load_images(plan.workspace, dataset.manifest, recipe.size, budget)
    train_examples = select_examples(dataset, images, "train", recipe)
    return train_examples, select_examples(dataset, images, "val", recipe)


def _write_record(plan: Plan, train_examples: Examples, val_examples: Examples) -> None:
    """Write what the run is made of, before its first batch (`train.runs.record` reads it)."""
    options, dataset, folder = plan.options, plan.dataset, plan.folder
    record: dict[str, Any] = {
        "recipe": to_json(plan.recipe),
        "seed": options.seed,
        "classes": dataset.classes,
        "class_weights": dataset.class_weights,
        "rows": dataset.counts,
    }
    began = find_beginning(plan.recipe, dataset)
    if began.weights_sha256:
        record["weights_sha256"] = began.weights_sha256
    if dataset.beliefs:
        record["targets"] = list_targets(dataset)
    if options.class_view:
        labelled = aim_labels(dataset.manifest, plan.recipe)
        outside = count_outside(labelled, find_class_view(options.class_view))
        record |= {"view": options.class_view, "outside": outside}
    if options.series:
        suffix = options.series.suffix(options.seed)
        name = folder.name.removesuffix(suffix)
        record["series"] = replace(options.series, name=name).to_json()
    record |= {
        "options": {name: getattr(options, name) for name in RECORDED_OPTIONS},
        "workspace": os.path.relpath(plan.workspace.root.resolve(), folder.resolve()),
        "manifest_sha256": dataset.sha256,
        "precision": plan.precision,
        "precision_reason": plan.precision_reason,
        "started_at": utc_now(),
        "backend": keras.backend.backend(),
        "machine": describe_machine(),
        "versions": list_versions(PACKAGES),
    }
    columns = ["path", "pixel_hash"]
    tables = {
        TRAIN_ROWS: dataset.manifest.loc[train_examples.rows, columns],
        VAL_ROWS: dataset.manifest.loc[val_examples.rows, columns],
    }
    if is_run_weights(plan.recipe.weights):
        tables |= list_start_tables(plan.recipe, tables[VAL_ROWS])
        record |= {"start_unknown": True} if is_start_unknown(plan.recipe) else {}
    for name, table in tables.items():
        write_atomically(folder / name, table_bytes(table))
        record[f"{Path(name).stem}_sha256"] = sha256_of(folder / name)
    write_json(folder / RECIPE, record)


def _fit(
    plan: Plan,
    model: Any,
    training: Training,
    train_examples: Examples,
    val: Validation,
    checkpoint: Checkpoint,
) -> Any:
    """Train the model and return its network; if cut short, write the history so far."""
    folder, epochs = plan.folder, plan.recipe.epochs
    callbacks = [open_tensorboard(folder)] if plan.options.tensorboard else []
    try:
        with open_bar(training.total_steps, f"train {plan.recipe.name}") as bar:
            network, _ = fit_model(
                model,
                training,
                train_examples,
                bar,
                val=val,
                checkpoint=checkpoint,
                callbacks=callbacks,
            )
        return network
    except (KeyboardInterrupt, DivergedError) as stop:
        last = read_state(folder)
        if last is not None:
            _write_history(plan, last.history)
        kept = f"{last.epoch if last else 0} of {epochs} epochs are kept"
        if isinstance(stop, DivergedError):
            raise DivergedError(f"{folder}: {stop}; {kept}") from stop
        raise RunInterruptedError(
            f"{folder}: interrupted; {kept}: {format_resume_command(folder)} goes on"
        ) from stop


def _train_share(
    plan: Plan, model: Any, training: Training, train_examples: Examples, val: Validation
) -> Result:
    """Train as a worker other than the first: compute a share of each batch, write nothing."""
    with open_bar(training.total_steps, f"train {plan.recipe.name}") as bar:
        checkpoint = Checkpoint(plan.recipe, restores=False)
        fit_model(model, training, train_examples, bar, val=val, checkpoint=checkpoint)
    summary = f"run: worker {plan.worker} is done; the first worker writes the run"
    return Result(summary, {"worker": plan.worker})


def _predict_val(plan: Plan, network: Any, val: Validation) -> Any:
    """(N, K) float64 probabilities of the best weights, computed in float32."""
    if plan.options.strategy != "none":
        # Its variables belong to all workers, and it has the weights of the last epoch.
        network = load_model(plan.folder / WEIGHTS, plan.recipe, len(plan.dataset.classes))
    probs = predict_in_float32(network, val).astype(np.float64)
    return probs / probs.sum(axis=1, keepdims=True)


def _write_history(plan: Plan, history: History) -> None:
    table = pd.DataFrame(history)
    table.insert(0, "epoch", range(1, len(table) + 1))
    write_atomically(plan.folder / HISTORY, table_bytes(table))
    title = f"{plan.recipe.name}: {plan.folder.name}"
    write_atomically(plan.folder / CURVES, plot_curves(history, title, plan.recipe.monitor))


def _finish(plan: Plan, history: History, metrics: Mapping[str, Any]) -> Result:
    """Write history, curves and, last, the metrics; remove the state."""
    _write_history(plan, history)
    write_json(plan.folder / METRICS, metrics)
    remove_states(plan.folder)
    return Result(_format_summary(plan, metrics), {**metrics, "folder": str(plan.folder)})


def _write_receipt(plan: Plan, result: Result, seconds: float) -> None:
    workspace, recipe = plan.workspace, plan.recipe
    weights_file = find_weights_file(recipe.class_weights, workspace.class_weights)
    tables = list_targets(plan.dataset)
    options = {"recipe": to_json(recipe), "seed": plan.options.seed}
    if plan.options.class_view:
        options["view"] = plan.options.class_view
    columns = INPUT_COLUMNS + TARGET_COLUMNS[find_targets(recipe)]
    inputs = [*([weights_file] if weights_file else []), *map(workspace.root.joinpath, tables)]
    receipt = new_receipt(
        workspace.root,
        "run",
        plan.dataset.manifest,
        input_columns=columns,
        inputs=inputs,
        options=options,
        result=result,
    )
    write_receipt(workspace.root, receipt, seconds=seconds)


def _format_summary(plan: Plan, metrics: Mapping[str, Any]) -> str:
    recipe, scores = plan.recipe, metrics["val"]
    under_mask = f" under mask {recipe.mask}" if recipe.mask != "none" else ""
    by = f" by {VAL_LABELS[recipe.targets]}" if recipe.targets in VAL_LABELS else ""
    epochs = "1 epoch" if metrics["epochs"] == 1 else f"{metrics['epochs']} epochs"
    return (
        f"run: {recipe.name}, {epochs} (best {metrics['best_epoch']}), "
        f"val accuracy{under_mask}{by} {format_percent(scores['accuracy'])}, "
        f"macro F1 {format_percent(scores['macro_f1'])}, "
        f"in {plan.precision} ({plan.precision_reason}), {metrics['seconds']:.0f} s"
        f"{_format_outside(plan)} -> {plan.folder}"
    )


def _format_outside(plan: Plan) -> str:
    """The rows outside of the class view; empty without one."""
    if not plan.options.class_view:
        return ""
    labelled = aim_labels(plan.dataset.manifest, plan.recipe)
    return format_outside(labelled, find_class_view(plan.options.class_view))
