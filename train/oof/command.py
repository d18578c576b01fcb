"""`train oof`: out-of-fold predictions, the bridge to `curate flag`.

For each fold a member learns from the photographs of all other folds, one copy each (target: the given label), and predicts
every row of the fold, copies too; the probabilities of a network are the mean over its views (`oof_views`). A (member, seed,
fold) is one job: a process of its own with one thread, since two such jobs side by side take less time than one after the
other with two threads. Its result is kept the moment it is there, so a killed run loses the jobs under way and the next goes
on.

When all folds of a member are there, they become its predictions (`train.oof.join`).

There is no val split here: the epochs are fixed, and few (`oof_epochs`, more for a small dataset: `oof_steps`), with Adam,
the cosine schedule and plain cross-entropy on the given labels, whatever the recipe says.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from curate import engine
from curate.errors import ManifestError, UsageError
from curate.workspace.invariants import require_laws
from curate.workspace.predictions import write_predictions
from curate.workspace.receipts import StageResult, new_receipt, write_receipt
from curate.workspace.workspace import Workspace
from train.data.images import count_labels, load_images
from train.oof.hog_model import Hog
from train.oof.jobs import (
    INPUT_COLUMNS,
    Job,
    Member,
    Work,
    count_steps,
    learns_from,
    plan_jobs,
    run_job,
    to_member_json,
)
from train.oof.join import join_jobs
from train.oof.progress import show_progress
from train.recipes.presets import FAST, SMALL_BATCH, find_recipe
from train.recipes.recipe import Recipe, override

# Of --quick, beside two thirds of the channels. On one fold of FER2013 two epochs of all channels took as long and agreed with
# 53 % of the given labels, four of two thirds with 56 %, six of half with 56 %.
QUICK = {"oof_epochs": 4, "oof_steps": 0, "oof_views": 2}


def predict_out_of_fold(
    workspace: Workspace,
    members: Sequence[Member],
    *,
    seed: int = 0,
    seeds: int = 1,
    model: str | None = None,
    fold: int | None = None,
    k: int | None = None,
    precision: str = "auto",
    engine_name: engine.Engine = "local",
    workers: int | None = None,
    dry_run: bool = False,
) -> StageResult:
    """Train what is missing, and write `predictions/<member>.csv` for every member whose jobs are all there.

    Parameters
    ----------
    members : recipes (`oof_epochs` and `oof_steps` are how long they are trained) and the one that is no network
    seed, seeds : the first seed and how many; predictions are averaged over them
    model, fold : train the jobs of this member, of this fold, alone (another machine may do the others); None for all
    k : the number of folds that is expected; None for whatever the manifest has
    workers : jobs at a time; None takes one per core and one more, since a job now and then waits, and one on a GPU

    Returns
    -------
    the summary and its counts

    Raises
    ------
    ManifestError  if no row has a fold, or the manifest changed while the models were trained
    UsageError  if there is no such member or fold, or other than `k` folds
    """
    start = time.perf_counter()
    manifest = workspace.read()
    require_laws(manifest, "fold")
    chosen = range(seed, seed + seeds)
    jobs = plan_jobs(workspace, manifest, members, chosen, precision)
    folds = len({job.fold for job in jobs})
    if k is not None and k != folds:
        raise UsageError(
            f"oof: --k {k}: the manifest has {folds} folds: run `curate fold --k {k}` first"
        )
    missing = [job for job in _choose_jobs(jobs, model, fold) if not job.file.is_file()]
    if dry_run:
        return StageResult(_format_plan(manifest, missing, len(jobs)))
    if missing:
        for size in sorted({job.member.size for job in missing}):
            load_images(workspace, manifest, size)  # decoded once, before the jobs ask for them
        _run_jobs(workspace, manifest, missing, engine_name, workers)
    return _keep_predictions(workspace, members, chosen, jobs, precision, len(missing), start)


def choose_members(
    names: str, epochs: int | None = None, batch_size: int | None = None, *, quick: bool = False
) -> list[Member]:
    """The members of a comma-separated list; `epochs` is how many the recipes are trained for exactly, unless None.

    Raises
    ------
    UsageError  if there is no such recipe, a value is out of its range, or `epochs` contradicts `quick`
    """
    if quick and epochs is not None:
        raise UsageError("oof: --quick and --epochs exclude each other: name one")
    chosen = dict.fromkeys(name.strip() for name in names.split(","))
    changes = {"batch_size": batch_size}
    if quick:
        changes |= QUICK
    elif epochs is not None:
        changes |= {"oof_epochs": epochs, "oof_steps": 0}
    recipes = {name: find_recipe(name, "--models") for name in chosen if name != Hog.name}
    if quick:
        recipes = {
            name: replace(recipe, widths=_narrow(recipe.widths)) for name, recipe in recipes.items()
        }
    return [
        _settle_member(override(recipes[name], **changes)) if name in recipes else Hog()
        for name in chosen
    ]


def _settle_member(recipe: Recipe) -> Recipe:
    """The recipe as benchmarks/RESULTS.md judges its models: an open batch is the small one, and `fast` has three stages."""
    widths = recipe.widths[:3] if recipe.model == FAST.model else recipe.widths
    return replace(recipe, widths=widths, batch_size=recipe.batch_size or SMALL_BATCH)


def _narrow(widths: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-2 * width // 3) for width in widths)


def _choose_jobs(jobs: Sequence[Job], model: str | None, fold: int | None) -> list[Job]:
    for option, asked, known in (
        ("--model", model, sorted({job.member.name for job in jobs})),
        ("--fold", fold, sorted({int(job.fold) for job in jobs})),
    ):
        if asked is not None and asked not in known:
            raise UsageError(
                f"{option} {asked}: there is none: choose from {', '.join(map(str, known))}"
            )
    return [
        job for job in jobs if model in (None, job.member.name) and fold in (None, int(job.fold))
    ]


def _run_jobs(
    workspace: Workspace,
    manifest: pd.DataFrame,
    jobs: Sequence[Job],
    engine_name: engine.Engine,
    workers: int | None,
) -> None:
    if (
        workers is None
        and engine_name == "local"
        and any(isinstance(job.member, Recipe) for job in jobs)
    ):
        from train.backend import HAS_GPU

        workers = 1 if HAS_GPU else (os.cpu_count() or 1) + 1
    steps = sum(count_steps(job.member, int(learns_from(manifest, job.fold).sum())) for job in jobs)
    # The long jobs first, so that no core waits for the last of them alone.
    order = sorted(jobs, key=lambda job: isinstance(job.member, Hog))
    progress = jobs[0].file.parent.parent / f"progress-{os.getpid()}.bin"
    works = [Work(workspace.root, job, progress, place) for place, job in enumerate(order)]
    with show_progress(progress, len(works), steps, f"train oof, {len(works)} jobs"):
        for _ in engine.map(run_job, works, what="", engine=engine_name, workers=workers):
            pass


def _keep_predictions(
    workspace: Workspace,
    members: Sequence[Member],
    seeds: Sequence[int],
    jobs: Sequence[Job],
    precision: str,
    trained: int,
    start: float,
) -> StageResult:
    """Join the jobs of each complete member; the manifest must still be the one that they were trained on."""
    with workspace.lock():
        manifest = workspace.read()
        if plan_jobs(workspace, manifest, members, seeds, precision) != list(jobs):
            raise ManifestError(
                "manifest.csv: changed while the models were trained: run `train oof` again"
            )
        tables = {}
        for member in members:
            own = [job for job in jobs if job.member.name == member.name]
            if all(job.file.is_file() for job in own):
                tables[f"predictions/{member.name}.csv"] = join_jobs(manifest, own)
        for file, table in tables.items():
            write_predictions(workspace.root / file, table)
        left = sum(not job.file.is_file() for job in jobs)
        rows = sum(map(len, tables.values()))
        seconds = time.perf_counter() - start
        counts = {"jobs": len(jobs), "left": left, "rows": rows}
        summary = _format_summary(counts, trained, seconds, list(tables))
        result = StageResult(summary, tables=tables, counts=counts)
        if not left:
            options = {
                "models": {member.name: to_member_json(member) for member in members},
                "seed": seeds[0],
                "seeds": len(seeds),
                "precision": precision,
            }
            receipt = new_receipt(
                workspace.root,
                "oof",
                manifest,
                input_columns=INPUT_COLUMNS,
                inputs=(),
                options=options,
                result=result,
            )
            write_receipt(workspace.root, receipt, seconds=seconds)
    return result


def _format_summary(
    counts: dict[str, int], trained: int, seconds: float, files: Sequence[str]
) -> str:
    done = f"{counts['jobs'] - counts['left']} of {counts['jobs']} jobs done ({trained} trained now, {seconds:.0f} s)"
    if not files:
        return f"oof: {done}; {counts['left']} are left before predictions can be written"
    return f"oof: {done}; {counts['rows']:,} rows predicted -> {', '.join(files)}"


def _format_plan(manifest: pd.DataFrame, missing: Sequence[Job], jobs: int) -> str:
    lines = []
    for job in missing:
        counts = count_labels(manifest.loc[learns_from(manifest, job.fold), "given_label"])
        per_class = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        held_out = int((manifest["fold"] == job.fold).sum())
        epochs = f"{job.member.epochs} epochs on " if isinstance(job.member, Recipe) else ""
        lines.append(
            f"  {job.member.name}, seed {job.seed}, fold {job.fold}: {epochs}{sum(counts.values()):,} "
            f"rows ({per_class}), predicts {held_out:,}"
        )
    return "\n".join([*lines, f"oof: would train {len(missing)} of {jobs} jobs"])
