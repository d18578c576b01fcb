"""`train evaluate`: score runs on rows that they did not train on, and count every read of test.

Input: a workspace and run folders. Output: an evaluation folder with metrics, tables and plots.
Scoring uses float32 whatever the training used, so it depends neither on the machine's precision
nor on the batch size. Several runs are scored one by one and as an ensemble: the mean of their
probabilities.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.errors import amount
from curate.result import Result
from curate.workspace import receipts
from curate.workspace.links import link_rows
from curate.workspace.manifest import group_keys
from curate.workspace.workspace import Workspace
from train.data.copies import Mask, has_copy_in_train
from train.data.dataset import Rows
from train.data.tta import count_views, plan_tta, require_views
from train.evaluation.calibration import bin_confidences, calibration_error
from train.evaluation.evaluation_files import (
    choose_folder,
    write_evaluation,
    write_evaluation_receipt,
)
from train.evaluation.intervals import bootstrap_gain, bootstrap_scores
from train.evaluation.metrics import (
    Probs,
    count_confusions,
    format_classes,
    format_spread,
    score_predictions,
)
from train.evaluation.open_runs import AND, RunSet, open_runs
from train.evaluation.predict import PREDICT_BATCH, predict_probs
from train.evaluation.slice_columns import SliceOptions, measure_pictures, read_facts
from train.evaluation.slices import (
    Names,
    find_detectable,
    format_slices,
    score_slices,
    summarize_slices,
)
from train.evaluation.summary import HEADLINES, format_plan, format_summary

NO_SLICES = SliceOptions()


def evaluate_runs(
    workspace: Workspace,
    runs: Sequence[Path] = (),
    *,
    rows: str = "test",
    tta: str = "1",
    classes: str | None = None,
    seed: int = 0,
    slices: SliceOptions = NO_SLICES,
    dry_run: bool = False,
) -> Result:
    """Score a run, or several as an ensemble, on the kept rows of a workspace.

    The labels are those of the class view that the runs were trained with; rows outside of it are
    counted, not scored.

    Parameters
    ----------
    runs : folders; none for the newest of the workspace, which need not be where they were trained
    rows : train, val, test, or all kept rows
    tta : number of TTA views (1: the image alone), or `flip`: the image and its mirror
    classes : "3" merges the classes into positive, neutral and negative
    seed : of the TTA views and of the bootstrap
    slices : the columns whose parts of the rows are scored too

    Raises
    ------
    RunError  if a run is missing, or the runs have different classes
    ManifestError  if there are no such rows, or the runs do not have the classes of their labels
    UsageError, SourceError  if there are no such slices
    """
    start, views = time.perf_counter(), count_views(tta)
    run_set = open_runs(workspace, runs, rows=rows, classes=classes)
    for record in run_set.records:
        require_views(tta, record.recipe)
    columns = read_facts(run_set, slices)
    if dry_run:
        return Result(format_plan(run_set, tta) + run_set.format_outside())
    models, without_copy = run_set.load_models(), find_rows_without_copy(run_set)
    columns |= measure_pictures(run_set, slices)
    reads = run_set.count_reads(views)
    metrics: dict[str, Any] = {
        "run": run_set.name, "recipe": _join_field(run_set, "name"),
        "mask": _join_field(run_set, "mask"), "evaluated": rows,
        "views": views, "tta": tta, "seed": seed, "manifest_sha256": run_set.manifest_sha256,
        "pictures_sha256": _digest_pictures(run_set), "test_reads": max(reads, default=None),
    }  # fmt: skip
    probs, one_view = predict_runs(run_set, models, tta, seed)
    mean_probs = np.mean(probs, axis=0)
    mean_one_view = np.mean(one_view, axis=0) if one_view else None
    metrics |= score_all(run_set, without_copy, mean_probs, mean_one_view, seed)
    metrics |= {"majority": score_majority(run_set.targets, run_set.classes)}
    if len(probs) > 1:
        metrics |= _score_each_run(run_set, without_copy, probs, one_view, reads)
    if run_set.class_views:
        metrics |= {"view": AND.join(run_set.class_views), "outside": run_set.outside}
    scored = _score_slices(run_set, mean_probs, columns)
    metrics |= {"slices": summarize_slices(scored)} if scored is not None else {}
    folder = choose_folder(run_set, classes)
    table = write_evaluation(folder, run_set, mean_probs, metrics, scored)
    summary = f"{format_summary(metrics)}{run_set.format_outside()} -> {folder}"
    shown = _format_tables(table, scored, slices)
    notes = _note_learned(run_set, rows)
    result = Result(summary, metrics | {"folder": str(folder)}, shown, notes)
    is_one_run = len(run_set.records) == 1
    if rows == "test" and run_set.is_home and is_one_run and classes is None:
        write_evaluation_receipt(run_set, result, time.perf_counter() - start)
    return result


def _digest_pictures(run_set: RunSet) -> str:
    """SHA-256 of the pixel hashes of the scored rows, in their order."""
    pixels = run_set.manifest.loc[run_set.rows, "pixel_hash"]
    return hashlib.sha256("\n".join(pixels).encode()).hexdigest()


def _note_learned(run_set: RunSet, rows: str) -> list[str]:
    """Notes if rows that are held out now taught a model, or chose its epoch."""
    notes = []
    unknown = [each.folder.name for each in run_set.records if not each.knows_learned]
    if unknown:
        notes.append(
            f"evaluate: what the weights at the start of {', '.join(unknown)} had learned is not "
            "known, and these rows may be among it: the accuracy may be too good"
        )
    if rows not in ("val", "test"):
        return notes
    learned = _count_held_out(run_set, [each.read_learned_rows() for each in run_set.records])
    if learned:
        notes.append(
            f"evaluate: {amount(learned, 'row is', 'rows are')} in {rows} now that {run_set.name} "
            "learned from: the split is another one, or its weights are of such a run; trust the "
            "accuracy of the rows without a copy in train"
        )
    chosen = _count_held_out(run_set, [each.read_val_rows() for each in run_set.records])
    if rows == "test" and chosen:
        notes.append(
            f"evaluate: {amount(chosen, 'row is', 'rows are')} in test now by whose scores the "
            f"epoch of {run_set.name} was chosen: the split is another one, and the accuracy may "
            "be too good; train anew"
        )
    return notes


def _count_held_out(run_set: RunSet, tables: Sequence[pd.DataFrame]) -> int:
    """How many of the evaluated rows are in one of the tables of path and pixel_hash.

    In another workspace than that of the training the pixels alone count: a data set may have
    another name there.
    """
    columns = ["path", "pixel_hash"] if run_set.is_home else ["pixel_hash"]
    held_out = run_set.manifest.loc[run_set.rows, columns]
    return len(held_out.merge(pd.concat(tables)[columns].drop_duplicates()))


def _score_slices(
    run_set: RunSet, probs: Probs, columns: Mapping[str, Names]
) -> pd.DataFrame | None:
    """The scores of the slices of all columns; None without a column."""
    if not columns:
        return None
    scored = score_slices(probs.argmax(axis=1) == run_set.targets, run_set.targets, columns)
    return scored.assign(detectable=find_detectable(scored))


def _format_tables(
    classes: pd.DataFrame, slices: pd.DataFrame | None, options: SliceOptions
) -> str:
    """The scores of the classes and of the slices, if there are any, for a terminal."""
    text = format_classes(classes)
    if slices is not None:
        text += "\n\n" + format_slices(slices, only_worse=not options.by)
    return text


def _join_field(run_set: RunSet, name: str) -> str:
    """The values of a field of the runs' recipes, each once."""
    values = [str(getattr(record.recipe, name)) for record in run_set.records]
    return "+".join(dict.fromkeys(values))


