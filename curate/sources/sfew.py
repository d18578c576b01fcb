"""SFEW 2.0: frames of films.

    root/Train_SFEW_2_0/Angry/Airheads_000519240_00000005.png      also Train/, Train_Aligned_Faces/
    root/Val_SFEW_2_0/…                                            also Val/, Val_Aligned_Faces_new/
    root/Test/…                                                    without labels: counted and passed over

The film is what stands before the first `_<digits>`; its frames show the same people, so it is kept whole as a sequence.
(Some readers take the last number for a person; that is unverified and not used.) Where aligned faces lie beside the frames
they were cut from, the aligned ones are read: both would be every face twice.
"""

import re
from pathlib import Path

from curate.errors import SourceError
from curate.labels import canonical_label, canonical_labels
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.pictures import is_picture, note_passed, subfolders, unwrap, walk_files

NAME = "sfew"
LOOKS_LIKE = "Train_SFEW_2_0/, Val_Aligned_Faces/ and the like with class folders of <film>_<digits>_<digits>.png"
TOLD_BY = "file names that begin with a film and two numbers, in such folders"

_PART = re.compile(r"(Train|Val|Test)(_SFEW.*|_Aligned_Faces.*)?")
_FILM = re.compile(r"(.+?)_[0-9]+.*_[0-9]+\.\w+")


def detect(root: Path) -> bool:
    """Whether such a part holds a class folder of film frames."""
    return root.is_dir() and any(
        _FILM.fullmatch(file.name)
        for part in _parts(root)
        for each in subfolders(part)
        if canonical_label(each.name)
        for file in each.glob("*_[0-9]*_[0-9]*.*")
    )


def rows(root: Path, asked: LayoutOptions) -> Listing:
    """Every labelled frame with its film.

    Raises
    ------
    SourceError  if a class folder of a labelled part has no known label, or a name tells no film
    """
    top = _top(root)
    parts = _parts(root)
    aligned = {part.name.split("_")[0] for part in parts if "Aligned" in part.name}
    read = [
        part for part in parts if part.name.split("_")[0] not in aligned or "Aligned" in part.name
    ]
    beside = [part.name for part in parts if part not in read]
    pictures = [(part, path) for part in read for path in walk_files(part, top) if is_picture(path)]
    folders = {path.split("/")[-2] for part, path in pictures if not part.name.startswith("Test")}
    label_of = canonical_labels(sorted(folders), where=str(root), extra=asked.spellings)
    found = [
        _read_row(part, path, label_of)
        for part, path in pictures
        if path.split("/")[-2] in label_of
    ]
    unlabelled = [path for _, path in pictures if path.split("/")[-2] not in label_of]
    notes = (
        *note_passed(unlabelled, "pictures of Test have no label"),
        *note_passed(beside, "folders hold the frames that the aligned faces were cut from"),
    )
    return Listing(top, found, notes)


def _parts(root: Path) -> list[Path]:
    """The parts, or for each the folder of the same kind of name that is all it holds."""
    parts = [part for part in subfolders(_top(root)) if _PART.fullmatch(part.name)]
    inner = [unwrap(part) for part in parts]
    return [
        deep if _PART.fullmatch(deep.name) else part
        for part, deep in zip(parts, inner, strict=True)
    ]


def _top(root: Path) -> Path:
    """A part alone, or a class in it, is no archive's own folder."""
    top = unwrap(root)
    while top != root and (_PART.fullmatch(top.name) or canonical_label(top.name)):
        top = top.parent
    return top


def _read_row(part: Path, path: str, label_of: dict[str, str]) -> SourceRow:
    name, folder = path.rpartition("/")[2], path.split("/")[-2]
    film = _FILM.fullmatch(name)
    if film is None:
        raise SourceError(
            f"{part}: '{name}' tells no film: must be like Airheads_000519240_00000005.png; rename it"
        )
    split = part.name.split("_")[0].lower()
    return SourceRow(path, label_of[folder], folder, split, sequence=film[1])
