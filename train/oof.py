"""`train oof`: out-of-fold predictions, the bridge to `curate flag`.

For each fold a model learns from the photographs of all other folds, one copy each (target: the given label), and
predicts every row of the fold, copies too; probabilities are the mean over the image and its mirror. A (model, seed, fold)
is one job, and its result is kept the moment it is there, so a killed run loses one job at most and the next run goes on.

There is no val split here: the epochs are fixed, and few (`oof_epochs`), with the cosine schedule whatever the recipe says.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate import engine
from curate.errors import ManifestError, UsageError
from curate.laws import require_laws
from curate.predictions import PREFIX, class_names, write_predictions
from curate.receipts import StageResult, new_receipt, write_receipt
from curate.workspace import Workspace
from train.augment import plan_mirror
from train.data import Examples, Images, count_labels, encode_labels, list_classes, load_images, number_rows
from train.recipes import Recipe, find_recipe, override, to_json

# Facts alone: a decision about one image must not make every model train again.
READS = ("pixel_hash", "given_label", "fold", "quality", "duplicate_group")
# Fields that do not change what is trained.
_WORDS = ("about", "published", "oof_epochs")


@dataclass(frozen=True)
class Job:
    """One model to train: on all folds but one."""

    recipe: Recipe
    seed: int
    fold: str
    file: Path


def predict_out_of_fold(
    workspace: Workspace,
    recipes: Sequence[Recipe],
    *,
    seed: int = 0,
    model: str | None = None,
    fold: int | None = None,
    precision: str = "auto",
    dry_run: bool = False,
) -> StageResult:
    """Train what is missing, and write `predictions/<model>.csv` for every model whose folds are all there.

    Parameters
    ----------
    recipes : one model each; `oof_epochs` is how long it is trained
    model, fold : train the jobs of this recipe, of this fold, alone (another machine may do the others); None for all

    Returns
    -------
    the story and its counts

    Raises
    ------
    ManifestError  if no row has a fold, or the manifest changed while the models were trained
    """
    start = time.perf_counter()
    manifest = workspace.read()
    require_laws(manifest, "fold")
    jobs = plan_jobs(workspace, manifest, recipes, seed, precision)
    missing = [job for job in _choose_jobs(jobs, model, fold) if not job.file.is_file()]
    if dry_run:
        return StageResult(_tell_plan(manifest, missing, len(jobs)))
    if missing:
        sizes = sorted({job.recipe.size for job in missing})
        _run_jobs(missing, manifest, {size: load_images(workspace, manifest, size) for size in sizes}, precision)
    return _keep_predictions(workspace, jobs, seed, precision, len(missing), start)


def choose_recipes(names: str, epochs: int | None = None, batch_size: int | None = None) -> list[Recipe]:
    """The recipes of a comma-separated list, with `oof_epochs` and `batch_size` replaced unless None."""
    chosen = dict.fromkeys(name.strip() for name in names.split(","))
    return [override(find_recipe(name), oof_epochs=epochs, batch_size=batch_size) for name in chosen]


def plan_jobs(
    workspace: Workspace, manifest: pd.DataFrame, recipes: Sequence[Recipe], seed: int, precision: str = "auto"
) -> list[Job]:
    """Every (model, seed, fold), with the file that holds its result; the file's name changes with whatever it depends on."""
    folds = sorted(set(manifest["fold"]) - {""}, key=int)
    if len(folds) < 2:
        raise ManifestError(f"manifest.csv: {len(folds)} folds: run `curate fold` first")
    jobs = []
    for recipe in recipes:
        shortened = replace(recipe, epochs=recipe.oof_epochs, schedule="cosine")
        folder = workspace.cache / "oof" / _digest(shortened, manifest, precision)
        jobs += [Job(shortened, seed, fold, folder / f"{recipe.name}-s{seed}-f{fold}.csv") for fold in folds]
    return jobs


