"""Pictures on disk: those below a folder, and those that a list of rows names.

A list may name more than is there (a download in parts); what is missing is counted, and a list without one picture is an
error. Folders are read whole, since asking for each of 400,000 files takes a minute on a slow disk.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from curate.errors import SourceError, examples
from curate.images.decode import SUFFIXES
from curate.sources.layout import SourceRow
from curate.workspace.manifest import split_face


def subfolders(folder: Path) -> list[Path]:
    """Folders that are not hidden, by name."""
    return sorted(
        entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )


def unwrap(root: Path) -> Path:
    """The root itself, or the innermost of the folders that are each the only content (an archive's own folder)."""
    return _outer_folders(root)[-1]


def find_top(root: Path, *inside: str) -> Path | None:
    """The root, or an archive's own folder below it, that holds one of these files or folders; None if none does."""
    return next(
        (
            place
            for place in _outer_folders(root)
            if any((place / name).exists() for name in inside)
        ),
        None,
    )


def find_folder(root: Path, *names: str) -> Path | None:
    """The first folder of these names in the root or in an archive's own folder below it."""
    top = find_top(root, *names)
    return next((top / name for name in names if (top / name).is_dir()), None) if top else None


def _outer_folders(root: Path) -> list[Path]:
    """The root, and as long as a folder holds nothing but one folder, that."""
    found = [root]
    while root.is_dir():
        inside = [entry for entry in root.iterdir() if not entry.name.startswith(".")]
        if len(inside) != 1 or not inside[0].is_dir():
            break
        root = inside[0]
        found.append(root)
    return found


def walk_files(folder: Path, top: Path) -> Iterator[str]:
    """Posix paths, relative to `top`, of every file below the folder; links to folders end with `/` and are not entered."""

    def refuse(error: OSError) -> None:
        raise SourceError(
            f"{error.filename}: cannot be opened ({error.strerror}): restore it, or make it readable"
        )

    for here, inner, names in os.walk(folder, onerror=refuse):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        prefix = Path(here).relative_to(top).as_posix()
        linked = [
            f"{name}/" for name in inner if (Path(here) / name).is_symlink()
        ]  # it may be a loop
        yield from (
            f"{prefix}/{name}" if prefix != "." else name
            for name in sorted([*names, *linked])
            if not name.startswith(".")
        )


def is_picture(path: str) -> bool:
    """Whether the suffix is one that the decoder knows."""
    return os.path.splitext(path)[1].lower() in SUFFIXES  # noqa: PTH122 - a Path for each of 400,000 names is slow


def note_passed(paths: Sequence[str], why: str) -> tuple[str, ...]:
    """One note about what was passed over, or none."""
    return (f"{len(paths):,} {why} and were passed over ({examples(paths)})",) if paths else ()


def keep_present(
    rows: Sequence[SourceRow], top: Path, listed_in: str
) -> tuple[list[SourceRow], tuple[str, ...]]:
    """The rows whose picture lies below `top`, and a note about the others.

    Raises
    ------
    SourceError  if rows are listed and no picture of them is there
    """
    names_in: dict[str, frozenset[str]] = {}
    present: list[SourceRow] = []
    missing: list[SourceRow] = []
    for row in rows:
        folder, _, name = split_face(row.path)[0].rpartition("/")
        if folder not in names_in:
            names_in[folder] = list_names(top / folder)
        (present if name in names_in[folder] else missing).append(row)
    if rows and not present:
        raise SourceError(
            f"{listed_in}: none of its {len(rows):,} pictures is below {top} (first: {rows[0].path}): unpack the pictures there"
        )
    return present, note_passed(
        [row.path for row in missing], f"faces of {Path(listed_in).name} have no picture on disk"
    )


def clip_box(x: float, y: float, right: float, bottom: float) -> str:
    """ "x y w h" of a box whose corners may lie left of or above the picture; empty where nothing is left of it."""
    left, top = max(0, round(x)), max(0, round(y))
    width, height = round(right) - left, round(bottom) - top
    return f"{left} {top} {width} {height}" if width > 0 and height > 0 else ""


def list_names(folder: Path) -> frozenset[str]:
    """The names in a folder, none if there is no such folder."""
    return frozenset(os.listdir(folder)) if folder.is_dir() else frozenset()  # noqa: PTH208 - names alone, not Paths
