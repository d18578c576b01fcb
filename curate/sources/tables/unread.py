"""What lies in a dataset's folder unread, and what to do about a folder that no layout fits.

Comes in: the folder and the rows that its layout lists. Goes out: notes with counts, so that
nothing is passed over in silence; or the end of a refusal.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from curate.errors import SourceError, shorten
from curate.labels import canonical_label, guess_class, write_option
from curate.sources.layout import Listing
from curate.sources.tables.pictures import (
    ARCHIVES,
    MAC_FOLDER,
    get_suffix,
    holds_pictures,
    is_picture,
    note_skipped,
    subfolders,
)
from curate.workspace.manifest import split_face
from curate.workspace.workspace import is_workspace

# Pictures and videos that are not decoded: the user converts them.
_FOREIGN = frozenset(
    {
        ".heic", ".heif", ".avif", ".jp2", ".jxl", ".psd", ".svg", ".tga", ".dng", ".cr2", ".nef",
        ".arw", ".raw", ".mp4", ".avi", ".mov", ".mkv", ".webm", ".wmv", ".mpg", ".flv",
    }
)  # fmt: skip
_TABLES = (".csv", ".tsv", ".parquet", ".npz")
# Folders looked at for a refusal: a home folder given by mistake has thousands.
_MOST_FOLDERS = 300


def note_unread(root: Path, listing: Listing, *, by_folder: bool = False) -> tuple[str, ...]:
    """Notes about folders with pictures of which none is a row, and about files of other kinds.

    What `listing.noted` names is counted already.

    Parameters
    ----------
    by_folder : whether the class of a picture is that of its folder, so that no table is read
    """
    if not root.is_dir():
        return ()
    places = {split_face(row.path)[0].rpartition("/")[0] for row in listing.rows}
    read = {str(listing.image_root / place) for place in places}
    known = {str(listing.image_root / path) for path in listing.noted}
    files_in, macs = _list_files(root, known)
    paths = [Path(place, name) for place, names in files_in.items() for name in names]
    unread = {Path(place): names for place, names in files_in.items() if place not in read}
    tables = _list_kind(paths, root, _TABLES) if by_folder else []
    lists = [file for file in tables if _names_labels(root / file)]
    return (
        *_note_folders(root, unread),
        *note_skipped(
            lists,
            "table",
            "of paths and labels beside the pictures, whose folders say their class: if the table "
            "says it, build the table itself",
        ),
        *note_skipped(
            _list_kind(paths, root, _FOREIGN),
            "file",
            "of a kind of picture or video that is not decoded",
        ),
        *note_skipped(_list_kind(paths, root, ARCHIVES), "archive", "that nobody has unpacked"),
        *note_skipped(macs, "folder", "added by a Mac, without a picture"),
    )


def _names_labels(file: Path) -> bool:
    """Whether a table has columns of paths and of labels."""
    from curate.sources.table import detect

    try:
        return bool(detect(file))
    except SourceError:  # no table
        return False


def suggest_way_out(root: Path, *, is_known: bool = False) -> str:
    """What the user can do about a folder or file without a row: the end of a refusal.

    Parameters
    ----------
    is_known : whether a layout fits, but lists no face
    """
    if root.is_file():
        return _suggest_for_file(root)
    places = list(_list_folders(root))
    with_pictures = [place for place in places if holds_pictures(place)]
    if not with_pictures:
        return _suggest_for_no_picture(root, places)
    return (not is_known and _suggest_folders(root, with_pictures)) or (
        "sort the pictures into one folder a class, or name a table of them with "
        "`--column path=NAME --column label=NAME`"
    )


def _suggest_folders(root: Path, with_pictures: Sequence[Path]) -> str:
    """To name the folder above the classes, or the class of a folder; empty if there is none."""
    parents = sorted({place.parent for place in with_pictures if canonical_label(place.name)})
    if len(parents) > 1:
        return (
            f"class folders are in {parents[0]}: name that folder, or build each of the "
            f"{len(parents)} as a source of its own"
        )
    if parents:
        return f"class folders are in {parents[0]}: name that folder"
    from curate.sources.folder import split_of

    inner = (place for place in with_pictures if place != root)
    names = [place.name for place in inner if not split_of(place)]
    return f"if {shorten(names[0])} is a class, {suggest_map(names)}" if names else ""


def suggest_map(names: Iterable[str]) -> str:
    """How to give folders their classes, or leave them out."""
    first = next(iter(names))
    return (
        f"name the class of each with {write_option('--map', f'{first}={guess_class(first)}')}, or "
        f"leave it out with {write_option('--skip', first)}"
    )


def _list_kind(paths: Iterable[Path], root: Path, suffixes: Collection[str]) -> list[str]:
    """The paths of these suffixes, relative to the root."""
    found = (path for path in paths if get_suffix(path.name) in suffixes)
    return [path.relative_to(root).as_posix() for path in found]


def _list_files(root: Path, known: Collection[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Folder -> its files without hidden and `known` ones; and the folders that a Mac added."""
    files_in: dict[str, list[str]] = {}
    macs = []
    for here, folders, names in os.walk(root):
        place = Path(here)  # of `.` without the `./` in front, as the rows have it
        if MAC_FOLDER in folders:
            macs.append((place / MAC_FOLDER).relative_to(root).as_posix())
        inner = [name for name in _list_shown(place, folders, known) if name != MAC_FOLDER]
        folders[:] = [name for name in inner if not is_workspace(place / name)]
        files_in[str(place)] = _list_shown(place, names, known)
    return files_in, macs


