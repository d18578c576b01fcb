"""The predictions of one model, joined from all of its jobs.

Comes in: the manifest and the finished jobs. Goes out: the predictions table that `curate flag`
reads. Seeds are averaged; the temperature of a fold is fitted on the other folds (C. Guo et al.,
ICML 2017), of `--within train` on their rows of split train.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from curate.files import unseal
from curate.images.thumbnails import read_array
from curate.workspace.predictions import MARGIN_AUC, PREFIX, WITHIN, class_names
from train.data.dataset import encode_labels
from train.evaluation.calibration import apply_temperature, fit_temperature
from train.oof.jobs import Job, Probs, example_keys, is_within, round_probs


def join_jobs(manifest: pd.DataFrame, jobs: Sequence[Job]) -> pd.DataFrame:
    """The predictions table of one model: seeds averaged, folds calibrated, margins joined."""
    tables = [_read_seed(jobs, seed) for seed in sorted({job.seed for job in jobs})]
    table = tables[0]
    classes = class_names(table)
    columns = [PREFIX + name for name in classes]
    probs = np.mean([each[columns].to_numpy(dtype=np.float64) for each in tables], axis=0)
    labels = manifest.set_index("path").loc[table["path"], "given_label"]
    targets = encode_labels(labels, classes, "manifest.csv")
    within = jobs[0].within
    is_known = np.ones(len(table), bool)
    if within:
        known = pd.Series(is_within(manifest, within).to_numpy(), index=manifest["path"])
        is_known = known.loc[table["path"]].to_numpy()
        table[WITHIN] = np.where(is_known, within, "")
    table[columns] = round_probs(_calibrate_folds(probs, targets, table["fold"], is_known))
    margins = _join_margins(manifest, jobs)
    if margins is None:
        return table
    return table.assign(**{MARGIN_AUC: margins.loc[table["path"]].to_numpy()})


def _read_seed(jobs: Sequence[Job], seed: int) -> pd.DataFrame:
    """The predictions of all folds by one seed, sorted by path, as text."""
    files = [job.file for job in jobs if job.seed == seed]
    folds = [_read_job(file) for file in files]
    return pd.concat(folds, ignore_index=True).sort_values("path", ignore_index=True)


def _read_job(file: Path) -> pd.DataFrame:
    data = file.read_bytes()  # whole: it was counted as done
    return pd.read_csv(io.BytesIO(unseal(data) or data), dtype=str, keep_default_na=False)


def _calibrate_folds(
    probs: Probs, targets: np.ndarray, folds: "pd.Series[str]", is_known: np.ndarray
) -> Probs:
    """(N, K) probabilities, each fold at the temperature that fits the known rows of the others."""
    calibrated = probs.copy()
    for fold in sorted(set(folds)):
        inside = (folds == fold).to_numpy()
        others = ~inside & is_known
        temperature = fit_temperature(probs[others], targets[others])
        calibrated[inside] = apply_temperature(probs[inside], temperature)
    return calibrated


def _join_margins(manifest: pd.DataFrame, jobs: Sequence[Job]) -> "pd.Series[str] | None":
    """Path -> mean margin over the jobs that trained on the row, as text; None without margins.

    A copy that was left out of training has the margin of its example; "" where there is none.
    """
    arrays = [read_array(job.margins) for job in jobs]
    present = [margins for margins in arrays if margins is not None]
    if not present:
        return None
    stacked = np.stack(present)  # (jobs, N)
    counted = np.isfinite(stacked).sum(axis=0)
    total = np.nansum(stacked, axis=0)
    mean = np.where(counted > 0, total / np.maximum(counted, 1), np.nan)
    examples = example_keys(manifest)
    by_row = pd.Series(mean, manifest.index)
    shared = by_row.groupby([examples["group"], examples["label"]]).transform("mean")
    shared = shared.where((manifest["fold"] != "") & (manifest["quality"] == ""))
    text = shared.map(lambda value: f"{value:.4f}", na_action="ignore").fillna("")
    return pd.Series(text.to_numpy(), index=manifest["path"], dtype=str)