def predict_runs(
    run_set: RunSet, models: Sequence[Any], tta: str, seed: int, batch_size: int = PREDICT_BATCH
) -> tuple[list[Probs], list[Probs]]:
    """Predict the selected rows with each run.

    Returns
    -------
    (N, K) probabilities of each run: by all TTA views; and by the image alone, an empty list if
    that is the only view
    """
    all_views, one_view = [], []
    keys = run_set.manifest.loc[run_set.rows, "pixel_hash"].tolist()
    sizes = {record.recipe.size for record in run_set.records}
    images = {size: run_set.read_images(size) for size in sizes}
    for record, model in zip(run_set.records, models, strict=True):
        pixels = images[record.recipe.size]
        tta_views = plan_tta(tta, keys, record.recipe, seed)
        probs = predict_probs(model, pixels, run_set.rows, tta_views, batch_size)
        all_views.append(run_set.merge_probs(probs))
        if len(tta_views) > 1:
            probs = predict_probs(model, pixels, run_set.rows, tta_views[:1], batch_size)
            one_view.append(run_set.merge_probs(probs))
    return all_views, one_view


def score_all(
    run_set: RunSet, without_copy: Mask, probs: Probs, one_view: Probs | None, seed: int
) -> dict[str, Any]:
    """The scores of all rows and of the rows without a copy in train, and the gain by TTA.

    Parameters
    ----------
    without_copy : (N,) from `find_rows_without_copy`
    probs : (N, K) by all TTA views
    one_view : (N, K) by the image alone; None if that is the only view
    """
    targets = run_set.targets
    units = find_units(run_set)
    scores = _score_with_intervals(targets, probs, run_set.classes, seed, units)
    scores["without_copy_in_train"] = {"rows": 0}
    if without_copy.any():
        chosen = units if units is None else units[without_copy]
        scores["without_copy_in_train"] = _score_with_intervals(
            targets[without_copy], probs[without_copy], run_set.classes, seed, chosen
        )
    scores["near_copies_known"] = knows_near_copies(run_set)
    scores["learned_known"] = all(record.knows_learned for record in run_set.records)
    if one_view is not None:
        scores["one_view"] = score_predictions(targets, one_view)
        before, after = (each.argmax(axis=1) == targets for each in (one_view, probs))
        scores["tta_gain"] = bootstrap_gain(before, after, seed)
    return scores


