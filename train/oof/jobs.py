"""One job of `train oof`: what it depends on, what it learns from, and its training in a process of its own.

A job is one member, one seed and one fold. Its file is named after everything that its result depends on, so that a result of
other facts is never taken for it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.errors import ManifestError
from curate.images.thumbnails import write_array
from curate.workspace.predictions import PREFIX, write_predictions
from curate.workspace.workspace import Workspace
from train.data.augment import plan_mirror, plan_shifts
from train.data.images import (
    Examples,
    Images,
    Rows,
    encode_labels,
    list_classes,
    load_images,
    number_rows,
)
from train.oof import hog_model
from train.oof.progress import Slot
from train.recipes.recipe import Recipe, to_json

# Facts alone: a decision about one image must not make every model train again.
INPUT_COLUMNS = ("pixel_hash", "given_label", "fold", "quality", "duplicate_group")
# Fields that do not change what is trained.
_WORDS = ("about", "published", "source", "classes", "oof_epochs", "oof_steps")

Member = Recipe | hog_model.Hog
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
    rows = min(int(learns_from(manifest, fold).sum()) for fold in folds)
    jobs = []
    for member in members:
        shortened = shorten(member, rows) if isinstance(member, Recipe) else member
        folder = workspace.cache / "oof" / _digest(shortened, manifest, precision)
        jobs += [
            Job(shortened, seed, fold, folder / f"{member.name}-s{seed}-f{fold}.csv", precision)
            for seed in seeds
            for fold in folds
        ]
    return jobs


def run_job(work: Work) -> None:
    """Train one member and write its result; called in a process of its own, which reads the manifest itself.

    Raises
    ------
    ManifestError  if the manifest is no longer the one that the job was planned for
    """
    workspace, job = Workspace(work.root), work.job
    manifest = workspace.read()
    if _digest(job.member, manifest, job.precision) != job.file.parent.name:
        raise ManifestError(
            "manifest.csv: changed while the models were trained: run `train oof` again"
        )
    images = load_images(workspace, manifest, job.member.size)
    classes = list_classes(manifest["given_label"])
    targets = encode_labels(manifest["given_label"], classes, "manifest.csv")
    learn = number_rows(learns_from(manifest, job.fold))
    held_out = number_rows(manifest["fold"] == job.fold)
    bar = Slot(work.progress, work.place)
    if isinstance(job.member, hog_model.Hog):
        seed = (job.seed, int(job.fold))
        probs = hog_model.learn_and_predict(
            job.member, images, learn, targets[learn], held_out, len(classes), seed, bar
        )
    else:
        probs, margins = _train_network(
            job, job.member, images, learn, targets, held_out, classes, bar
        )
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
    from train.backend import choose_precision, use_one_thread
    from train.evaluation import predict
    from train.oof.aum import FollowMargins
    from train.training import fit

    use_one_thread()
    policy, _ = choose_precision(job.precision)
    train = Examples(images, learn, targets[learn], np.ones(len(learn), np.float32))
    follow = FollowMargins(train, recipe.epochs)
    seed = (job.seed, int(job.fold))
    model, _ = fit.fit_model(
        recipe, len(classes), train, seed=seed, precision=policy, bar=bar, watchers=[follow]
    )
    plan = plan_mirror if recipe.oof_views == 2 else plan_shifts
    return predict.predict_probs(
        model, images, held_out, plan(len(held_out), recipe.size)
    ), follow.margins


def count_steps(member: Member, rows: int) -> int:
    return (
        member.count_steps(rows)
        if isinstance(member, hog_model.Hog)
        else member.epochs * -(-rows // member.batch_size)
    )


def learns_from(manifest: pd.DataFrame, fold: str) -> "pd.Series[bool]":
    """One copy of each photograph and label in the other folds."""
    eligible = (manifest["quality"] == "") & (manifest["fold"] != "")
    first = ~name_photographs(manifest)[eligible].duplicated()
    return first.reindex(manifest.index, fill_value=False) & (manifest["fold"] != fold)


def name_photographs(manifest: pd.DataFrame) -> pd.DataFrame:
    """The photograph and the given label of each row: copies under one label are one example."""
    group = manifest["duplicate_group"].where(manifest["duplicate_group"] != "", manifest["path"])
    return pd.DataFrame({"group": group, "label": manifest["given_label"]})


def round_probs(probs: Probs) -> Probs:
    """(N, K) with six decimals whose rows still sum to 1: the largest entry takes what rounding left over."""
    millionths = np.rint(probs * 1e6).astype(np.int64)
    largest = millionths.argmax(axis=1)
    millionths[np.arange(len(probs)), largest] += 1_000_000 - millionths.sum(axis=1)
    return millionths / 1e6


def to_member_json(member: Member) -> dict[str, Any]:
    return hog_model.to_json(member) if isinstance(member, hog_model.Hog) else to_json(member)


def shorten(recipe: Recipe, rows: int) -> Recipe:
    """The recipe as it is trained here, on so many rows."""
    steps = -(-rows // recipe.batch_size) or 1
    epochs = max(recipe.oof_epochs, -(-recipe.oof_steps // steps))
    # Adam: the members that benchmarks/RESULTS.md judges were trained by it.
    plain = replace(recipe, label_smoothing=0.0, self_distillation=0.0)
    return replace(plain, epochs=epochs, schedule="cosine", optimizer="adam")


def _digest(member: Member, manifest: pd.DataFrame, precision: str) -> str:
    """16 hex digits of everything a job depends on but its seed and fold."""
    settings: dict[str, Any] = {
        name: value for name, value in to_member_json(member).items() if name not in _WORDS
    }
    columns = manifest[["path", *INPUT_COLUMNS]].agg("\t".join, axis=1)
    text = json.dumps([settings, precision], sort_keys=True) + "\n" + "\n".join(columns)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
