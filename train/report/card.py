"""`train card`: a model card, README.md of a run for Hugging Face.

Comes in: the folder of a finished run with its evaluations. Goes out: the card; every figure is in
those files, and what has not run has a sentence. The parts are those of model cards.

References
----------
M. Mitchell et al., Model Cards for Model Reporting, FAT* 2019
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curate.errors import amount
from curate.files import write_atomically
from curate.pages.cards import CARD, INTENDED_USE, mark_card, name_licence, require_own_card
from curate.pages.render import render_card
from curate.result import Result, format_counts
from curate.workspace.manifest import source_of
from curate.workspace.workspace import Workspace
from train.data.targets import VAL_LABELS
from train.evaluation.compare import note_old_labels, read_predictions
from train.evaluation.evaluation_files import REMEDY, read_slices
from train.evaluation.metrics import format_interval, format_percent
from train.evaluation.open_runs import PREDICTIONS_FILE
from train.evaluation.slices import HEADINGS, list_cells
from train.evaluation.summary import name_copy
from train.report.explanations import Table, is_of, read_masks
from train.runs.errors import read_json, reading
from train.runs.find import find_newest_run
from train.runs.folder import METRICS
from train.runs.read_counter import REPAIR, TEST_READS
from train.runs.record import RunRecord, read_finished_run, read_metrics

COMMAND = "train card"
MOST_SLICES = 20


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of the run.

    Attributes
    ----------
    name : of its folder, without `evaluation-`: the rows, and the workspace if it is another
    scores : name -> text with interval, those with and without copies in train first
    values : name -> accuracy in [0, 1], for the head of the card
    classes : the scores of each class
    slices : those worse than chance would have them, None where no slice was scored
    masks : accuracy under each mask, None where `train occlude` has not run
    """

    name: str
    rows: int
    scores: dict[str, str]
    values: dict[str, float]
    classes: Table
    slices: Table | None
    masks: Table | None


def write_model_card(
    workspace: Workspace,
    run: Path | None = None,
    *,
    licence: str | None = None,
    out: Path | None = None,
    dry_run: bool = False,
) -> Result:
    """Write README.md.

    Parameters
    ----------
    run : folder; None for the newest run of the workspace
    licence : of the weights; None for unknown
    out : folder of the card; None for that of the run

    Raises
    ------
    RunError  if the run is missing, unfinished or damaged
    WorkspaceError  if the folder holds a README.md of somebody else
    """
    record = read_finished_run(run or find_newest_run(workspace.root / "runs"))
    folder = out or record.folder
    require_own_card(folder, COMMAND)
    found = [read_evaluation(each) for each in find_evaluations(record.folder)]
    card = format_card(record, found, licence).encode()
    is_changed = not dry_run and write_atomically(folder / CARD, card)
    scored = ", ".join(each.name for each in found) or "train evaluate has not run"
    summary = f"card: {record.folder.name}, scored on {scored} -> {folder / CARD}"
    counts = {"file": str(folder / CARD), "evaluations": [each.name for each in found]}
    return Result(summary, counts | {"changed": is_changed})


def find_evaluations(run: Path) -> list[Path]:
    """The folders of the run's evaluations, those on test first."""
    folders = [file.parent for file in run.glob(f"evaluation-*/{METRICS}")]
    return sorted(folders, key=lambda each: (not each.name.endswith("test"), each.name))


def read_evaluation(folder: Path) -> Evaluation:
    """What the card shows of one evaluation; RunError if a file is damaged."""
    file, name = folder / METRICS, folder.name.removeprefix("evaluation-")
    metrics = read_json(file, REMEDY)
    with reading(file, REMEDY):
        scores, values = _list_scores(metrics)
        rows = int(metrics["rows"])
    if "view" in metrics:
        scores[f"rows outside of view {metrics['view']}"] = _count_outside(metrics)
    if (folder / PREDICTIONS_FILE).is_file():
        old = note_old_labels(folder.parent, folder, read_predictions(folder))
        scores |= {"labels": old} if old else {}
    occlusion = folder.parent / f"occlusion-{name}"
    is_present = is_of(occlusion, str(metrics.get("manifest_sha256", "")))
    return Evaluation(
        name=name,
        rows=rows,
        scores=scores,
        values=values,
        classes=_read_classes(folder / "per_class.csv"),
        slices=_read_worse(folder),
        masks=read_masks(occlusion / "masks.csv") if is_present else None,
    )