def round_probs(probs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N, K) with six decimals whose rows still sum to 1: the largest entry takes what rounding left over."""
    millionths = np.rint(probs * 1e6).astype(np.int64)
    largest = millionths.argmax(axis=1)
    millionths[np.arange(len(probs)), largest] += 1_000_000 - millionths.sum(axis=1)
    return millionths / 1e6


def _choose_jobs(jobs: Sequence[Job], model: str | None, fold: int | None) -> list[Job]:
    for option, asked, known in (
        ("--model", model, sorted({job.recipe.name for job in jobs})),
        ("--fold", fold, sorted({int(job.fold) for job in jobs})),
    ):
        if asked is not None and asked not in known:
            raise UsageError(f"{option} {asked}: there is none: choose from {', '.join(map(str, known))}")
    return [job for job in jobs if model in (None, job.recipe.name) and fold in (None, int(job.fold))]


def _run_jobs(jobs: Sequence[Job], manifest: pd.DataFrame, images_of: Mapping[int, Images], precision: str) -> None:
    """Train each job and write its result; `images_of` gives the images by their side in pixels."""
    # Keras takes seconds to import, and a run that finds every job done needs none of it.
    from train.backend import choose_precision
    from train.fit import fit_model, predict_probs

    policy, _ = choose_precision(precision)
    classes = list_classes(manifest["given_label"])
    targets = encode_labels(manifest["given_label"], classes, "manifest.csv")
    learns = [number_rows(_learns_from(manifest, job.fold)) for job in jobs]
    steps = sum(
        job.recipe.epochs * -(-len(rows) // job.recipe.batch_size) for job, rows in zip(jobs, learns, strict=True)
    )
    with engine.progress(steps, "train oof") as bar:
        for done, (job, rows) in enumerate(zip(jobs, learns, strict=True)):
            bar.set_description_str(f"train oof {job.recipe.name}, fold {job.fold} ({done + 1} of {len(jobs)})")
            images = images_of[job.recipe.size]
            train = Examples(images, rows, targets[rows], np.ones(len(rows), np.float32))
            seed = (job.seed, int(job.fold))
            model, _ = fit_model(job.recipe, len(classes), train, seed=seed, precision=policy, bar=bar)
            held_out = number_rows(manifest["fold"] == job.fold)
            probs = predict_probs(model, images, held_out, plan_mirror(len(held_out), job.recipe.size))
            _write_job(job, manifest.loc[held_out, "path"], classes, probs)


def _learns_from(manifest: pd.DataFrame, fold: str) -> "pd.Series[bool]":
    """One copy of each photograph and label in the other folds."""
    group = manifest["duplicate_group"].where(manifest["duplicate_group"] != "", manifest["path"])
    eligible = (manifest["quality"] == "") & (manifest["fold"] != "")
    first = ~pd.DataFrame({"group": group, "label": manifest["given_label"]})[eligible].duplicated()
    return first.reindex(manifest.index, fill_value=False) & (manifest["fold"] != fold)


def _write_job(job: Job, paths: "pd.Series[str]", classes: Sequence[str], probs: npt.NDArray[np.float64]) -> None:
    table = pd.DataFrame(round_probs(probs), columns=[PREFIX + name for name in classes])
    table.insert(0, "fold", job.fold)
    table.insert(0, "model", job.recipe.name)
    table.insert(0, "path", paths.to_numpy())
    write_predictions(job.file, table)


def _keep_predictions(
    workspace: Workspace, jobs: Sequence[Job], seed: int, precision: str, trained: int, start: float
) -> StageResult:
    """Join the folds of each complete model; the manifest must still be the one that they were trained on."""
    with workspace.lock():
        manifest = workspace.read()
        recipes = {job.recipe.name: job.recipe for job in jobs}
        if plan_jobs(workspace, manifest, list(recipes.values()), seed, precision) != list(jobs):
            raise ManifestError("manifest.csv: changed while the models were trained: run `train oof` again")
        tables = {}
        for name in recipes:
            files = [job.file for job in jobs if job.recipe.name == name]
            if all(file.is_file() for file in files):
                tables[f"predictions/{name}.csv"] = _join_folds(files)
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
                "models": {name: to_json(recipe) for name, recipe in recipes.items()},
                "seed": seed,
                "precision": precision,
            }
            receipt = new_receipt(
                workspace.root, "oof", manifest, reads=READS, inputs=(), options=options, result=result
            )
            write_receipt(workspace.root, receipt, seconds=seconds)
    return result


def _join_folds(files: Sequence[Path]) -> pd.DataFrame:
    table = pd.concat([pd.read_csv(file, dtype=str, keep_default_na=False) for file in files], ignore_index=True)
    return table.astype({PREFIX + name: float for name in class_names(table)})


def _digest(recipe: Recipe, manifest: pd.DataFrame, precision: str) -> str:
    """16 hex digits of everything a job depends on but its seed and fold."""
    settings: dict[str, Any] = {name: value for name, value in to_json(recipe).items() if name not in _WORDS}
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
        lines.append(
            f"  {job.recipe.name}, seed {job.seed}, fold {job.fold}: {job.recipe.epochs} epochs on {sum(counts.values()):,} "
            f"rows ({per_class}), predicts {held_out:,}"
        )
    return "\n".join([*lines, f"oof: would train {len(missing)} of {jobs} jobs"])
