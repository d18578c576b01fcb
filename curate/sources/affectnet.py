"""AffectNet as first released: pictures in numbered folders, and lists.

    root/Manually_Annotated_Images/<n>/<hash>.jpg
    root/Manually_Annotated_file_lists/{training,validation}.csv   (the latter often has no header)
    root/Automatically_Annotated_Images/…             (labels by a machine: source_label has `auto`)
    root/Automatically_Annotated_file_lists/automatically_annotated.csv

Columns of a list: subDirectory_filePath, face_x, face_y, face_width, face_height, facial_landmarks,
expression, valence, arousal.

The face is the box, clipped to the picture; where a box has no area or is NULL the whole picture is
the face. Codes 8 to 10 (none, uncertain, no face) are no class: such faces are counted and skipped,
never trained. The official validation set is `val` here; the literature reports it as its test set.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from curate.errors import SourceError, amount, shorten
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.affectnet_labels import NO_CLASS, label_codes
from curate.sources.tables.pictures import clip_box, find_top, keep_present
from curate.sources.tables.text_tables import read_lists

NAME = "affectnet"
LOOKS_LIKE = (
    "Manually_Annotated_file_lists/{training,validation}.csv beside Manually_Annotated_Images/"
)
RECOGNISED_BY = "the folder of lists; codes 0 to 7 by the published training counts or --codes"

COLUMNS = (
    "subdirectory_filepath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks",
    "expression", "valence", "arousal",
)  # fmt: skip
# list -> (split, its folder of pictures)
LISTS: Mapping[str, tuple[str, str]] = {
    "Manually_Annotated_file_lists/training.csv": ("train", "Manually_Annotated_Images"),
    "Manually_Annotated_file_lists/validation.csv": ("val", "Manually_Annotated_Images"),
    "Automatically_Annotated_file_lists/automatically_annotated.csv": (
        "train",
        "Automatically_Annotated_Images",
    ),
}

Face = tuple[str, str, str]  # path, box, code


def detect(root: Path) -> bool:
    """Whether one of the lists lies there."""
    return root.is_dir() and find_top(root, *LISTS) is not None


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every face with one of the eight classes.

    Raises
    ------
    SourceError  if a line has another form, a code is unknown or ambiguous, or all pictures of a
        list are missing
    """
    top = find_top(root, *LISTS)
    assert top is not None
    faces = {name: list(_read_lines(top / name)) for name in LISTS if (top / name).is_file()}
    # The training list, if it is there: its counts decide the order of the codes.
    first = next(iter(faces))
    counted = [code for _, _, code in faces[first] if code and code not in NO_CLASS]
    label_of = label_codes(counted, options.codes, str(top / first), default="official")
    found: list[SourceRow] = []
    notes: list[str] = []
    for name, listed in faces.items():
        _refuse_unknown({code for _, _, code in listed} - {"", *label_of, *NO_CLASS}, top / name)
        present, missing = keep_present(_make_rows(name, listed, label_of), top, str(top / name))
        found += present
        notes += [*_note_skipped(name, listed), *missing]
    return Listing(top, found, tuple(notes))


def _make_rows(name: str, listed: Sequence[Face], label_of: Mapping[str, str]) -> list[SourceRow]:
    split, folder = LISTS[name]
    auto = " auto" if folder.startswith("Auto") else ""
    return [
        SourceRow(f"{folder}/{path}", label_of[code], code + auto, split, box=box)
        for path, box, code in listed
        if code in label_of
    ]


def _refuse_unknown(codes: set[str], table: Path) -> None:
    if codes:
        raise SourceError(
            f"{table}: expression '{shorten(min(codes))}' is no code: "
            "0 to 7 are classes, 8 to 10 none, uncertain, no face; correct the list"
        )


def _note_skipped(name: str, listed: Sequence[Face]) -> list[str]:
    table = name.rpartition("/")[2]
    codes = Counter(code for _, _, code in listed)
    skipped = [f"{codes[code]:,} {what} ({code})" for code, what in NO_CLASS.items() if codes[code]]
    skipped += [f"{codes['']:,} with an empty expression"] if codes[""] else []
    boxless = sum(not box for _, box, code in listed if code not in NO_CLASS)
    notes = []
    if skipped:
        notes.append(f"{table}: faces without a class were skipped: {', '.join(skipped)}")
    if boxless:
        notes.append(
            f"{table}: {amount(boxless, 'face has', 'faces have')} no usable box: the whole "
            "picture is the face"
        )
    return notes


def _read_lines(table: Path) -> Iterator[Face]:
    """Each face of a list; the landmarks, a kilobyte each, are not kept."""
    lines = read_lists(table, is_line=lambda line: len(line) == len(COLUMNS))
    for number, line in enumerate(lines, start=1):
        if number == 1 and line[:1] and line[0].lower() == COLUMNS[0]:
            _require_order(table, line)
            continue
        if len(line) != len(COLUMNS):
            raise SourceError(
                f"{table} line {number}: {len(line)} values where {len(COLUMNS)} should be "
                f"({', '.join(COLUMNS)}): restore the list"
            )
        yield line[0], _read_box(line[1:5]), line[6]


def _require_order(table: Path, header: Sequence[str]) -> None:
    """Raise SourceError if the header names the columns in another order than AffectNet's."""
    names = [name.lower() for name in header]
    wrong = [name for name, own in zip(names, COLUMNS, strict=False) if name != own.lower()]
    if wrong:
        raise SourceError(
            f"{table}: its header has {shorten(wrong[0])} in another place than AffectNet's "
            f"({', '.join(COLUMNS)}): bring the columns into this order, or read it as a table, "
            "`curate build LIST.csv --column path=… --column label=…`"
        )


def _read_box(values: Sequence[str]) -> str:
    try:
        x, y, width, height = (float(value) for value in values)
    except ValueError:  # NULL
        return ""
    return clip_box(x, y, x + width, y + height) if width > 0 and height > 0 else ""
