"""One job of `train oof`: one model, one seed, one fold, trained in a process of its own.

Comes in: the manifest's facts and a model. Goes out: a CSV file with the predictions of the fold.
The file's name depends on everything that its result depends on, so a result computed from other
facts is never used in its place.
"""

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.errors import ManifestError, WorkspaceError
from curate.files import holds_seal
from curate.images.thumbnails import write_array
from curate.stderr import note_once
from curate.workspace.manifest import kept_rows
from curate.workspace.predictions import PREFIX, write_predictions
from curate.workspace.workspace import Workspace
from train.data.dataset import Examples, encode_labels, list_classes, load_images, number_rows
from train.data.tta import plan_fixed_views
from train.oof import hog_model
from train.oof.progress import ProgressSlot
from train.recipes.recipe import (
    SMALL_BATCH,
    WARMUP_SCHEDULES,
    Recipe,
    resolve_batch_size,
    to_json,
)

# Facts alone: a decision about one image must not make every model train again.
INPUT_COLUMNS = ("pixel_hash", "given_label", "fold", "quality", "duplicate_group")
# Fields of a model that do not change its training; the epochs are in `epochs`.
_NOT_TRAINED = (
    "about", "published", "source", "classes", "oof_epochs", "oof_steps",
    "oof_images", "targets", "belief_weight",
)  # fmt: skip

OofModel = Recipe | hog_model.Hog
Probs = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Job:
    """One model to train with one seed on all folds but one.

    Attributes
    ----------
    fold : the fold that is held out and predicted
    file : predictions of that fold, sealed; the job is done when it is whole
    precision : number format of training, as of `train.backend.choose_precision`
    within : the split from whose rows alone the model learns; empty for all rows
    """

    model: OofModel
    seed: int
    fold: str
    file: Path
    precision: str
    within: str = ""

    def is_done(self) -> bool:
        """Whether its files are whole; a note if one is damaged, for the job is then done again."""
        files = [self.file] if isinstance(self.model, hog_model.Hog) else [self.file, self.margins]
        for file in files:
            try:
                if not file.exists():
                    return False
                is_whole = bool(holds_seal(file))
            except OSError:
                is_whole = False
            if not is_whole:
                note_once(
                    f"{file}: has not the checksum it was written with: its job is done again"
                )
                return False
        return True

    @property
    def margins(self) -> Path:
        """File of (N,) float margins, NaN for rows not trained on; written before `file`."""
        return self.file.with_suffix(".npy")


@dataclass(frozen=True)
class JobCall:
    """A job with what its process needs: the workspace, and its slot of the progress file."""

    workspace_root: Path
    job: Job
    progress_file: Path
    slot: int


def plan_jobs(
    workspace: Workspace,
    manifest: pd.DataFrame,
    models: Sequence[OofModel],
    seeds: Sequence[int],
    precision: str = "auto",
    within: str = "",
) -> list[Job]:
    """Every (model, seed, fold), with the file of its result.

    Parameters
    ----------
    within : the split from whose rows alone the models learn; empty for all rows

    Raises
    ------
    ManifestError  if the manifest has fewer than two folds, or one of them would learn from no row
    """
    folds = sorted(set(manifest["fold"]) - {""}, key=int)
    if len(folds) < 2:
        raise ManifestError(f"manifest.csv: {len(folds)} folds: run `curate fold` first")
    fewest_rows = min(int(select_train_rows(manifest, fold, within).sum()) for fold in folds)
    if within and not fewest_rows:
        raise ManifestError(
            f"manifest.csv: split {within} has rows in one fold alone: run `curate fold` with "
            "another --seed, or `curate split`, again"
        )
    jobs = []
    for requested in models:
        model = (
            shorten_recipe(requested, fewest_rows) if isinstance(requested, Recipe) else requested
        )
        folder = workspace.cache / "oof" / _digest(model, manifest, precision, within)
        for seed in seeds:
            for fold in folds:
                file = folder / f"{model.name}-s{seed}-f{fold}.csv"
                jobs.append(Job(model, seed, fold, file, precision, within))
    return jobs


def run_job(call: JobCall) -> None:
    """Train one model and write its predictions; runs in its own process and reads the manifest.

    Raises
    ------
    ManifestError  if the manifest is no longer the one for which the job was planned
    WorkspaceError  if there is no workspace where the job runs
    """
    workspace, job = Workspace(call.workspace_root), call.job
    if not workspace.manifest.is_file():
        raise WorkspaceError(
            f"{workspace.root}: there is no workspace on {platform.node()}: "
            "it must lie on a disk that every node reads and writes, by one path"
        )
    manifest = workspace.read()
    if _digest(job.model, manifest, job.precision, job.within) != job.file.parent.name:
        raise ManifestError(
            "manifest.csv: changed while the models were trained: run `train oof` again"
        )
    images = load_images(workspace, manifest, job.model.size)
    classes = list_classes(manifest["given_label"])
    targets = encode_labels(manifest["given_label"], classes, "manifest.csv")
    rows = number_rows(select_train_rows(manifest, job.fold, job.within))
    train = Examples(images, rows, targets[rows], np.ones(len(rows), np.float32))
    held_out = number_rows(manifest["fold"] == job.fold)
    bar = ProgressSlot(call.progress_file, call.slot)
    if isinstance(job.model, hog_model.Hog):
        seed = (job.seed, int(job.fold))
        probs = hog_model.fit_and_predict(job.model, train, held_out, len(classes), seed, bar)
    else:
        probs, margins = _train_network(job, job.model, train, held_out, len(classes), bar)
        by_row = np.full(len(manifest), np.nan)
        by_row[rows] = margins.round(4)
        write_array(job.margins, by_row)
    table = pd.DataFrame(round_probs(probs), columns=[PREFIX + name for name in classes])
    table.insert(0, "fold", job.fold)
    table.insert(0, "model", job.model.name)
    table.insert(0, "path", manifest.loc[held_out, "path"].to_numpy())
    write_predictions(job.file, table, is_sealed=True)


