"""The predictions of one member, from all of its jobs.

Seeds are averaged, and the temperature of a fold is fitted on the other folds (C. Guo et al., ICML 2017).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from curate.images.thumbnails import read_array
from curate.workspace.predictions import MARGIN_AUC, PREFIX, class_names
from train.data.images import encode_labels
from train.evaluation.calibration import fit_temperature, soften
from train.oof.jobs import Job, name_photographs, round_probs


def join_jobs(manifest: pd.DataFrame, jobs: Sequence[Job]) -> pd.DataFrame:
    """The predictions table of one member: seeds averaged, each fold calibrated on the others, margins joined."""
    per_seed = []
    for seed in sorted({job.seed for job in jobs}):
        folds = [
            pd.read_csv(job.file, dtype=str, keep_default_na=False)
            for job in jobs
            if job.seed == seed
        ]
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
        calibrated[inside] = soften(
            probs[inside], fit_temperature(probs[~inside], targets[~inside])
        )
    table[columns] = round_probs(calibrated)
    margins = _join_margins(manifest, jobs)
    return (
        table
        if margins is None
        else table.assign(**{MARGIN_AUC: margins.loc[table["path"]].to_numpy()})
    )


def _join_margins(manifest: pd.DataFrame, jobs: Sequence[Job]) -> "pd.Series[str] | None":
    """Path -> mean margin over all jobs that learned the row, or its copy under the same label; empty where none did."""
    found = [read_array(job.margins) for job in jobs]
    known = [margins for margins in found if margins is not None]
    if not known:
        return None
    stacked = np.stack(known)
    counted = np.isfinite(stacked).sum(axis=0)
    mean = pd.Series(
        np.where(counted > 0, np.nansum(stacked, axis=0) / np.maximum(counted, 1), np.nan),
        manifest.index,
    )
    photographs = name_photographs(manifest)
    shared = mean.groupby([photographs["group"], photographs["label"]]).transform("mean")
    shared = shared.where((manifest["fold"] != "") & (manifest["quality"] == ""))
    text = shared.map(lambda value: f"{value:.4f}", na_action="ignore").fillna("")
    return pd.Series(text.to_numpy(), index=manifest["path"], dtype=str)
