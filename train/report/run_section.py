"""What the page shows of one run, from the tables in its folder.

Comes in: a run's folder and its evaluation. Goes out: numbers, charts and tables for the template;
pictures that `train occlude` and `train saliency` have drawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.errors import amount
from curate.pages.charts import (
    BarChart,
    HeatCell,
    HeatTable,
    LineChart,
    level_of,
    make_bar_chart,
    make_line_chart,
)
from train.evaluation.evaluation_files import REMEDY
from train.evaluation.metrics import find_best, format_interval, format_percent
from train.report.explanations import (
    PICTURES,
    Picture,
    Table,
    is_of,
    read_deletion,
    read_masks,
    read_pictures,
    show_slices,
)
from train.runs.errors import read_json, reading
from train.runs.folder import HISTORY, METRICS
from train.runs.record import RunRecord


@dataclass(frozen=True)
class Score:
    """One number of an evaluation: its name, its text, a line below."""

    name: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class RunSection:
    """What the page shows of one run; a part that was not computed is empty or None.

    Attributes
    ----------
    about : recipe, seed and when it was trained
    curves : accuracy and loss by epoch
    masks : accuracy and F1 under each mask of `train occlude`
    deletion : the test of the maps of `train saliency`
    slices : accuracy of parts of the rows by `train evaluate --by` or `--worst`, the worst first
    """

    name: str
    about: str
    scores: list[Score]
    curves: list[LineChart]
    confusion: HeatTable
    classes: BarChart
    calibration: LineChart
    masks: Table | None
    deletion: Table | None
    slices: Table | None
    pictures: list[Picture]


def read_section(
    name: str, evaluation: Path, record: RunRecord | None, *, has_images: bool
) -> RunSection:
    """Read the tables of one run.

    Parameters
    ----------
    evaluation : folder of its evaluation
    record : None for an ensemble, which has no training of its own

    Raises
    ------
    RunError  if one of the files is damaged
    """
    file = evaluation / METRICS
    metrics = read_json(file, REMEDY)
    with reading(file, REMEDY):
        about, scores = _describe(record, metrics), list_scores(metrics)
    suffix = evaluation.name.removeprefix("evaluation-")
    folders = {kind: evaluation.parent / f"{kind}-{suffix}" for kind in PICTURES}
    digest = str(metrics.get("manifest_sha256", ""))
    folders = {kind: folder for kind, folder in folders.items() if is_of(folder, digest)}
    return RunSection(
        name=name,
        about=about,
        scores=scores,
        curves=_draw_curves(record),
        confusion=_read_confusion(evaluation / "confusion.csv"),
        classes=_draw_classes(evaluation / "per_class.csv"),
        calibration=_draw_calibration(evaluation / "calibration.csv"),
        masks=read_masks(folders["occlusion"] / "masks.csv") if "occlusion" in folders else None,
        deletion=read_deletion(folders["saliency"] / METRICS) if "saliency" in folders else None,
        slices=show_slices(evaluation),
        pictures=read_pictures(folders) if has_images else [],
    )


def list_scores(metrics: Mapping[str, Any]) -> list[Score]:
    """The headline scores, with intervals where they are known."""
    intervals = metrics["intervals"]
    scores = [
        Score(words, format_percent(metrics[key]), format_interval(intervals[key]))
        for key, words in (
            ("accuracy", "accuracy"),
            ("macro_f1", "macro F1"),
            ("balanced_accuracy", "balanced accuracy"),
        )
    ]
    scores.append(Score("ECE", format_percent(metrics["ece"]), "expected calibration error"))
    return [*scores, *_score_copies(metrics), *_score_views(metrics)]


def _score_copies(metrics: Mapping[str, Any]) -> list[Score]:
    """The accuracy on the rows without a copy in train, or that all rows are so."""
    others, rows = metrics["without_copy_in_train"], metrics["rows"]
    note = f"{others['rows']:,} of {rows:,} rows"
    if not metrics.get("learned_known", True):
        note += ", what its weights had learned is not known"
    elif not metrics["near_copies_known"]:
        note += ", near copies are not known"
    text = format_percent(others["accuracy"]) if others["rows"] else "-"
    return [Score("without leaked rows", text, note)]


def _score_views(metrics: Mapping[str, Any]) -> list[Score]:
    """The gain of TTA, and how often test was read."""
    scores = []
    if "tta_gain" in metrics:
        gain = metrics["tta_gain"]
        points = f"{100 * gain['gain']:+.1f} points"
        note = f"{format_interval(gain['interval'])}, {metrics['views']} views"
        scores.append(Score("gain by TTA", points, note))
    if metrics.get("test_reads"):
        scores.append(Score("reads of test", f"{metrics['test_reads']:,}", "when it was scored"))
    return scores


def _describe(record: RunRecord | None, metrics: Mapping[str, Any]) -> str:
    rows = f"scored on {metrics['rows']:,} {metrics['evaluated']} rows by --tta {metrics['tta']}"
    if metrics.get("mask", "none") != "none":
        rows += f", without the mask {metrics['mask']} of its training"
    outside = sum(dict(metrics.get("outside", {})).values())
    if outside:
        rows += f"; {amount(outside, 'further row is', 'further rows are')} outside of its classes"
    if record is None:
        return f"an ensemble of {len(metrics.get('members', []))} runs, {rows}"
    view = f", classes {record.class_view}" if record.class_view else ""
    return f"recipe {record.recipe.name}, seed {record.seed}{view}, {record.started_at}; {rows}"


def _draw_curves(record: RunRecord | None) -> list[LineChart]:
    """Accuracy in percent and loss in nats by epoch; the best epoch of val is marked."""
    if record is None:
        return []
    history, best = read_history(record)
    epochs = list(range(1, len(history) + 1))
    charts = []
    for name, factor, unit in (("accuracy", 100, "%"), ("loss", 1, "nats")):
        lines = {
            "train": (factor * history[name]).tolist(),
            "val": (factor * history[f"val_{name}"]).tolist(),
        }
        mark = float(best)
        charts.append(make_line_chart(f"{name}, {unit}", lines, epochs, x_name="epoch", mark=mark))
    return charts


def read_history(record: RunRecord) -> tuple[pd.DataFrame, int]:
    """The scores of every epoch, and the number of the best one, from 1.

    Raises
    ------
    RunError  if the table is damaged
    """
    file = record.folder / HISTORY
    with reading(file):
        history = pd.read_csv(file)
        columns = ["accuracy", "val_accuracy", "loss", "val_loss"]
        history[columns] = history[columns].astype(float)
        if history.empty:
            raise ValueError("it has no epoch")
        records = [
            {str(key): value for key, value in row.items()} for row in history.to_dict("records")
        ]
        return history, find_best(records, record.recipe.monitor)


def _read_confusion(file: Path) -> HeatTable:
    """Share of a label's rows in percent, and the rows below."""
    with reading(file, REMEDY):
        table = pd.read_csv(file, index_col="label", keep_default_na=False)
        counts = table.to_numpy(dtype=np.int64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows: list[tuple[str, list[HeatCell | None]]] = []
    for label, numbers, of_label in zip(table.index, counts, shares, strict=True):
        cells: list[HeatCell | None] = [
            HeatCell(f"{100 * share:.0f} %", f"{count:,}", level_of(share))
            for count, share in zip(numbers, of_label, strict=True)
        ]
        rows.append((str(label), cells))
    return HeatTable([str(name) for name in table.columns], rows)


def _draw_classes(file: Path) -> BarChart:
    """Precision, recall and F1 of each class in whole percent."""
    with reading(file, REMEDY):
        table = pd.read_csv(file, keep_default_na=False)
        names = table["class"].astype(str).tolist()
        series = {}
        for name in ("precision", "recall", "f1"):
            percents = (100 * table[name].astype(float)).round().astype(int).tolist()
            series[name] = dict(zip(names, percents, strict=True))
    return make_bar_chart("per class, %", series, names)


def _draw_calibration(file: Path) -> LineChart:
    """Accuracy over confidence, bin by bin; a calibrated model follows the diagonal."""
    with reading(file, REMEDY):
        table = pd.read_csv(file).astype(float)
        filled = table[table["rows"] > 0]
        confidence, accuracy = filled["confidence"].tolist(), filled["accuracy"].tolist()
    unit = (0.0, 1.0)
    chart = make_line_chart(
        "calibration: accuracy by confidence",
        {"accuracy": accuracy},
        confidence,
        x_name="confidence",
        bounds=unit,
        x_bounds=unit,
    )
    return replace(chart, diagonal=True)
