"""Find a run in a folder of runs: the newest finished one, or the newest unfinished one.

A run with a damaged record does not hide the others: it is passed over with a note, and its error
is raised only if there is no other.
"""

from pathlib import Path

from curate.stderr import note_once
from train.runs.errors import RunError
from train.runs.folder import METRICS, RECIPE, is_locked
from train.runs.record import RunRecord, read_run_record


def find_newest_run(runs: Path) -> Path:
    """The finished run that started last.

    Raises
    ------
    RunError  if there is none
    """
    finished = [record for record in _list_records(runs) if _is_finished(record.folder)]
    if not finished:
        raise RunError(
            f"{runs}: no finished run here: run `train run` first, or name a run's folder"
        )
    return _newest(finished)


def find_unfinished_run(runs: Path, name: str | None = None) -> Path:
    """The unfinished run that started last, or the one of that name; none that is in training now.

    A series of seeds is unfinished until all its runs are finished; `name` may be that of the
    series or of one of its runs.

    Raises
    ------
    RunError  if there is none
    """
    if name is not None and (runs / name / RECIPE).is_file():
        read_run_record(runs / name)  # raises if the record is damaged
    records = [each for each in _list_records(runs) if _has_name(each, name)]
    unfinished = [each for each in records if not all(map(_is_finished, each.list_folders()))]
    idle = [each for each in unfinished if not any(map(is_locked, each.list_folders()))]
    if not idle:
        raise RunError(_explain_no_idle(runs, name, unfinished))
    return _newest(idle)


def _has_name(record: RunRecord, name: str | None) -> bool:
    """Whether `name` is the run's, or that of its series, or None."""
    return name is None or name in (record.folder.name, record.series_name)


def _explain_no_idle(runs: Path, name: str | None, in_training: list[RunRecord]) -> str:
    """The message of `find_unfinished_run`.

    Parameters
    ----------
    in_training : the unfinished runs, all of which other commands train now
    """
    if name is None:
        training = ""
        if in_training:
            first = min(each.folder.name for each in in_training)
            training = f" but one that another command trains ({first})"
        return f"{runs}: no unfinished run here{training}: leave --resume out"
    if in_training:
        return f"{runs / name}: another command trains this run: wait for it"
    return f"{runs / name}: there is no unfinished run here: leave --resume out, or name another"


def _list_records(runs: Path) -> list[RunRecord]:
    """The records of all runs, in the order of their folders' names."""
    records, damaged = [], []
    for file in sorted(runs.glob(f"*/{RECIPE}")):
        try:
            records.append(read_run_record(file.parent))
        except RunError as error:
            damaged.append(error)
    if damaged and not records:
        raise damaged[0]
    for problem in damaged:
        note_once(f"{problem} (passed over)")
    return records


def _is_finished(folder: Path) -> bool:
    return (folder / METRICS).is_file()


def _newest(records: list[RunRecord]) -> Path:
    return max(records, key=lambda record: (record.started_at, record.folder.name)).folder
