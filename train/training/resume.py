"""`train run --resume`: an interrupted run, or all seeds of it, goes on as it began.

Its recipe and its options are those of its record; one that is given and differs is refused, for it would be without effect.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from curate.errors import UsageError
from curate.files import sha256_of
from curate.workspace.workspace import Workspace
from train.backend import keras
from train.evaluation.metrics import format_percent
from train.recipes.recipe import Recipe, from_json, override, show_option, show_value
from train.runs.errors import RunError, reading
from train.runs.find import find_unfinished_run, list_members
from train.runs.folder import (
    RECIPE,
    is_empty,
    is_unfinished,
    read_made,
    read_metrics,
    read_record,
    require_name,
)
from train.training.command import RunOptions, RunResult, train_run
from train.training.seeds import join_results


def resume_runs(
    workspace: Workspace,
    *,
    runs: Path | None = None,
    name: str | None = None,
    given: Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] | None = None,
    dry_run: bool = False,
) -> RunResult:
    """Go on with the run of that name, or with the newest that did not finish; then with the seeds that are left.

    Parameters
    ----------
    runs : folder of runs; None for `runs` in the workspace
    given : options that the run began with, by name, None where the user gave none
    fields : the same of its recipe

    Raises
    ------
    RunError  if there is no unfinished run, another command trains it, or the manifest has changed since
    UsageError  if an option differs from what the run began with
    """
    given = {option: value for option, value in (given or {}).items() if value is not None}
    if given.get("strategy") == "multiworker":
        raise UsageError(
            "--resume and --strategy multiworker exclude each other: go on with one worker"
        )
    if name is not None:
        require_name(name)
    folder = find_unfinished_run(runs or workspace.root / "runs", name)
    made = read_made(folder)
    recipe, options = read_options(folder, made)
    require_same(folder, recipe, _list_begun(made, options), given, fields or {})
    begun = made["manifest_sha256"]
    if begun != sha256_of(workspace.manifest):
        raise RunError(
            f"{folder}: the manifest has changed since this run began: train anew, without --resume"
        )
    require_backend(folder, made)
    members = [
        (member, replace(options, seed=options.first_seed + k))
        for k, member in enumerate(list_members(folder))
    ]
    for member, of_seed in members:
        require_member(member, recipe, of_seed, begun)
    results = [
        _go_on(workspace, recipe, of_seed, member, begun, dry_run) for member, of_seed in members
    ]
    return results[0] if len(results) == 1 else join_results(recipe, results)


def read_options(folder: Path, made: Mapping[str, Any]) -> tuple[Recipe, RunOptions]:
    """The recipe and the options of a run; one that several workers began, one worker ends."""
    with reading(folder / RECIPE):
        return _read_options(folder, made)


def _read_options(folder: Path, made: Mapping[str, Any]) -> tuple[Recipe, RunOptions]:
    series = made.get("series", {})
    kept = {"precision": made["precision"], **made.get("options", {})}
    options = RunOptions(
        class_view=made.get("view", ""), seed=made["seed"], seeds=series.get("seeds", 1),
        first_seed=series.get("seed", made["seed"]), runs=folder.parent, name=series.get("name", folder.name), **kept,
    )  # fmt: skip
    return from_json(made["recipe"]), replace(
        options, strategy="none"
    ) if options.strategy == "multiworker" else options


def require_same(
    folder: Path,
    recipe: Recipe,
    begun: Mapping[str, Any],
    given: Mapping[str, Any],
    fields: Mapping[str, Any],
) -> None:
    """Raise UsageError if an option is given that differs from what the run began with."""
    asked = override(recipe, **fields)
    pairs = [(f"--{name}", begun[name], value) for name, value in given.items()]
    pairs += [
        (show_option(name), getattr(recipe, name), getattr(asked, name))
        for name, value in fields.items()
        if value is not None
    ]
    for option, was, now in pairs:
        if was != now:
            began = show_value(was) or "all"
            raise UsageError(
                f"{option} {show_value(now)}: {folder} began with {began}: leave the option out, or train anew without "
                "--resume"
            )


def _list_begun(made: Mapping[str, Any], options: RunOptions) -> dict[str, Any]:
    """What the options of the command line were when the run began."""
    return {
        "recipe": made["recipe"]["name"], "seed": options.first_seed, "seeds": options.seeds, "precision": options.precision,
        "strategy": options.strategy, "stream": options.stream, "tensorboard": options.tensorboard,
        "classes": options.class_view, "group": options.class_view,
    }  # fmt: skip


def _go_on(
    workspace: Workspace,
    recipe: Recipe,
    options: RunOptions,
    member: Path,
    begun: str,
    dry_run: bool,
) -> RunResult:
    if _is_there(member) and not is_unfinished(member):
        return _read_result(member, recipe)
    resumed = member if is_unfinished(member) else None
    return train_run(
        workspace, recipe, options, resumed=resumed, manifest_sha256=begun, dry_run=dry_run
    )


def require_backend(folder: Path, made: Mapping[str, Any]) -> None:
    """Raise RunError if the run began under another Keras backend, whose dropout and batch-norm are others."""
    here = keras.backend.backend()
    began = made.get("backend", here)
    if began != here:
        raise RunError(
            f"{folder}: began under the Keras backend {began}, and this is {here}: set KERAS_BACKEND={began}, or train anew "
            "without --resume"
        )


def require_member(member: Path, recipe: Recipe, options: RunOptions, manifest_sha256: str) -> None:
    """Raise RunError if the folder of a seed holds a run of another recipe, seed, series or manifest."""
    if not _is_there(member):
        return
    made = read_made(member)
    series = (
        {"name": options.name, "seed": options.first_seed, "seeds": options.seeds}
        if options.seeds > 1
        else None
    )
    found = from_json(made["recipe"]), made["seed"], made.get("series"), made["manifest_sha256"]
    if found != (recipe, options.seed, series, manifest_sha256):
        raise RunError(
            f"{member}: is not seed {options.seed} of this run: move it away, or train anew under another --name"
        )


def _is_there(member: Path) -> bool:
    return member.exists() and not is_empty(member)


def _read_result(folder: Path, recipe: Recipe) -> RunResult:
    """What a run that had finished says."""
    read_record(folder)
    metrics = read_metrics(folder)
    scores = metrics["val"]
    summary = (
        f"run: {recipe.name}, finished before: val accuracy {format_percent(scores['accuracy'])}, "
        f"macro F1 {format_percent(scores['macro_f1'])} -> {folder}"
    )
    return RunResult(folder=folder, summary=summary, counts={**metrics, "folder": str(folder)})
