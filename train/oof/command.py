"""`train oof`: out-of-fold predicted probabilities, which `curate flag` reads.

Comes in: the folded manifest and the models. Goes out: `predictions/<model>.csv`.

For each fold a model trains on the images of all other folds, one copy each, towards the given
label, and predicts every row of the fold, copies too; a network's probabilities are the mean over
its TTA views (`oof_views`). A (model, seed, fold) is one job in a process of its own with one
thread, since two such jobs at once take less time than one after the other with two threads. A
job's result is written when the job ends, so after a kill the next run trains only what is missing.
When all jobs of a model are done, `train.oof.join` makes its predictions table of them.

With `--within train` the models learn from split train alone, so that their predictions may become
targets of a training (`train run --targets`): what they believe of a train row then holds nothing
of val or test. They predict the rows of all splits, and the table has a column `within` besides.

There is no val split here: the number of epochs is fixed and small (`oof_epochs`, more for a small
dataset: `oof_steps`, fewer for a large one: `oof_images`), towards the given labels by plain
cross-entropy, and a schedule that is not made for so few epochs gives way to the cosine.
"""

import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from curate import engine
from curate.errors import ManifestError, UsageError, amount
from curate.files import write_atomically
from curate.result import format_counts
from curate.stderr import print_notes
from curate.workspace.invariants import require_laws, require_split
from curate.workspace.manifest import table_bytes
from curate.workspace.predictions import write_predictions
from curate.workspace.receipts import StageResult, new_receipt, write_receipt
from curate.workspace.workspace import Workspace
from train.data.dataset import count_labels, load_images
from train.oof import face_map
from train.oof.hog_model import Hog
from train.oof.jobs import (
    INPUT_COLUMNS,
    Job,
    JobCall,
    OofModel,
    count_steps,
    plan_jobs,
    run_job,
    select_train_rows,
    to_model_json,
)
from train.oof.join import join_jobs
from train.oof.progress import show_progress
from train.recipes.presets import FAST, find_recipe
from train.recipes.recipe import Recipe, override

# The changes of --quick, beside two thirds of the channels. On one fold of FER2013 (by Adam) two
# epochs of all channels took as long and agreed with 53 % of the given labels, four epochs of two
# thirds of the channels with 56 %, six epochs of half of them with 56 %. An epoch of
# a large set shows as many images as several of a small one; what the limit costs is measured on
# drawn faces alone (`large_set` in benchmarks/RESULTS.md).
QUICK = {"oof_epochs": 4, "oof_steps": 0, "oof_images": 400_000, "oof_views": 2}


@dataclass(frozen=True)
class OofOptions:
    """Options of `train oof` beside its models.

    Attributes
    ----------
    seed, seeds : the first seed and the number of seeds; predictions are averaged over them
    model, fold : train only the jobs of this model, of this fold (another machine may train the
        others); None for all
    k : the expected number of folds; None for that of the manifest
    precision : number format of training, as of `train.backend.choose_precision`
    engine_name : where the jobs run
    workers : jobs at a time; None for one per core plus one, since a job sometimes waits, and for
        one on a GPU
    within : the split from whose rows alone the models learn; empty for all rows
    """

    seed: int = 0
    seeds: int = 1
    model: str | None = None
    fold: int | None = None
    k: int | None = None
    precision: str = "auto"
    engine_name: engine.Engine = "local"
    workers: int | None = None
    within: str = ""

    @property
    def all_seeds(self) -> range:
        """The seeds of each model."""
        return range(self.seed, self.seed + self.seeds)


DEFAULTS = OofOptions()


def predict_out_of_fold(
    workspace: Workspace,
    models: Sequence[OofModel],
    options: OofOptions = DEFAULTS,
    *,
    dry_run: bool = False,
) -> StageResult:
    """Train the missing jobs, and write the predictions of every model whose jobs are all done.

    Parameters
    ----------
    models : recipes, whose `oof_epochs` and `oof_steps` set how long they train, and `Hog`

    Returns
    -------
    the summary and its counts

    Raises
    ------
    ManifestError  if no row has a fold, or the manifest changed while the models were trained;
        with `within`, if there is no split or a duplicate group is in two of them
    UsageError  if there is no such model or fold, or the number of folds is not `k`
    """
    start = time.perf_counter()
    manifest = workspace.read()
    require_laws(manifest, "fold")
    if options.within:
        require_split(manifest)
    jobs = _plan_jobs(workspace, manifest, models, options)
    fold_count = len({job.fold for job in jobs})
    if options.k is not None and options.k != fold_count:
        raise UsageError(
            f"oof: --k {options.k}: the manifest has {fold_count} folds: "
            f"run `curate fold --k {options.k}` first"
        )
    selected = _select_jobs(jobs, options.model, options.fold)
    missing = [job for job in selected if not job.is_done()]
    if dry_run:
        return StageResult(_format_plan(manifest, missing, len(jobs)))
    if missing:
        for size in sorted({job.model.size for job in missing}):
            load_images(workspace, manifest, size)  # decoded once, before the jobs read them
        _run_jobs(workspace, manifest, missing, options)
    return _write_predictions(workspace, models, jobs, options, trained=len(missing), start=start)


