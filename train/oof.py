"""`train oof`: out-of-fold predictions, the bridge to `curate flag`.

For each fold a member learns from the photographs of all other folds, one copy each (target: the given label), and predicts
every row of the fold, copies too; the probabilities of a network are the mean over its views (`oof_views`). A (member, seed,
fold) is one job: a process of its own with one thread, since two such jobs side by side take less time than one after the
other with two threads. Its result is kept the moment it is there, so a killed run loses the jobs under way and the next goes
on.

When all folds of a member are there its seeds are averaged and its probabilities calibrated: the temperature of a fold is
fitted on the other folds (C. Guo et al., ICML 2017).

There is no val split here: the epochs are fixed, and few (`oof_epochs`, more for a small dataset: `oof_steps`), with the
cosine schedule and plain cross-entropy on the given labels, whatever the recipe says.
"""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate import engine
from curate.errors import ManifestError, UsageError
from curate.laws import require_laws
from curate.predictions import MARGIN_AUC, PREFIX, class_names, write_predictions
from curate.receipts import StageResult, new_receipt, write_receipt
from curate.thumbnails import read_array, write_array
from curate.workspace import Workspace
from train import hog
from train.augment import plan_mirror, plan_shifts
from train.calibration import fit_temperature, soften
from train.data import Examples, Images, Rows, count_labels, encode_labels, list_classes, load_images, number_rows
from train.hog import Hog
from train.progress import Slot, show_progress
from train.recipes import Recipe, find_recipe, override, to_json

# Facts alone: a decision about one image must not make every model train again.
READS = ("pixel_hash", "given_label", "fold", "quality", "duplicate_group")
# Fields that do not change what is trained.
_WORDS = ("about", "published", "source", "oof_epochs", "oof_steps")
# Of --quick, beside two thirds of the channels. On one fold of FER2013 two epochs of all channels took as long and agreed with
# 53 % of the given labels, four of two thirds with 56 %, six of half with 56 %.
QUICK = {"oof_epochs": 4, "oof_steps": 0, "oof_views": 2}

Member = Recipe | Hog
Probs = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Job:
    """One member to train: on all folds but one."""

    member: Member
    seed: int
    fold: str
    file: Path
    precision: str

    @property
    def margins(self) -> Path:
        """(N,) float, the margins of the learned rows by row number, NaN for the others; there before `file` is."""
        return self.file.with_suffix(".npy")


@dataclass(frozen=True)
class Work:
    """A job as it is sent to the process that does it."""

    root: Path
    job: Job
    progress: Path
    place: int


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
    the story and its counts

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
        raise UsageError(f"oof: --k {k}: the manifest has {folds} folds: run `curate fold --k {k}` first")
    missing = [job for job in _choose_jobs(jobs, model, fold) if not job.file.is_file()]
    if dry_run:
        return StageResult(_tell_plan(manifest, missing, len(jobs)))
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
    recipes = {name: find_recipe(name) for name in chosen if name != Hog.name}
    if quick:
        recipes = {name: replace(recipe, widths=_narrow(recipe.widths)) for name, recipe in recipes.items()}
    return [override(recipes[name], **changes) if name in recipes else Hog() for name in chosen]


def plan_jobs(
    workspace: Workspace,
    manifest: pd.DataFrame,
    members: Sequence[Member],
    seeds: Sequence[int],
    precision: str = "auto",
) -> list[Job]:
    """Every (member, seed, fold), with the file that holds its result; the file's name changes with what it depends on."""
    folds = sorted(set(manifest["fold"]) - {""}, key=int)
    if len(folds) < 2:
        raise ManifestError(f"manifest.csv: {len(folds)} folds: run `curate fold` first")
    rows = min(int(_learns_from(manifest, fold).sum()) for fold in folds)
    jobs = []
    for member in members:
        shortened = _shorten(member, rows) if isinstance(member, Recipe) else member
        folder = workspace.cache / "oof" / _digest(shortened, manifest, precision)
        jobs += [
            Job(shortened, seed, fold, folder / f"{member.name}-s{seed}-f{fold}.csv", precision)
            for seed in seeds
            for fold in folds
        ]
    return jobs


def round_probs(probs: Probs) -> Probs:
    """(N, K) with six decimals whose rows still sum to 1: the largest entry takes what rounding left over."""
    millionths = np.rint(probs * 1e6).astype(np.int64)
    largest = millionths.argmax(axis=1)
    millionths[np.arange(len(probs)), largest] += 1_000_000 - millionths.sum(axis=1)
    return millionths / 1e6