def _list_scores(metrics: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, float]]:
    """The scores as text, and both accuracies."""
    others = metrics["without_copy_in_train"]
    copy = "exact copy (near ones are not known) in train"
    if metrics["near_copies_known"] or not metrics.get("learned_known", True):
        copy = name_copy(metrics)
    texts = {"accuracy, all rows": _with_interval(metrics, "accuracy")}
    values = {"accuracy, all rows": float(metrics["accuracy"])}
    name = f"accuracy, {amount(others['rows'], 'row')} with no {copy}"
    texts[name] = "no such row"
    if others["rows"]:
        texts[name] = _with_interval(others, "accuracy")
        values[name] = float(others["accuracy"])
    if metrics.get("mask", "none") != "none":
        texts["mask in training"] = f"{metrics['mask']}; scored without"
    texts |= {
        "macro F1": _with_interval(metrics, "macro_f1"),
        "balanced accuracy": _with_interval(metrics, "balanced_accuracy"),
        "expected calibration error": format_percent(metrics["ece"]),
        "views of test-time augmentation": str(metrics["tta"]),
        "manifest's SHA-256": str(metrics["manifest_sha256"]),
    }
    return texts, values


def _count_outside(metrics: Mapping[str, Any]) -> str:
    """How many rows of which classes were not scored, as the run does not know them."""
    outside = dict(metrics["outside"])
    named = f" ({format_counts(outside)})" if outside else ""
    return f"{sum(outside.values()):,}{named}"


def _with_interval(scores: Mapping[str, Any], name: str) -> str:
    return f"{format_percent(scores[name])} {format_interval(scores['intervals'][name])}"


def _read_classes(file: Path) -> Table:
    """Precision, recall and F1 of each class in percent, and its rows."""
    with reading(file, REMEDY):
        table = pd.read_csv(file, keep_default_na=False)
        rows = [
            [str(name), *(f"{100 * float(score):.1f}" for score in scores), f"{int(support):,}"]
            for name, *scores, support in table.itertuples(index=False)
        ]
    return Table(["class", "precision, %", "recall, %", "F1, %", "rows"], rows)


def _read_worse(folder: Path) -> Table | None:
    slices = read_slices(folder)
    if slices is None:
        return None
    worse = slices[slices["worse"]].head(MOST_SLICES).to_dict("records")
    cells = [list_cells({str(name): row[name] for name in row})[:-1] for row in worse]
    return Table(HEADINGS[:-1], cells)


def format_card(record: RunRecord, evaluations: list[Evaluation], licence: str | None) -> str:
    """The text of the card."""
    trained = record.read_train_rows()
    sources = sorted({source_of(path) for path in trained["path"]})
    return render_card(
        "train.report",
        "card.md.j2",
        mark=mark_card(COMMAND),
        name=record.folder.name,
        licence=name_licence(licence),
        licence_name=licence or "",
        sources=sources,
        details=_describe_model(record),
        training=_describe_training(record, len(trained), sources),
        reads=_describe_reads(record.folder),
        evaluations=evaluations,
        intended_use=INTENDED_USE,
    )


def _describe_model(record: RunRecord) -> list[str]:
    """Network, recipe and seed, as the run's record has them."""
    recipe = record.recipe
    published = (
        f" Published result of the original: {recipe.published}." if recipe.published else ""
    )
    side = f"{recipe.size} x {recipe.size}"
    return [
        f"Network {recipe.model}, recipe {recipe.name}: {recipe.about} Source: {recipe.source}."
        f"{published}",
        f"Input: a face in {side} grey pixels; output: probabilities of {len(record.classes)} "
        f"classes, {', '.join(record.classes)}.",
        f"Initial weights: {recipe.weights}; seed {record.seed}; number format {record.precision} "
        f"({record.precision_reason}); Keras on {record.backend or 'a backend that is not known'}.",
    ]


def _describe_training(record: RunRecord, rows: int, sources: list[str]) -> list[str]:
    """What it learned from, and how well it does on val, which chose the epoch."""
    metrics = read_metrics(record.folder)
    with reading(record.folder / METRICS):
        val = metrics["val"]
        chosen = f"epoch {metrics['best_epoch']} of {metrics['epochs']}"
        by = f" by {VAL_LABELS[metrics['val_labels']]}" if "val_labels" in metrics else ""
        on_val = f"{format_percent(val['accuracy'])} of {val['rows']:,} val rows are right{by}"
    weights = "none" if record.class_weights is None else "by class"
    mask = record.recipe.mask
    return [
        f"Trained on {amount(rows, 'image')} of {', '.join(sources)}, {record.started_at}; targets "
        f"{record.recipe.targets}, class weights {weights}, mask {mask}.",
        f"Val chose {chosen}; then {on_val}.",
        f"SHA-256 of the manifest: {record.manifest_sha256}. 'curate card' describes the data.",
    ]


def _describe_reads(run: Path) -> str:
    """How often the test rows were read to score this run."""
    file = run / TEST_READS
    if not file.is_file():
        return "Reads of test by this run: none."
    with reading(file, REPAIR):
        return f"Reads of test by this run: {int(read_json(file, REPAIR)['test_reads']):,}."
