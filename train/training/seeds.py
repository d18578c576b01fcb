"""`train run`: a recipe trained once, or once for each of several seeds, whose scores have a mean and a spread."""

from collections.abc import Sequence
from dataclasses import replace

from curate.errors import UsageError
from curate.workspace.workspace import Workspace
from train.evaluation.metrics import format_spread
from train.recipes.recipe import Recipe
from train.runs.folder import read_made, require_free, require_name
from train.training.command import RunOptions, RunResult, train_run
from train.training.distribute import find_worker, require_shareable, require_strategy


def train_runs(
    workspace: Workspace,
    recipe: Recipe,
    options: RunOptions,
    *,
    seeds: int = 1,
    dry_run: bool = False,
) -> RunResult:
    """Train the recipe once, or once for each of `seeds` seeds, and tell the mean and the spread of the scores.

    Raises
    ------
    UsageError  if the strategy cannot train this recipe, or the folder or the name of the run cannot be one
    RunError  if there is a run of that name
    ManifestError, WorkspaceError, DivergedError, RunInterruptedError  as `train_run` does
    """
    options = replace(options, seeds=seeds, first_seed=options.seed)
    require_strategy(options.strategy)
    require_shareable(options.strategy, recipe)
    runs = options.runs or workspace.root / "runs"
    if runs.exists() and not runs.is_dir():
        raise UsageError(f"--runs {runs}: is no folder: name another")
    if options.name is not None:
        require_name(options.name)
        if not find_worker(options.strategy):
            for seed in range(options.seed, options.seed + seeds):
                require_free(runs / f"{options.name}{replace(options, seed=seed).end}")
    if seeds == 1:
        return train_run(workspace, recipe, options, dry_run=dry_run)
    results: list[RunResult] = []
    begun = None
    for seed in range(options.seed, options.seed + seeds):
        options = replace(options, seed=seed)
        results.append(
            train_run(workspace, recipe, options, manifest_sha256=begun, dry_run=dry_run)
        )
        begun = (
            None
            if dry_run or find_worker(options.strategy)
            else read_made(results[0].folder)["manifest_sha256"]
        )
        options = replace(
            options, name=results[0].folder.name.removesuffix(f"-s{options.first_seed}")
        )
    return join_results(recipe, results)


def join_results(recipe: Recipe, results: Sequence[RunResult]) -> RunResult:
    """The stories of the seeds and, where they were trained, the mean and the spread of their scores."""
    lines = [result.summary for result in results]
    if all("val" in result.counts for result in results):
        scores = {
            name: [result.counts["val"][name] for result in results]
            for name in ("accuracy", "macro_f1")
        }
        told = ", ".join(
            f"val {name.replace('_', ' ')} {format_spread(values)}"
            for name, values in scores.items()
        )
        lines.append(f"run: {recipe.name}, {len(results)} seeds: {told}")
    return RunResult(
        folder=results[0].folder,
        summary="\n".join(lines),
        counts={"runs": [dict(result.counts) for result in results]},
    )
