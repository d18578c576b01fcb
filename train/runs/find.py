"""Which run is meant: the newest that is finished, or the one that did not finish.

A run whose record is damaged hides no other; it is told of where no other is found.
"""

from pathlib import Path
from typing import Any

from train.runs.errors import RunError
from train.runs.folder import METRICS, RECIPE, is_live, read_made


def list_members(folder: Path) -> list[Path]:
    """The folders of all seeds that a run was trained with, itself included; some may not be there yet."""
    series = read_made(folder).get("series")
    if series is None:
        return [folder]
    first, count = series["seed"], series["seeds"]
    return [folder.parent / f"{series['name']}-s{seed}" for seed in range(first, first + count)]


def find_newest_run(runs: Path) -> Path:
    """The finished run that started last.

    Raises
    ------
    RunError  if there is none
    """
    finished = {
        folder: made for folder, made in _list_begun(runs).items() if (folder / METRICS).is_file()
    }
    if not finished:
        raise RunError(
            f"{runs}: no finished run here: run `train run` first, or name a run's folder"
        )
    return _newest(finished)


def find_unfinished_run(runs: Path, name: str | None = None) -> Path:
    """The unfinished run that started last, or the one of that name; one that a command trains now is none.

    A run of several seeds is unfinished until all of them are; `name` may be that of all or of one.

    Raises
    ------
    RunError  if there is none
    """
    if name is not None and (runs / name / RECIPE).is_file():
        read_made(runs / name)
    begun = _list_begun(runs)
    if name is not None:
        begun = {
            each: made
            for each, made in begun.items()
            if name in (each.name, made.get("series", {}).get("name"))
        }
    members = {each: list_members(each) for each in begun}
    unfinished = [
        each for each in begun if not all((member / METRICS).is_file() for member in members[each])
    ]
    idle = {
        each: begun[each]
        for each in unfinished
        if not any(is_live(member) for member in members[each])
    }
    if idle:
        return _newest(idle)
    if name is None:
        raise RunError(
            f"{runs}: no unfinished run here{_format_live(unfinished)}: leave --resume out"
        )
    if unfinished:
        raise RunError(f"{runs / name}: another command trains this run: wait for it")
    raise RunError(
        f"{runs / name}: there is no unfinished run here: leave --resume out, or name another"
    )


def _list_begun(runs: Path) -> dict[Path, dict[str, Any]]:
    """Folder -> what the run in it is made of."""
    begun, damaged = {}, []
    for file in sorted(runs.glob(f"*/{RECIPE}")):
        try:
            begun[file.parent] = read_made(file.parent)
        except RunError as error:
            damaged.append(error)
    if damaged and not begun:
        raise damaged[0]
    return begun


def _newest(begun: dict[Path, dict[str, Any]]) -> Path:
    return max(begun, key=lambda folder: (begun[folder]["started_at"], folder.name))


def _format_live(folders: list[Path]) -> str:
    return (
        f" but what another command trains ({min(folder.name for folder in folders)})"
        if folders
        else ""
    )
