"""Pictures on disk: those below a folder, and those that a list of rows names.

A list may name more than is there (a download in parts); missing pictures are counted, and a list
without one picture is an error. Folders are listed as a whole, since a check of each of 400,000
files takes a minute on a slow disk.
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
    folders = (entry for entry in folder.iterdir() if entry.is_dir())
    return sorted(entry for entry in folders if not entry.name.startswith("."))


def unwrap(root: Path) -> Path:
    """The root, or the innermost folder of a chain of only children (an archive's own folder)."""
    return _outer_folders(root)[-1]


def find_top(root: Path, *inside: str) -> Path | None:
    """The root, or an archive's own folder below it, that holds one of these files or folders.

    None if none does.
    """
    for place in _outer_folders(root):
        if any((place / name).exists() for name in inside):
            return place
    return None


def find_folder(root: Path, *names: str) -> Path | None:
    """The first folder of these names in the root or in an archive's own folder below it."""
    top = find_top(root, *names)
    return next((top / name for name in names if (top / name).is_dir()), None) if top else None


def _outer_folders(root: Path) -> list[Path]:
    """The root, then its only folder, as long as a folder holds nothing but one folder."""
    found = [root]
    while root.is_dir():
        inside = [entry for entry in root.iterdir() if not entry.name.startswith(".")]
        if len(inside) != 1 or not inside[0].is_dir():
            break
        root = inside[0]
        found.append(root)
    return found


def walk_files(folder: Path, top: Path) -> Iterator[str]:
    """Posix paths, relative to `top`, of every file below the folder.

    Links to folders end with `/` and are not entered: one may be a loop.
    """

    def refuse(error: OSError) -> None:
        raise SourceError(
            f"{error.filename}: cannot be opened ({error.strerror}): restore it, "
            "or make it readable"
        )

    for place, folders, names in os.walk(folder, onerror=refuse):
        here = Path(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        prefix = here.relative_to(top).as_posix()
        linked = [f"{name}/" for name in folders if (here / name).is_symlink()]
        for name in sorted([*names, *linked]):
            if not name.startswith("."):
                yield name if prefix == "." else f"{prefix}/{name}"


def is_picture(path: str) -> bool:
    """Whether the suffix is one that the decoder knows."""
    suffix = os.path.splitext(path)[1]  # noqa: PTH122 - a Path for each of 400,000 names is slow
    return suffix.lower() in SUFFIXES


def note_skipped(paths: Sequence[str], why: str) -> tuple[str, ...]:
    """One note with the number of skipped paths and the reason; none without a path."""
    return (f"{len(paths):,} {why} and were skipped ({examples(paths)})",) if paths else ()


def keep_present(
    rows: Sequence[SourceRow], top: Path, listed_in: str
) -> tuple[list[SourceRow], tuple[str, ...]]:
    """The rows whose picture lies below `top`, and a note about the others.

    Raises
    ------
    SourceError  if rows are listed and the pictures of all of them are missing
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
            f"{listed_in}: none of its {len(rows):,} pictures is below {top} "
            f"(first: {rows[0].path}): unpack the pictures there"
        )
    why = f"faces of {Path(listed_in).name} have no picture on disk"
    return present, note_skipped([row.path for row in missing], why)


def clip_box(x: float, y: float, right: float, bottom: float) -> str:
    """ "x y w h" of a box, clipped at the left and upper edge of the picture.

    Empty where nothing is left of it.
    """
    left, top = max(0, round(x)), max(0, round(y))
    width, height = round(right) - left, round(bottom) - top
    return f"{left} {top} {width} {height}" if width > 0 and height > 0 else ""


def list_names(folder: Path) -> frozenset[str]:
    """The names in a folder; empty if there is no such folder."""
    if not folder.is_dir():
        return frozenset()
    return frozenset(os.listdir(folder))  # noqa: PTH208 - names alone, not Paths
