"""`train run --seeds N` and `train run --resume`: the runs of several seeds, and interrupted runs.

A series trains one recipe with several seeds, one run each, and reports mean and spread of the
scores. An interrupted run, or all runs of its series, goes on with the recipe and the options of
its record. An option that is given and differs is refused, for it would have no effect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from curate.errors import UsageError
from curate.result import Result
from curate.workspace.class_views import name_class_view
from curate.workspace.workspace import Workspace
from train.backend import keras
from train.evaluation.metrics import format_percent, format_spread
from train.recipes.recipe import Recipe, format_option, format_value, option_fields, override
from train.runs.errors import RunError, reading
from train.runs.find import find_unfinished_run
from train.runs.folder import RECIPE, is_empty, is_unfinished, name_run, require_name
from train.runs.record import (
    RunRecord,
    Series,
    read_finished_run,
    read_metrics,
    read_run_record,
)
from train.training.checkpoint import read_state
from train.training.command import describe, train
from train.training.distribute import find_worker
from train.training.plan import (
    Began,
    RunOptions,
    find_beginning,
    find_runs_folder,
    prepare,
    require_free,
)

# Options whose value a resumed run takes from its record.
RESUMED_OPTIONS = (
    "recipe", "seed", "seeds", "precision", "strategy", "stream", "tensorboard", "classes", "group",
)  # fmt: skip

# What the runs of a series have in common.
SHARED = (
    "recipe", "series", "manifest_sha256", "targets", "class_weights", "class_view",
    "weights_sha256",
)  # fmt: skip


def train_series(
    workspace: Workspace, recipe: Recipe, options: RunOptions, seeds: int, *, dry_run: bool = False
) -> Result:
    """Train the recipe once for each of `seeds` seeds, from the seed of the options on.

    Raises
    ------
    RunError  if a folder of the series is taken, or the manifest changes between two runs
    UsageError, ManifestError, WorkspaceError, DivergedError, RunInterruptedError  as `prepare` and
        `train` do
    """
    runs = find_runs_folder(workspace, options)
    series = Series(options.name or name_run(recipe), options.seed, seeds)
    if options.name is not None and not find_worker(options.strategy):
        for folder in series.list_folders(runs):
            require_free(folder)
    results: list[Result] = []
    began = None
    for seed in series.seeds:
        one = replace(options, seed=seed, series=series)
        plan = prepare(workspace, recipe, one, began=began)
        result = describe(plan) if dry_run else train(plan)
        began = began or find_beginning(recipe, plan.dataset)
        if "folder" in result.counts:  # its name is numbered if that of the plan was taken
            name = Path(result.counts["folder"]).name.removesuffix(series.suffix(seed))
            series, options = replace(series, name=name), replace(options, name=name)
        results.append(result)
    return join_results(recipe, results)


def resume_runs(
    workspace: Workspace,
    requested: Mapping[str, Any],
    *,
    runs: Path | None = None,
    name: str | None = None,
    dry_run: bool = False,
) -> Result:
    """Go on with an unfinished run, then with the runs of its series that are left.

    Parameters
    ----------
    requested : the options that the user gave, by name, with their values
    runs : folder of runs; None for `runs` in the workspace
    name : of the run or of its series; None for the newest unfinished run

    Raises
    ------
    RunError  if there is no unfinished run, another command trains it, or the manifest has changed
    UsageError  if an option differs from that of the record
    """
    if requested.get("strategy") == "multiworker":
        raise UsageError(
            "--resume and --strategy multiworker exclude each other: go on with one worker"
        )
    if name is not None:
        require_name(name)
    record = read_run_record(find_unfinished_run(runs or workspace.root / "runs", name))
    options = restore_options(record)
    require_same_options(record, options, requested)
    if record.manifest_sha256 != workspace.read_hashed()[1]:
        raise RunError(
            f"{record.folder}: the manifest has changed since this run began: train anew, without "
            "--resume"
        )
    require_backend(record)
    seeds = options.series.seeds if options.series else [options.seed]
    pairs = list(zip(record.list_folders(), seeds, strict=True))
    for folder, seed in pairs:
        require_run_of_series(record, folder, seed)
    results = [
        _resume_run(workspace, record, folder, replace(options, seed=seed), dry_run=dry_run)
        for folder, seed in pairs
    ]
    return results[0] if len(results) == 1 else join_results(record.recipe, results)


def join_results(recipe: Recipe, results: Sequence[Result]) -> Result:
    """The summaries of the runs and, if all were trained, mean and spread of their scores."""
    lines = [result.summary for result in results]
    if all("val" in result.counts for result in results):
        spreads = []
        for name in ("accuracy", "macro_f1"):
            values = [result.counts["val"][name] for result in results]
            spreads.append(f"val {name.replace('_', ' ')} {format_spread(values)}")
        lines.append(f"run: {recipe.name}, {len(results)} seeds: {', '.join(spreads)}")
    return Result("\n".join(lines), {"runs": [dict(result.counts) for result in results]})


def restore_options(record: RunRecord) -> RunOptions:
    """The options with which a run began; one worker finishes what several began.

    Raises
    ------
    RunError  if the record holds an unknown option
    """
    with reading(record.folder / RECIPE):
        options = RunOptions(
            class_view=record.class_view,
            seed=record.seed,
            runs=record.folder.parent,
            name=record.series_name,
            series=record.series,
            **{"precision": record.precision, **record.options},
        )
    return replace(options, strategy="none") if options.strategy == "multiworker" else options


def require_same_options(
    record: RunRecord, options: RunOptions, requested: Mapping[str, Any]
) -> None:
    """Raise UsageError if a requested option differs from that with which the run began."""
    class_view = name_class_view(requested.get("classes"), requested.get("group"))
    series = options.series or Series(record.folder.name, options.seed, 1)
    began = {
        "recipe": record.recipe.name,
        "seed": series.first_seed,
        "seeds": series.count,
        "precision": options.precision,
        "strategy": options.strategy,
        "stream": options.stream,
        "tensorboard": options.tensorboard,
        "classes": options.class_view,
        "group": options.class_view,
    }
    values = {**requested, "classes": class_view, "group": class_view}
    pairs = [
        (f"--{name}", began[name], values[name]) for name in RESUMED_OPTIONS if name in requested
    ]
    fields = [item.name for item in option_fields() if item.name in requested]
    if requested.get("batch_size") == 0:  # left open: the record has what the data decided
        fields.remove("batch_size")
    changed = override(record.recipe, **{name: requested[name] for name in fields})
    pairs += [
        (format_option(name), getattr(record.recipe, name), getattr(changed, name))
        for name in fields
    ]
    for option, old, new in pairs:
        if old != new:
            raise UsageError(
                f"{option} {format_value(new)}: {record.folder} began with "
                f"{format_value(old) or 'all'}: leave the option out, or train anew without "
                "--resume"
            )


def require_backend(record: RunRecord) -> None:
    """Raise RunError if the run began under another Keras backend.

    Dropout and batch normalisation of another backend give other numbers.
    """
    here = keras.backend.backend()
    if record.backend not in ("", here):
        raise RunError(
            f"{record.folder}: began under the Keras backend {record.backend}, and this is {here}: "
            f"set KERAS_BACKEND={record.backend}, or train anew without --resume"
        )


def require_run_of_series(record: RunRecord, folder: Path, seed: int) -> None:
    """Raise RunError if the folder holds a run that is not the seed's run of the series."""
    if not _has_run(folder):
        return
    other = read_run_record(folder)
    if other.seed != seed or any(getattr(other, name) != getattr(record, name) for name in SHARED):
        raise RunError(
            f"{folder}: is not seed {seed} of this run: move it away, or train anew under another "
            "--name"
        )