def _train_network(
    job: Job,
    recipe: Recipe,
    train: Examples,
    held_out: npt.NDArray[np.int64],
    class_count: int,
    bar: Any,
) -> tuple[Probs, Floats]:
    """Probabilities (M, K) of the held-out rows, and margins (N,) of the training rows."""
    # Keras takes seconds to import, and a run that finds every job done does not need it.
    from train.backend import choose_precision, use_one_thread
    from train.evaluation import predict
    from train.oof.margins import MarginRecorder
    from train.training import fit

    use_one_thread()
    policy, _ = choose_precision(job.precision, recipe.model)
    recorder = MarginRecorder(train, recipe.epochs)
    seed = (job.seed, int(job.fold))
    training = fit.Training(recipe, class_count, len(train.rows), seed, policy)
    model = fit.make_model(training)
    network, _ = fit.fit_model(model, training, train, bar, callbacks=[recorder])
    tta_views = plan_fixed_views(len(held_out), recipe.size, recipe.oof_views)
    return predict.predict_probs(network, train.images, held_out, tta_views), recorder.margins


def count_steps(model: OofModel, rows: int) -> int:
    """Steps of the progress bar that training on so many rows takes."""
    if isinstance(model, hog_model.Hog):
        return model.count_steps(rows)
    return model.epochs * -(-rows // model.batch_size)


def select_train_rows(manifest: pd.DataFrame, fold: str, within: str = "") -> "pd.Series[bool]":
    """The rows on which the models of this fold train: of the other folds, one of each example.

    Copies of an image under one label are one example; under two labels they are two.

    Parameters
    ----------
    within : the split to whose rows they are restricted; empty for no restriction
    """
    eligible = (manifest["quality"] == "") & (manifest["fold"] != "")
    if within:
        eligible &= is_within(manifest, within)
    first = ~example_keys(manifest)[eligible].duplicated()
    return first.reindex(manifest.index, fill_value=False) & (manifest["fold"] != fold)


def is_within(manifest: pd.DataFrame, within: str) -> "pd.Series[bool]":
    """Whether a row is of that split and has no copy among the kept rows of the other splits."""
    groups, kept = manifest["duplicate_group"], kept_rows(manifest)
    others = set(kept.loc[~kept["split"].isin(["", within]), "duplicate_group"]) - {""}
    return (manifest["split"] == within) & ~groups.isin(others)


def example_keys(manifest: pd.DataFrame) -> pd.DataFrame:
    """Per row the duplicate group (or the path) and the given label; equal keys are one example."""
    group = manifest["duplicate_group"].where(manifest["duplicate_group"] != "", manifest["path"])
    return pd.DataFrame({"group": group, "label": manifest["given_label"]})


def round_probs(probs: Probs) -> Probs:
    """(N, K) with six decimals whose rows still sum to 1: the largest entry takes the remainder."""
    millionths = np.rint(probs * 1e6).astype(np.int64)
    largest = millionths.argmax(axis=1)
    millionths[np.arange(len(probs)), largest] += 1_000_000 - millionths.sum(axis=1)
    return millionths / 1e6


def to_model_json(model: OofModel) -> dict[str, Any]:
    """The model as plain JSON values, for the receipt and for the name of its jobs' folder."""
    return hog_model.to_json(model) if isinstance(model, hog_model.Hog) else to_json(model)


def shorten_recipe(recipe: Recipe, rows: int) -> Recipe:
    """The recipe as it is trained on so many rows: few epochs, plain cross-entropy."""
    sized = resolve_batch_size(recipe, rows)
    # A step of twice the images at twice the rate does the work of two.
    steps = -(-rows // (recipe.batch_size or SMALL_BATCH)) or 1
    epochs = max(recipe.oof_epochs, -(-recipe.oof_steps // steps))
    if recipe.oof_images:
        epochs = min(epochs, -(-recipe.oof_images // max(rows, 1)))
    # The other schedules are made for many epochs, or need a val split.
    schedule = recipe.schedule if recipe.schedule in WARMUP_SCHEDULES else "cosine"
    return replace(
        sized, epochs=epochs, schedule=schedule, label_smoothing=0.0, self_distillation=0.0
    )


def _digest(model: OofModel, manifest: pd.DataFrame, precision: str, within: str) -> str:
    """16 hex digits of what a job depends on beside its seed, its fold and its machine.

    Under precision `auto` another machine may compute in another one; name it to have one for all.
    """
    fields = to_model_json(model)
    settings = {name: value for name, value in fields.items() if name not in _NOT_TRAINED}
    facts = manifest[["path", *INPUT_COLUMNS]]
    if within:
        facts = facts.assign(within=is_within(manifest, within).map({True: within, False: ""}))
    columns = facts.agg("\t".join, axis=1)
    text = json.dumps([settings, precision], sort_keys=True) + "\n" + "\n".join(columns)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