def _list_shown(place: Path, names: Iterable[str], known: Collection[str]) -> list[str]:
    above = "" if place == Path() else f"{place}{os.sep}"
    shown = (name for name in names if not name.startswith("."))
    return sorted(name for name in shown if f"{above}{name}" not in known)


def _suggest_for_file(file: Path) -> str:
    if get_suffix(file.name) in ARCHIVES:
        return "unpack the archive and name its folder"
    if get_suffix(file.name) in _TABLES:
        return "name its columns with `--column path=NAME --column label=NAME`"
    return "name the folder of the dataset, or a CSV with `--column path=NAME --column label=NAME`"


def _suggest_for_no_picture(root: Path, places: Iterable[Path]) -> str:
    files = sorted(file for place in places for file in place.iterdir() if file.is_file())
    tables = [file for file in files if get_suffix(file.name) in _TABLES]
    if tables:
        return f"name the table itself, as in `curate build {tables[0]}`"
    archives = [file for file in files if get_suffix(file.name) in ARCHIVES]
    if archives:
        return f"unpack {archives[0]} and name its folder"
    return f"unpack the dataset's pictures in {root}, or name the folder that holds them"


def _list_folders(root: Path) -> Iterator[Path]:
    """The root and the folders below it, the outer first."""
    waiting = [root]
    seen = 0
    while waiting and seen < _MOST_FOLDERS:
        folder = waiting.pop(0)
        seen += 1
        yield folder
        waiting += [inner for inner in subfolders(folder) if not inner.is_symlink()]


def _count_pictures(folder: Path, names: Iterable[str]) -> int:
    """Pictures directly in the folder; of each unknown suffix the first file is opened."""
    first_of: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for name in names:
        suffix = get_suffix(name)
        first_of.setdefault(suffix, name)
        counts[suffix] += 1
    return sum(counts[suffix] for suffix, name in first_of.items() if is_picture(name, folder))


def _note_folders(root: Path, unread: Mapping[Path, Sequence[str]]) -> tuple[str, ...]:
    """A note about the folders that hold pictures, with the number of them."""
    counts = {folder: _count_pictures(folder, names) for folder, names in unread.items()}
    shown = [
        f"{folder.relative_to(root).as_posix()}: {count:,}"
        for folder, count in sorted(counts.items())
        if count
    ]
    return note_skipped(shown, "folder", "with pictures that are no part of this layout")