def _resume_run(
    workspace: Workspace, record: RunRecord, folder: Path, options: RunOptions, *, dry_run: bool
) -> Result:
    """Train what is left of one run of the series."""
    if _has_run(folder) and not is_unfinished(folder):
        return _read_result(folder)
    resumed = read_run_record(folder) if is_unfinished(folder) else None
    # A run with a state needs the weights at its start no more.
    has_state = resumed is not None and read_state(folder) is not None
    weights_sha256 = "" if has_state else record.weights_sha256
    began = Began(record.manifest_sha256, record.class_weights, record.targets, weights_sha256)
    plan = prepare(workspace, record.recipe, options, resumed=resumed, began=began)
    return describe(plan) if dry_run else train(plan)


def _has_run(folder: Path) -> bool:
    return folder.exists() and not is_empty(folder)


def _read_result(folder: Path) -> Result:
    """The result of a run that had finished before."""
    record, metrics = read_finished_run(folder), read_metrics(folder)
    scores = metrics["val"]
    summary = (
        f"run: {record.recipe.name}, finished before: "
        f"val accuracy {format_percent(scores['accuracy'])}, "
        f"macro F1 {format_percent(scores['macro_f1'])} -> {folder}"
    )
    return Result(summary, {**metrics, "folder": str(folder)})
