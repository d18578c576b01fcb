"""Pictures on disk: those below a folder, and those that a list of rows names.

A picture is known by its suffix or, whatever its name, by its first bytes. What an archive brings
along (`__MACOSX`, empty folders, other archives) is passed by. A list may name more than is there
(a download in parts); missing pictures are counted, and a list without one picture is an error.
Folders are listed as a whole, since a check of each of 400,000 files takes a minute on a slow disk.
"""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from curate.errors import SourceError, amount, examples, shorten
from curate.files import read_start
from curate.images.decode import MAGIC, SUFFIXES
from curate.sources.layout import SourceRow
from curate.workspace.manifest import split_face
from curate.workspace.workspace import is_workspace

# What a Mac adds to the archives that it makes; it holds no picture.
MAC_FOLDER = "__MACOSX"
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
# Files that lie beside a dataset's own folder and are no part of it.
_BESIDE = (*ARCHIVES, ".md", ".txt", ".pdf", ".html", ".url", ".ini", ".db", ".torrent")
_POINTERS = (b"version https://git-lfs.github.com/", b"/annex/objects/")


def subfolders(folder: Path) -> list[Path]:
    """Folders by name; hidden ones, `__MACOSX` and a workspace are left out."""
    folders = (entry for entry in folder.iterdir() if entry.is_dir())
    shown = (entry for entry in folders if not _is_hidden(entry.name))
    return sorted(entry for entry in shown if not is_workspace(entry))


def filled_subfolders(folder: Path) -> list[Path]:
    """`subfolders` without those that hold no file."""
    return [inner for inner in subfolders(folder) if not is_empty(inner)]


def is_empty(folder: Path) -> bool:
    """Whether no file lies in the folder or below it but hidden ones; a link is as a file."""
    try:
        with os.scandir(folder) as entries:
            return all(
                _is_hidden(entry.name)
                or (entry.is_dir(follow_symlinks=False) and is_empty(Path(entry.path)))
                for entry in entries
            )
    except OSError as error:
        _refuse(error)


def is_beside(file: Path) -> bool:
    """Whether the file may lie beside a dataset's own folder: an archive, a README, hidden."""
    plain = not file.suffix and file.name.isupper()  # README, LICENSE
    return _is_hidden(file.name) or plain or file.suffix.lower() in _BESIDE


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
    """The root, then its only folder, as long as a folder holds one folder and nothing to read."""
    found = [root]
    while root.is_dir():
        inner = find_only_folder(root)
        if inner is None:
            break
        root = inner
        found.append(root)
    return found


def find_only_folder(folder: Path) -> Path | None:
    """The only folder in it, if no file lies there but what `is_beside` allows; else None."""
    inside = filled_subfolders(folder) or subfolders(folder)
    if len(inside) != 1:
        return None
    files = (entry for entry in folder.iterdir() if entry.is_file())
    return inside[0] if all(map(is_beside, files)) else None


def walk_files(folder: Path, top: Path) -> Iterator[str]:
    """Posix paths, relative to `top`, of every file below the folder.

    Links to folders end with `/` and are not entered: one may be a loop.
    """
    for place, folders, names in os.walk(folder, onerror=_refuse):
        here = Path(place)
        shown = (name for name in folders if not _is_hidden(name))
        folders[:] = sorted(name for name in shown if not is_workspace(here / name))
        prefix = here.relative_to(top).as_posix()
        linked = [f"{name}/" for name in folders if (here / name).is_symlink()]
        for name in sorted([*names, *linked]):
            if not name.startswith("."):
                yield name if prefix == "." else f"{prefix}/{name}"


def is_picture(path: str, top: Path | None = None) -> bool:
    """Whether the decoder knows the suffix or, with `top`, the first bytes of `top / path`.

    A name as `a.png#2` is none: a manifest would take it for the third face of `a.png`.
    """
    if get_suffix(path) in SUFFIXES:
        return True
    if top is None or split_face(path)[0] != path:
        return False
    return MAGIC.match(read_start(top / path)) is not None


def get_suffix(path: str) -> str:
    """The suffix in lower case, with its dot."""
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 - a Path for each of 400,000 is slow


def holds_pictures(folder: Path) -> bool:
    """Whether a picture lies directly in the folder."""
    names = sorted(name for name in list_names(folder) if not name.startswith("."))
    if any(get_suffix(name) in SUFFIXES and (folder / name).is_file() for name in names):
        return True
    # The first fifty are enough: a folder of other pictures holds little else.
    return any(is_picture(name, folder) for name in names[:50])


def is_pointer(file: Path) -> bool:
    """Whether the file is the text that Git LFS or git-annex puts in place of a picture."""
    return read_start(file).startswith(_POINTERS)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == MAC_FOLDER


def _refuse(error: OSError) -> NoReturn:
    raise SourceError(
        f"{error.filename}: cannot be opened ({error.strerror}): restore it, or make it readable"
    ) from error


def note_skipped(paths: Sequence[str], what: str, which: str = "") -> tuple[str, ...]:
    """One note with the number of skipped paths; none without a path.

    Parameters
    ----------
    what : the singular of what they are, such as `picture`
    which : the reason, true of one and of many: `without a label`
    """
    if not paths:
        return ()
    skipped = " ".join(filter(None, (amount(len(paths), what), which)))
    return (f"skipped {skipped} ({examples(paths)})",)


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
            f"(first: {shorten(rows[0].path)}): unpack the pictures there"
        )
    which = f"of {Path(listed_in).name} without a picture on disk"
    return present, note_skipped([shorten(row.path) for row in missing], "face", which)


def clip_box(x: float, y: float, right: float, bottom: float) -> str:
    """ "x y w h" of a box, clipped at the left and upper edge of the picture.

    Empty where nothing is left of it, or an edge is no number.
    """
    if not all(map(math.isfinite, (x, y, right, bottom))):
        return ""
    left, top = max(0, round(x)), max(0, round(y))
    width, height = round(right) - left, round(bottom) - top
    return f"{left} {top} {width} {height}" if width > 0 and height > 0 else ""


def list_names(folder: Path) -> frozenset[str]:
    """The names in a folder; empty if there is no such folder."""
    if not folder.is_dir():
        return frozenset()
    return frozenset(os.listdir(folder))  # noqa: PTH208 - names alone, not Paths
