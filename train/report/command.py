"""`train report`: one self-contained page about one run or several.

Comes in: folders of runs that `train evaluate` has scored on some rows. Goes out: report.html in
the folder of the first one. The scores are those of the evaluations; nothing is scored again. With
pictures, the model runs once more on its most confident mistakes, for their maps; if these are test
rows, that is a read of test and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from curate.errors import UsageError, amount
from curate.files import require_own, write_atomically
from curate.pages.charts import LineChart, make_line_chart
from curate.pages.render import render_page
from curate.result import Result
from curate.workspace.workspace import Workspace
from train.evaluation.compare import (
    compare_runs,
    find_evaluation,
    note_old_labels,
    read_predictions,
)
from train.evaluation.metrics import format_interval
from train.evaluation.open_runs import PREDICTIONS_FILE, require_selection
from train.report.mistakes import Mistake, list_mistakes, picture_mistakes
from train.report.run_section import RunSection, Score, read_history, read_section
from train.runs.errors import RunError
from train.runs.find import find_newest_run
from train.runs.folder import RECIPE
from train.runs.record import RunRecord, find_home, read_finished_run

FILE = "report.html"
MOST_RUNS = 8  # as many as there are colours of lines


@dataclass(frozen=True)
class Versus:
    """A run against the first one: the words of a comparison, or why there is none."""

    name: str
    gain: str
    won: int | None = None
    lost: int | None = None
    p_value: float | None = None


def report_runs(
    runs: Sequence[Path],
    workspace: Workspace,
    *,
    scored_in: Workspace | None = None,
    rows: str = "test",
    out: Path | None = None,
    has_images: bool = True,
    dry_run: bool = False,
) -> Result:
    """Write the page.

    Parameters
    ----------
    runs : folders; none for the newest run of `workspace`
    scored_in : the workspace on whose rows they were scored; None for where each was trained
    rows : train, val, test, or all kept rows
    out : the page; None for report.html in the folder of the first run
    has_images : whether the page shows faces

    Raises
    ------
    RunError  if a run is missing, damaged, or was not evaluated on these rows
    UsageError  if there are too many runs, one is named twice, or `out` is a file but no page
    """
    require_selection(rows)
    folders = list(runs) or [find_newest_run(workspace.root / "runs")]
    _require_different(folders)
    opened = [_open_run(folder, rows, scored_in) for folder in folders]
    file = out or folders[0] / FILE
    require_own(file, b"<!doctype html")
    if dry_run:
        return Result(
            f"report: would write {amount(len(folders), 'run')} -> {file}", {"file": str(file)}
        )
    shown = [_show_run(run, rows, has_images=has_images) for run in opened]
    names = [folder.name for folder in folders]
    page = render_page(
        "train.report",
        "report.html.j2",
        title=f"Candid: {', '.join(names)}",
        heading="What the model learned" if len(folders) == 1 else "What the models learned",
        rows=rows,
        has_images=has_images,
        runs=shown,
        side_by_side=_put_side_by_side([section for section, _ in shown]),
        curves=_overlay_curves(opened),
        versus=[_compare(folders[0], folder, scored_in, rows) for folder in folders[1:]],
    ).encode()
    write_atomically(file, page)
    counts = {"file": str(file), "bytes": len(page), "runs": names}
    return Result(
        f"report: {amount(len(folders), 'run')}, {len(page) / 1e6:.1f} MB -> {file}", counts
    )


@dataclass(frozen=True)
class OpenedRun:
    """A run and its evaluation.

    Attributes
    ----------
    record, home : of a run, and the workspace of its rows; both None for an ensemble, which has
        only evaluations
    old : a sentence if the scores are of earlier labels
    """

    folder: Path
    evaluation: Path
    record: RunRecord | None
    home: Workspace | None
    old: str = ""


def _require_different(folders: Sequence[Path]) -> None:
    if len(folders) > MOST_RUNS:
        raise UsageError(f"report: {amount(len(folders), 'run')}: name at most {MOST_RUNS}")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("report: a run is named twice: name each once")


def _open_run(folder: Path, rows: str, scored_in: Workspace | None) -> OpenedRun:
    is_ensemble = folder.is_dir() and not (folder / RECIPE).is_file()
    if is_ensemble and any(folder.glob("evaluation-*")):
        return OpenedRun(folder, _find_of_ensemble(folder, rows, scored_in), None, None)
    record = read_finished_run(folder)
    evaluation = find_evaluation(folder, rows, scored_in)
    old = note_old_labels(folder, evaluation, read_predictions(evaluation))
    return OpenedRun(folder, evaluation, record, scored_in or Workspace(find_home(folder)), old)


def _show_run(
    run: OpenedRun, rows: str, *, has_images: bool
) -> tuple[RunSection, Sequence[Mistake]]:
    """The section of a run and its mistakes, those of an ensemble without pictures."""
    section = read_section(run.folder.name, run.evaluation, run.record, has_images=has_images)
    if run.old:
        section = replace(section, about=f"{section.about} {run.old}")
    mistakes = list_mistakes(run.evaluation)
    if has_images and mistakes and run.record and run.home:
        mistakes = picture_mistakes(mistakes, run.evaluation, run.home, run.record, rows=rows)
    return section, mistakes


def _find_of_ensemble(folder: Path, rows: str, scored_in: Workspace | None) -> Path:
    """The evaluation of an ensemble on those rows, of the workspace if it names it."""
    if scored_in is not None:
        named = folder / f"evaluation-{scored_in.root.resolve().name}-{rows}"
        if (named / PREDICTIONS_FILE).is_file():
            return named
    return find_evaluation(folder, rows, None)


def _put_side_by_side(sections: Sequence[RunSection]) -> list[tuple[str, list[Score | None]]]:
    """Name of a score -> that of each run, None where a run lacks it; nothing for one run."""
    if len(sections) < 2:
        return []
    by_run = [{score.name: score for score in section.scores} for section in sections]
    names = dict.fromkeys(name for scores in by_run for name in scores)
    return [(name, [scores.get(name) for scores in by_run]) for name in names]


def _overlay_curves(runs: Sequence[OpenedRun]) -> LineChart | None:
    """The val accuracy of all runs by epoch; None for fewer than two."""
    lines: dict[str, list[float]] = {}
    for run in runs:
        if run.record is not None:
            history, _ = read_history(run.record)
            lines[run.folder.name] = (100 * history["val_accuracy"]).tolist()
    if len(lines) < 2:
        return None
    epochs = max(map(len, lines.values()))
    filled = {name: [*line, *[float("nan")] * (epochs - len(line))] for name, line in lines.items()}
    return make_line_chart("val accuracy, %", filled, list(range(1, epochs + 1)), x_name="epoch")


def _compare(first: Path, second: Path, workspace: Workspace | None, rows: str) -> Versus:
    """McNemar's test against the first run, or why the two cannot be compared."""
    try:
        compared = compare_runs(first, second, workspace=workspace, rows=rows, dry_run=True)
    except (RunError, UsageError) as error:
        return Versus(second.name, str(error))
    found = compared.counts
    gain = f"{100 * found['gain']:+.1f} {format_interval(found['interval'])} points"
    return Versus(second.name, gain, found["won"], found["lost"], found["p_value"])