def _plan_jobs(
    workspace: Workspace, manifest: pd.DataFrame, models: Sequence[OofModel], options: OofOptions
) -> list[Job]:
    seeds, precision = options.all_seeds, options.precision
    return plan_jobs(workspace, manifest, models, seeds, precision, options.within)


def choose_models(
    names: str, epochs: int | None = None, batch_size: int | None = None, *, quick: bool = False
) -> list[OofModel]:
    """The models of a comma-separated list of names.

    Parameters
    ----------
    epochs : exact number of epochs of each network; None for the recipe's
    batch_size : images per step of each network; None for the recipe's
    quick : smaller networks, four epochs, fewer of a large set, two TTA views

    Raises
    ------
    UsageError  if there is no such recipe, a value is out of range, or `quick` and `epochs` are
        both given
    """
    if quick and epochs is not None:
        raise UsageError("oof: --quick and --epochs exclude each other: name one")
    changes = {"batch_size": batch_size}
    if quick:
        changes |= QUICK
    elif epochs is not None:
        changes |= {"oof_epochs": epochs, "oof_steps": 0, "oof_images": 0}
    models: list[OofModel] = []
    for name in dict.fromkeys(name.strip() for name in names.split(",")):
        if name == Hog.name:
            models.append(Hog())
            continue
        recipe = find_recipe(name, "--models")
        if quick:
            recipe = replace(recipe, widths=_narrow(recipe.widths))
        models.append(_drop_stage(override(recipe, **changes)))
    return models


