"""ExpW: photographs of the web with several faces each.

    root/image/origin/*.jpg
    root/label/label.lst          image_name face_id_in_image top left right bottom confidence label

Mind the order: top, left, right, bottom. Each line is a face, `origin`'s picture cut to its box,
with the path `<image_name>#<face id>`; the faces of a picture never cross a split (they have the
same sequence). A face on two lines is one face; one without an area is counted and skipped. 91,793
faces as published.
"""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from curate.csv_text import read_text
from curate.errors import SourceError, amount, examples
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.pictures import clip_box, find_top, keep_present, note_skipped

NAME = "expw"
LOOKS_LIKE = "image/origin/*.jpg beside label/label.lst"
RECOGNISED_BY = "the file label/label.lst (or label.lst), eight values a line"

FILES = ("label/label.lst", "label.lst")
FOLDERS = ("image/origin", "origin", "image")
CODES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def detect(root: Path) -> bool:
    """Whether the list lies there."""
    return root.is_dir() and _find_list(root) is not None


def rows(root: Path, options: LayoutOptions) -> Listing:  # noqa: ARG001 - codes, not names
    """Every face with its box.

    Raises
    ------
    SourceError  if a line has another form, or all pictures are missing
    """
    table = _find_list(root)
    assert table is not None
    top = _find_pictures(table)
    faces = list(_read_faces(table))
    lines_of = Counter(face.path for face in faces)
    repeated = [path for path, count in lines_of.items() if count > 1]
    first = {face.path: face for face in reversed(faces)}  # the first line of each face
    flat = [path for path, face in first.items() if not face.box]
    present, notes = keep_present([face for face in first.values() if face.box], top, str(table))
    if repeated:
        lines = f"{amount(len(repeated), 'face is', 'faces are')} on several lines"
        notes += (f"{lines}, of which the first counts ({examples(repeated)})",)
    notes += note_skipped(flat, "face", "with a box without an area")
    return Listing(top, present, notes)


def _find_list(root: Path) -> Path | None:
    top = find_top(root, *FILES)
    return next((top / name for name in FILES if (top / name).is_file()), None) if top else None


def _find_pictures(table: Path) -> Path:
    """The folder of the pictures of a list."""
    place = table.parent.parent if table.parent.name == "label" else table.parent
    return next((place / name for name in FOLDERS if (place / name).is_dir()), place / FOLDERS[0])


def _read_faces(table: Path) -> Iterator[SourceRow]:
    lines = read_text(table).splitlines()
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _read_face(line.split(), f"{table} line {number}")


def _read_face(values: list[str], where: str) -> SourceRow:
    try:
        *name, face, top, left, right, bottom, _confidence, code = values
        edges = [float(value) for value in (left, top, right, bottom)]
        name = name if all(map(math.isfinite, edges)) else []
        label = CODES[int(code)] if int(code) >= 0 else ""
    except (ValueError, IndexError):
        name, label = [], ""
    if not name or not label or not face.isdigit():
        raise SourceError(
            f"{where}: '{' '.join(values)[:60]}' is no face: must be image_name, face id, "
            "top, left, right, bottom, confidence, label 0 to 6"
        )
    image = " ".join(name)
    return SourceRow(f"{image}#{int(face)}", label, code, sequence=image, box=clip_box(*edges))