def _narrow(widths: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-2 * width // 3) for width in widths)


def _shorten(recipe: Recipe, rows: int) -> Recipe:
    """The recipe as it is trained here, on so many rows."""
    steps = -(-rows // recipe.batch_size) or 1
    epochs = max(recipe.oof_epochs, -(-recipe.oof_steps // steps))
    # Adam: the members that benchmarks/RESULTS.md judges were trained by it.
    return replace(recipe, epochs=epochs, schedule="cosine", optimizer="adam")


def _choose_jobs(jobs: Sequence[Job], model: str | None, fold: int | None) -> list[Job]:
    for option, asked, known in (
        ("--model", model, sorted({job.member.name for job in jobs})),
        ("--fold", fold, sorted({int(job.fold) for job in jobs})),
    ):
        if asked is not None and asked not in known:
            raise UsageError(f"{option} {asked}: there is none: choose from {', '.join(map(str, known))}")
    return [job for job in jobs if model in (None, job.member.name) and fold in (None, int(job.fold))]


def _run_jobs(
    workspace: Workspace, manifest: pd.DataFrame, jobs: Sequence[Job], engine_name: engine.Engine, workers: int | None
) -> None:
    if workers is None and engine_name == "local" and any(isinstance(job.member, Recipe) for job in jobs):
        from train.backend import HAS_GPU

        workers = 1 if HAS_GPU else (os.cpu_count() or 1) + 1
    steps = sum(_count_steps(job.member, int(_learns_from(manifest, job.fold).sum())) for job in jobs)
    # The long jobs first, so that no core waits for the last of them alone.
    order = sorted(jobs, key=lambda job: isinstance(job.member, Hog))
    progress = jobs[0].file.parent.parent / f"progress-{os.getpid()}.bin"
    works = [Work(workspace.root, job, progress, place) for place, job in enumerate(order)]
    with show_progress(progress, len(works), steps, f"train oof, {len(works)} jobs"):
        for _ in engine.map(run_job, works, what="", engine=engine_name, workers=workers):
            pass


def run_job(work: Work) -> None:
    """Train one member and write its result; called in a process of its own, which reads the manifest itself.

    Raises
    ------
    ManifestError  if the manifest is no longer the one that the job was planned for
    """
    workspace, job = Workspace(work.root), work.job
    manifest = workspace.read()
    if _digest(job.member, manifest, job.precision) != job.file.parent.name:
        raise ManifestError("manifest.csv: changed while the models were trained: run `train oof` again")
    images = load_images(workspace, manifest, job.member.size)
    classes = list_classes(manifest["given_label"])
    targets = encode_labels(manifest["given_label"], classes, "manifest.csv")
    learn = number_rows(_learns_from(manifest, job.fold))
    held_out = number_rows(manifest["fold"] == job.fold)
    bar = Slot(work.progress, work.place)
    if isinstance(job.member, Hog):
        seed = (job.seed, int(job.fold))
        probs = hog.learn_and_predict(job.member, images, learn, targets[learn], held_out, len(classes), seed, bar)
    else:
        probs, margins = _train_network(job, job.member, images, learn, targets, held_out, classes, bar)
        kept = np.full(len(manifest), np.nan)
        kept[learn] = margins.round(4)
        write_array(job.margins, kept)
    table = pd.DataFrame(round_probs(probs), columns=[PREFIX + name for name in classes])
    table.insert(0, "fold", job.fold)
    table.insert(0, "model", job.member.name)
    table.insert(0, "path", manifest.loc[held_out, "path"].to_numpy())
    write_predictions(job.file, table)


def _train_network(
    job: Job,
    recipe: Recipe,
    images: Images,
    learn: Rows,
    targets: Rows,
    held_out: Rows,
    classes: Sequence[str],
    bar: Any,
) -> tuple[Probs, Probs]:
    """The probabilities of the rows held out, and the margins of the rows learned from."""
    # Keras takes seconds to import, and a run that finds every job done needs none of it.
    from train import fit
    from train.backend import choose_precision, use_one_thread
    from train.margins import FollowMargins

    use_one_thread()
    policy, _ = choose_precision(job.precision)
    train = Examples(images, learn, targets[learn], np.ones(len(learn), np.float32))
    follow = FollowMargins(train, recipe.epochs)
    seed = (job.seed, int(job.fold))
    model, _ = fit.fit_model(recipe, len(classes), train, seed=seed, precision=policy, bar=bar, watchers=[follow])
    plan = plan_mirror if recipe.oof_views == 2 else plan_shifts
    return fit.predict_probs(model, images, held_out, plan(len(held_out), recipe.size)), follow.margins


def _count_steps(member: Member, rows: int) -> int:
    return member.count_steps(rows) if isinstance(member, Hog) else member.epochs * -(-rows // member.batch_size)


def _learns_from(manifest: pd.DataFrame, fold: str) -> "pd.Series[bool]":
    """One copy of each photograph and label in the other folds."""
    eligible = (manifest["quality"] == "") & (manifest["fold"] != "")
    first = ~_photographs(manifest)[eligible].duplicated()
    return first.reindex(manifest.index, fill_value=False) & (manifest["fold"] != fold)


def _photographs(manifest: pd.DataFrame) -> pd.DataFrame:
    """The photograph and the given label of each row: copies under one label are one example."""
    group = manifest["duplicate_group"].where(manifest["duplicate_group"] != "", manifest["path"])
    return pd.DataFrame({"group": group, "label": manifest["given_label"]})


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
            raise ManifestError("manifest.csv: changed while the models were trained: run `train oof` again")
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
        story = _tell_story(counts, trained, seconds, list(tables))
        result = StageResult(story, tables=tables, counts=counts)
        if not left:
            options = {
                "models": {member.name: _to_json(member) for member in members},
                "seed": seeds[0],
                "seeds": len(seeds),
                "precision": precision,
            }
            receipt = new_receipt(
                workspace.root, "oof", manifest, reads=READS, inputs=(), options=options, result=result
            )
            write_receipt(workspace.root, receipt, seconds=seconds)
    return result


def join_jobs(manifest: pd.DataFrame, jobs: Sequence[Job]) -> pd.DataFrame:
    """The predictions table of one member: seeds averaged, each fold calibrated on the others, margins joined."""
    per_seed = []
    for seed in sorted({job.seed for job in jobs}):
        folds = [pd.read_csv(job.file, dtype=str, keep_default_na=False) for job in jobs if job.seed == seed]
        per_seed.append(pd.concat(folds, ignore_index=True).sort_values("path", ignore_index=True))
    table = per_seed[0]
    classes = class_names(table)
    columns = [PREFIX + name for name in classes]
    probs = np.mean([each[columns].to_numpy(dtype=np.float64) for each in per_seed], axis=0)
    rows = manifest.set_index("path").loc[table["path"]]
    targets = encode_labels(rows["given_label"], classes, "manifest.csv")
    calibrated = probs.copy()
    for fold in sorted(set(table["fold"])):
        inside = (table["fold"] == fold).to_numpy()
        calibrated[inside] = soften(probs[inside], fit_temperature(probs[~inside], targets[~inside]))
    table[columns] = round_probs(calibrated)
    margins = _join_margins(manifest, jobs)
    return table if margins is None else table.assign(**{MARGIN_AUC: margins.loc[table["path"]].to_numpy()})


def _join_margins(manifest: pd.DataFrame, jobs: Sequence[Job]) -> "pd.Series[str] | None":
    """Path -> mean margin over all jobs that learned the row, or its copy under the same label; empty where none did."""
    found = [read_array(job.margins) for job in jobs]
    known = [margins for margins in found if margins is not None]
    if not known:
        return None
    stacked = np.stack(known)
    counted = np.isfinite(stacked).sum(axis=0)
    mean = pd.Series(np.where(counted > 0, np.nansum(stacked, axis=0) / np.maximum(counted, 1), np.nan), manifest.index)
    photographs = _photographs(manifest)
    shared = mean.groupby([photographs["group"], photographs["label"]]).transform("mean")
    shared = shared.where((manifest["fold"] != "") & (manifest["quality"] == ""))
    text = shared.map(lambda value: f"{value:.4f}", na_action="ignore").fillna("")
    return pd.Series(text.to_numpy(), index=manifest["path"], dtype=str)


def _to_json(member: Member) -> dict[str, Any]:
    return hog.to_json(member) if isinstance(member, Hog) else to_json(member)


def _digest(member: Member, manifest: pd.DataFrame, precision: str) -> str:
    """16 hex digits of everything a job depends on but its seed and fold."""
    settings: dict[str, Any] = {name: value for name, value in _to_json(member).items() if name not in _WORDS}
    columns = manifest[["path", *READS]].agg("\t".join, axis=1)
    text = json.dumps([settings, precision], sort_keys=True) + "\n" + "\n".join(columns)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _tell_story(counts: dict[str, int], trained: int, seconds: float, files: Sequence[str]) -> str:
    done = f"{counts['jobs'] - counts['left']} of {counts['jobs']} jobs done ({trained} trained now, {seconds:.0f} s)"
    if not files:
        return f"oof: {done}; {counts['left']} are left before predictions can be written"
    return f"oof: {done}; {counts['rows']:,} rows predicted -> {', '.join(files)}"


def _tell_plan(manifest: pd.DataFrame, missing: Sequence[Job], jobs: int) -> str:
    lines = []
    for job in missing:
        counts = count_labels(manifest.loc[_learns_from(manifest, job.fold), "given_label"])
        per_class = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        held_out = int((manifest["fold"] == job.fold).sum())
        epochs = f"{job.member.epochs} epochs on " if isinstance(job.member, Recipe) else ""
        lines.append(
            f"  {job.member.name}, seed {job.seed}, fold {job.fold}: {epochs}{sum(counts.values()):,} "
            f"rows ({per_class}), predicts {held_out:,}"
        )
    return "\n".join([*lines, f"oof: would train {len(missing)} of {jobs} jobs"])
