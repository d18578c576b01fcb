"""SFEW 2.0: frames of movies.

    root/Train_SFEW_2_0/Angry/Airheads_000519240_00000005.png    also Train/, Train_Aligned_Faces/
    root/Val_SFEW_2_0/…                                          also Val/, Val_Aligned_Faces_new/
    root/Test/…                                                  no labels: counted and skipped

The text before the first `_<digits>` names the movie. Its frames show the same people, so each
movie is one sequence, which folds and splits keep whole. (Some readers take the last number for a
person; that is unverified and not used.) Where both the frames and the aligned faces cut from them
are there, only the aligned ones are read: both would be every face twice.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from curate.errors import SourceError
from curate.labels import canonical_label, canonical_labels
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.pictures import (
    is_picture,
    note_skipped,
    subfolders,
    unwrap,
    walk_files,
)

NAME = "sfew"
LOOKS_LIKE = (
    "Train_SFEW_2_0/, Val_Aligned_Faces/ and the like "
    "with class folders of <movie>_<digits>_<digits>.png"
)
RECOGNISED_BY = "file names that begin with a movie and two numbers, in such folders"

_PART = re.compile(r"(Train|Val|Test)(_SFEW.*|_Aligned_Faces.*)?")
_NAME = re.compile(r"(.+?)_[0-9]+.*_[0-9]+\.\w+")


def detect(root: Path) -> bool:
    """Whether such a part holds a class folder of movie frames."""
    return root.is_dir() and any(
        _NAME.fullmatch(file.name)
        for part in _list_parts(root)
        for each in subfolders(part)
        if canonical_label(each.name)
        for file in each.glob("*_[0-9]*_[0-9]*.*")
    )


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every labelled frame, with its movie as sequence.

    Raises
    ------
    SourceError  if a class folder of a labelled part has no known label, or a name has no movie
    """
    top = _find_top(root)
    parts = _list_parts(root)
    read = _prefer_aligned(parts)
    beside = [part.name for part in parts if part not in read]
    pictures = list(_list_pictures(read, top))
    folders = {folder for part, folder, _ in pictures if not part.name.startswith("Test")}
    label_of = canonical_labels(sorted(folders), where=str(root), extra=options.spellings)
    found = [
        _read_row(part, folder, path, label_of)
        for part, folder, path in pictures
        if folder in label_of
    ]
    unlabelled = [path for _, folder, path in pictures if folder not in label_of]
    notes = (
        *note_skipped(unlabelled, "picture", "of Test without a label"),
        *note_skipped(beside, "folder", "of frames that the aligned faces were cut from"),
    )
    outside = {part.relative_to(top).as_posix() for part in parts if part not in read}
    return Listing(top, found, notes, frozenset({*unlabelled, *outside}))


def _list_parts(root: Path) -> list[Path]:
    """The parts, or for each the folder with the same form of name that is its only content."""
    parts = [part for part in subfolders(_find_top(root)) if _PART.fullmatch(part.name)]
    inner = [(part, unwrap(part)) for part in parts]
    return [deep if _PART.fullmatch(deep.name) else part for part, deep in inner]


def _prefer_aligned(parts: list[Path]) -> list[Path]:
    """The parts without those of which the aligned faces are there too."""
    aligned = [part for part in parts if "Aligned" in part.name]
    splits = {_split_of(part) for part in aligned}
    return [part for part in parts if part in aligned or _split_of(part) not in splits]


def _list_pictures(parts: list[Path], top: Path) -> Iterator[tuple[Path, str, str]]:
    """(part, name of the folder that holds it, path) of every picture."""
    for part in parts:
        for path in walk_files(part, top):
            if is_picture(path, top):
                yield part, path.split("/")[-2], path


def _split_of(part: Path) -> str:
    return part.name.split("_")[0]


def _find_top(root: Path) -> Path:
    """The folder of the parts; a single part, or a class in it, is no archive's own folder."""
    top = unwrap(root)
    while top != root and (_PART.fullmatch(top.name) or canonical_label(top.name)):
        top = top.parent
    return top


def _read_row(part: Path, folder: str, path: str, label_of: Mapping[str, str]) -> SourceRow:
    name = path.rpartition("/")[2]
    match = _NAME.fullmatch(name)
    if match is None:
        raise SourceError(
            f"{part}: '{name}' names no movie: "
            "must be like Airheads_000519240_00000005.png; rename it"
        )
    return SourceRow(path, label_of[folder], folder, _split_of(part).lower(), sequence=match[1])