def _narrow(widths: tuple[int, ...]) -> tuple[int, ...]:
    """Two thirds of each width, rounded up."""
    return tuple(-(-2 * width // 3) for width in widths)


def _drop_stage(recipe: Recipe) -> Recipe:
    """The recipe as benchmarks/RESULTS.md measures it: `fast` has three stages."""
    widths = recipe.widths[:3] if recipe.model == FAST.model else recipe.widths
    return replace(recipe, widths=widths)


def _select_jobs(jobs: Sequence[Job], model: str | None, fold: int | None) -> list[Job]:
    """The jobs of one model, of one fold; None for all."""
    models = sorted({job.model.name for job in jobs})
    folds = sorted({int(job.fold) for job in jobs})
    if model is not None and model not in models:
        raise UsageError(f"--model {model}: there is none: choose from {', '.join(models)}")
    if fold is not None and fold not in folds:
        choices = ", ".join(map(str, folds))
        raise UsageError(f"--fold {fold}: there is none: choose from {choices}")
    of_model = [job for job in jobs if model in (None, job.model.name)]
    return [job for job in of_model if fold in (None, int(job.fold))]


def _run_jobs(
    workspace: Workspace, manifest: pd.DataFrame, jobs: Sequence[Job], options: OofOptions
) -> None:
    print_notes()
    workers = _choose_workers(jobs, options)
    folds = {job.fold for job in jobs}
    train_rows = {
        fold: int(select_train_rows(manifest, fold, options.within).sum()) for fold in folds
    }
    steps = sum(count_steps(job.model, train_rows[job.fold]) for job in jobs)
    # The long jobs first, so that no core waits for the last of them alone.
    ordered = sorted(jobs, key=lambda job: isinstance(job.model, Hog))
    # Random, since machines that share the folder may share process numbers too.
    progress_file = jobs[0].file.parent.parent / f"progress-{secrets.token_hex(8)}.bin"
    calls = [JobCall(workspace.root, job, progress_file, slot) for slot, job in enumerate(ordered)]
    with show_progress(progress_file, len(calls), steps, f"train oof, {amount(len(calls), 'job')}"):
        for _ in engine.map(run_job, calls, what="", engine=options.engine_name, workers=workers):
            pass


def _choose_workers(jobs: Sequence[Job], options: OofOptions) -> int | None:
    """Jobs at a time: one on a GPU, else one per core and one more; None lets the engine choose."""
    has_network = any(isinstance(job.model, Recipe) for job in jobs)
    if options.workers is not None or options.engine_name != "local" or not has_network:
        return options.workers
    from train.backend import HAS_GPU

    return 1 if HAS_GPU else (os.cpu_count() or 1) + 1


def _write_predictions(
    workspace: Workspace,
    models: Sequence[OofModel],
    jobs: Sequence[Job],
    options: OofOptions,
    *,
    trained: int,
    start: float,
) -> StageResult:
    """Write the table of each model whose jobs are all done; once none is left, map and receipt.

    Raises
    ------
    ManifestError  if the manifest is no longer the one on which the jobs were trained
    """
    manifest = _read_planned(workspace, models, jobs, options)
    tables = {}
    for model in models:
        own = [job for job in jobs if job.model.name == model.name]
        if all(job.is_done() for job in own):
            tables[f"predictions/{model.name}.csv"] = join_jobs(manifest, own)
    left = sum(not job.is_done() for job in jobs)
    # Before the lock: it takes seconds.
    maps = {} if left else {face_map.FILE: face_map.map_faces([*tables.values()], options.seed)}
    with workspace.lock("`train oof`"):
        manifest = _read_planned(workspace, models, jobs, options)
        for file, table in tables.items():
            write_predictions(workspace.root / file, table)
        for file, table in maps.items():
            write_atomically(workspace.root / file, table_bytes(table))
        rows = sum(map(len, tables.values()))
        seconds = time.perf_counter() - start
        counts = {"jobs": len(jobs), "left": left, "rows": rows}
        summary = _format_summary(counts, trained, seconds, list(tables))
        result = StageResult(summary, tables=tables | maps, counts=counts)
        if not left:
            _write_receipt(workspace, manifest, jobs, options, result, seconds)
    return result


def _read_planned(
    workspace: Workspace, models: Sequence[OofModel], jobs: Sequence[Job], options: OofOptions
) -> pd.DataFrame:
    """The manifest; ManifestError if it is not the one for which the jobs were planned."""
    manifest = workspace.read()
    if _plan_jobs(workspace, manifest, models, options) != list(jobs):
        raise ManifestError(
            "manifest.csv: changed while the models were trained: run `train oof` again"
        )
    return manifest


def _write_receipt(
    workspace: Workspace,
    manifest: pd.DataFrame,
    jobs: Sequence[Job],
    options: OofOptions,
    result: StageResult,
    seconds: float,
) -> None:
    receipt = new_receipt(
        workspace.root,
        "oof",
        manifest,
        input_columns=(*INPUT_COLUMNS, *(["split"] if options.within else [])),
        inputs=(),
        options={
            "models": {job.model.name: to_model_json(job.model) for job in jobs},
            "seed": options.seed,
            "seeds": options.seeds,
            "precision": options.precision,
        }
        | ({"within": options.within} if options.within else {}),
        result=result,
    )
    write_receipt(workspace.root, receipt, seconds=seconds)


def _format_summary(
    counts: dict[str, int], trained: int, seconds: float, files: Sequence[str]
) -> str:
    finished = counts["jobs"] - counts["left"]
    done = f"{finished} of {counts['jobs']} jobs done ({trained} trained now, {seconds:.0f} s)"
    if not files:
        return f"oof: {done}; {counts['left']} are left before predictions can be written"
    return f"oof: {done}; {amount(counts['rows'], 'row')} predicted -> {', '.join(files)}"


def _format_plan(manifest: pd.DataFrame, missing: Sequence[Job], jobs: int) -> str:
    """One line per job that would train, and the summary."""
    lines = []
    for job in missing:
        labels = manifest.loc[select_train_rows(manifest, job.fold, job.within), "given_label"]
        counts = count_labels(labels)
        per_class = format_counts(counts)
        held_out = int((manifest["fold"] == job.fold).sum())
        epochs = f"{amount(job.model.epochs, 'epoch')} on " if isinstance(job.model, Recipe) else ""
        lines.append(
            f"  {job.model.name}, seed {job.seed}, fold {job.fold}: "
            f"{epochs}{amount(sum(counts.values()), 'row')} ({per_class}), predicts {held_out:,}"
        )
    steps = sum(
        count_steps(job.model, int(select_train_rows(manifest, job.fold, job.within).sum()))
        for job in missing
    )
    cost = f", {steps:,} steps in all" if steps else ""
    cheaper = "; --quick takes fewer, --models hog trains no network" if steps else ""
    return "\n".join([*lines, f"oof: would train {len(missing)} of {jobs} jobs{cost}{cheaper}"])