def score_majority(targets: Rows, classes: Sequence[str]) -> dict[str, Any]:
    """The largest class of the rows, and the accuracy of always naming it."""
    counts = np.bincount(targets, minlength=len(classes))
    return {"class": classes[int(counts.argmax())], "accuracy": float(counts.max() / counts.sum())}


def find_rows_without_copy(run_set: RunSet) -> Mask:
    """(N,) whether a selected row has no copy among the rows that the models were trained on."""
    return ~has_copy_in_train(run_set.manifest, _read_learned_rows(run_set))[run_set.rows]


def _read_learned_rows(run_set: RunSet) -> pd.DataFrame:
    """path and pixel_hash of all rows that the models were trained on."""
    return pd.concat([record.read_learned_rows() for record in run_set.records])


def knows_near_copies(run_set: RunSet) -> bool:
    """Whether `curate dedup` has searched these images for near copies of what the models learned.

    It does so without `--exact-only`; images that came later have not been searched, and neither
    has what the models learned if it is not in this workspace. A decision changes no copy.
    """
    root, manifest = run_set.workspace.root, run_set.manifest
    is_here = _read_learned_rows(run_set)["pixel_hash"].isin(manifest["pixel_hash"])
    is_searched = receipts.knows_copies(root, manifest) and receipts.knows_near_copies(root)
    return is_searched and bool(is_here.all())


def find_units(run_set: RunSet) -> Rows | None:
    """(N,) the number of the person or sequence of each scored row; None if no two share one."""
    keys = group_keys(run_set.manifest.loc[run_set.rows])
    if not ((keys["subject"] != "") | (keys["sequence"] != "")).any():
        return None
    units = link_rows([keys["subject"], keys["sequence"]])
    numbers: Rows = np.unique(units, return_inverse=True)[1].astype(np.int64)
    return numbers if numbers.max() + 1 < len(numbers) else None


def _score_with_intervals(
    targets: Rows, probs: Probs, classes: Sequence[str], seed: int, units: Rows | None
) -> dict[str, Any]:
    scores = score_predictions(targets, probs)
    predicted = probs.argmax(axis=1)
    confusions = count_confusions(targets, predicted, classes).to_numpy()
    of_units = None
    if units is not None:
        of_units = np.zeros((units.max() + 1, len(classes), len(classes)), np.int64)
        np.add.at(of_units, (units, targets, predicted), 1)
    scores["ece"] = calibration_error(bin_confidences(targets, probs))
    scores["intervals"] = bootstrap_scores(confusions, seed, of_units)
    return scores


def _score_each_run(
    run_set: RunSet,
    without_copy: Mask,
    probs: Sequence[Probs],
    one_view: Sequence[Probs],
    reads: Sequence[int],
) -> dict[str, Any]:
    """The scores of each run of an ensemble, and the mean and spread of each score over the runs.

    Parameters
    ----------
    probs, one_view : of each run, as in `predict_runs`
    reads : of test by each run so far, or empty
    """
    targets = run_set.targets
    runs: list[dict[str, Any]] = []
    for number, (record, run_probs) in enumerate(zip(run_set.records, probs, strict=True)):
        scores = score_predictions(targets, run_probs)
        run = {"run": record.folder.name, **{name: scores[name] for name in HEADLINES}}
        if without_copy.any():
            scores = score_predictions(targets[without_copy], run_probs[without_copy])
            run["without_copy_in_train"] = scores["accuracy"]
        if one_view:
            run["one_view"] = score_predictions(targets, one_view[number])["accuracy"]
        runs.append(run)
    names = [name for name in runs[0] if name != "run"]
    spread = {name: format_spread([run[name] for run in runs]) for name in names}
    for run, count in zip(runs, reads, strict=False):
        run["test_reads"] = count
    return {"members": runs, "spread": spread}
