"""AffectNet as first released: pictures in numbered folders, and lists.

    root/Manually_Annotated_Images/<n>/<hash>.jpg
    root/Manually_Annotated_file_lists/{training,validation}.csv        (the latter often without its header)
    root/Automatically_Annotated_Images/…                               (labels by a machine: source_label says `auto`)
    root/Automatically_Annotated_file_lists/automatically_annotated.csv

    subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal

The face is the box, clipped to the picture; where a box has no area or is NULL the whole picture is the face. Codes 8 to 10
(none, uncertain, no face) are no class: such faces are counted and passed over, never trained. The official validation set
is `val` here; the literature reports it as its test set.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from curate.errors import SourceError
from curate.sources import Listing, Reading, SourceRow
from curate.sources.affectnet_labels import NO_CLASS, label_codes
from curate.sources.pictures import clip_box, find_top, keep_present
from curate.sources.text_tables import read_lists

NAME = "affectnet"
LOOKS_LIKE = "Manually_Annotated_file_lists/{training,validation}.csv beside Manually_Annotated_Images/"
TOLD_BY = "the folder of lists; codes 0 to 7 by the published training counts or --codes"

COLUMNS = (
    "subdirectory_filepath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression", "valence",
    "arousal",
)  # fmt: skip
# list -> (split, its folder of pictures)
LISTS: Mapping[str, tuple[str, str]] = {
    "Manually_Annotated_file_lists/training.csv": ("train", "Manually_Annotated_Images"),
    "Manually_Annotated_file_lists/validation.csv": ("val", "Manually_Annotated_Images"),
    "Automatically_Annotated_file_lists/automatically_annotated.csv": ("train", "Automatically_Annotated_Images"),
}


def detect(root: Path) -> bool:
    """Whether one of the lists lies there."""
    return root.is_dir() and find_top(root, *LISTS) is not None


def rows(root: Path, asked: Reading) -> Listing:
    """Every face with one of the eight classes.

    Raises
    ------
    SourceError  if a line is not of the form, a code is unknown or in doubt, or a list's pictures are not there
    """
    top = find_top(root, *LISTS)
    assert top is not None
    found: list[SourceRow] = []
    notes: list[str] = []
    for name in LISTS:
        if (top / name).is_file():
            split, folder = LISTS[name]
            faces, told = _read_list(top / name, split, folder, asked)
            present, missing = keep_present(faces, top, str(top / name))
            found, notes = found + present, [*notes, *told, *missing]
    return Listing(top, found, tuple(notes))


def _read_list(table: Path, split: str, folder: str, asked: Reading) -> tuple[list[SourceRow], list[str]]:
    lines = list(_read_lines(table))
    codes = Counter(line["expression"] for line in lines)
    classes = {code: count for code, count in codes.items() if code not in NO_CLASS}
    label_of = label_codes(Counter(classes).elements(), asked.codes, str(table), default="official")
    unknown = sorted(set(classes) - set(label_of))
    if unknown:
        raise SourceError(
            f"{table}: expression '{unknown[0]}' is no code: 0 to 7 are classes, 8 to 10 none, uncertain, no face"
        )
    auto = " auto" if folder.startswith("Auto") else ""
    faces = [
        SourceRow(f"{folder}/{line[COLUMNS[0]]}", label_of[code], code + auto, split, box=_read_box(line))
        for line in lines
        if (code := line["expression"]) in label_of
    ]
    passed = [f"{codes[code]:,} {what} ({code})" for code, what in NO_CLASS.items() if codes[code]]
    boxless = sum(not face.box for face in faces)
    notes = [f"{table.name}: faces without a class were passed over: {', '.join(passed)}"] if passed else []
    notes += [f"{table.name}: {boxless:,} faces have no usable box: the whole picture is the face"] if boxless else []
    return faces, notes


def _read_lines(table: Path) -> Iterator[dict[str, str]]:
    for number, line in enumerate(read_lists(table), start=1):
        if number == 1 and line[:1] and line[0].lower() == COLUMNS[0]:
            continue
        if len(line) != len(COLUMNS):
            raise SourceError(
                f"{table} line {number}: {len(line)} values where {len(COLUMNS)} should be ({', '.join(COLUMNS)})"
            )
        yield dict(zip(COLUMNS, line, strict=True))


def _read_box(line: Mapping[str, str]) -> str:
    try:
        x, y, width, height = (float(line[name]) for name in COLUMNS[1:5])
    except ValueError:  # NULL
        return ""
    return clip_box(x, y, x + width, y + height) if width > 0 and height > 0 else ""
