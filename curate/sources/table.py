"""Any table of pictures: a CSV with a column of paths and one of labels.

    faces.csv        path,label[,split][,subject][,sequence][,box]
    pictures/a.jpg   `path` is relative to the folder of the table, or absolute below it

`--column path=FILE --column label=EMOTION` names the columns; without it common names are known. `box` is "x y w h" in
pixels; several rows may share a picture then, and are its faces #0, #1 and so on in the order of the table. Labels are read
by their spelling; numbers need `--map 0=angry` and so on.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from curate.errors import SourceError, UsageError, examples
from curate.labels import canonical_labels
from curate.sources.folder import SPLIT_NAMES
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.pictures import clip_box, keep_present
from curate.sources.tables.text_tables import read_header, read_rows

NAME = "table"
LOOKS_LIKE = "a CSV file with a column of picture paths and one of labels"
TOLD_BY = (
    "columns path and label (or file, image, filename; emotion, expression, class), or --column"
)

KNOWN = {
    "path": (
        "path",
        "file",
        "filename",
        "filepath",
        "file_name",
        "image",
        "image_path",
        "img",
        "pth",
    ),
    "label": ("label", "emotion", "expression", "class"),
    "split": ("split", "usage"),
    "subject": ("subject", "person", "subject_id"),
    "sequence": ("sequence", "video", "clip"),
    "box": ("box",),
}


def detect(root: Path) -> bool:
    """Whether it is a CSV file with columns of known names."""
    if not root.is_file() or root.suffix.lower() != ".csv":
        return False
    names = read_header(root)
    return all(any(name in names for name in KNOWN[role]) for role in ("path", "label"))


def rows(root: Path, asked: LayoutOptions) -> Listing:
    """Every row whose picture is there.

    Raises
    ------
    SourceError  if the table lacks a column, a label, split or box is no such thing, or no picture is there
    UsageError  if `columns` names an unknown role
    """
    column_of = _name_columns(root, asked.columns)
    table = list(read_rows(root, [column_of["path"], column_of["label"]], looks_like=LOOKS_LIKE))
    faces = [{role: row.get(name, "") for role, name in column_of.items()} for row in table]
    label_of = canonical_labels(
        sorted({face["label"] for face in faces}), where=str(root), extra=asked.spellings
    )
    times = Counter(face["path"] for face in faces)
    met: Counter[str] = Counter()
    found = []
    for number, face in enumerate(faces, start=2):
        path = _relative(face["path"], root.parent)
        if times[face["path"]] > 1 and face.get("box"):
            met[path] += 1
            path = f"{path}#{met[path] - 1}"
        found.append(_read_row(path, face, label_of, f"{root} line {number}"))
    present, notes = keep_present(found, root.parent, str(root))
    return Listing(root.parent, present, notes)


def _name_columns(table: Path, asked: Mapping[str, str]) -> dict[str, str]:
    """Role -> column, for the roles that the table has."""
    foreign = [role for role in asked if role not in KNOWN]
    if foreign:
        raise UsageError(f"build: --column {foreign[0]}=…: must be one of {', '.join(KNOWN)}")
    header = read_header(table)
    absent = [name for name in asked.values() if name.strip().lower() not in header]
    if absent:
        raise SourceError(
            f"{table}: has no column {examples(absent)} (it has {examples(header, 8)}): name one that it has"
        )
    known = {
        role: next((name for name in names if name in header), "") for role, names in KNOWN.items()
    }
    named = {**known, **{role: name.strip().lower() for role, name in asked.items()}}
    missing = [role for role in ("path", "label") if not named[role]]
    if missing:
        raise SourceError(
            f"{table}: no column for {examples(missing)} (it has {examples(header, 8)}): say `--column {missing[0]}=NAME`"
        )
    return {role: name for role, name in named.items() if name}


def _relative(path: str, top: Path) -> str:
    """Posix path below the folder of the table."""
    plain = Path(path.replace("\\", "/"))
    if plain.is_absolute() and plain.is_relative_to(top.resolve()):
        plain = plain.relative_to(top.resolve())
    if plain.is_absolute() or ".." in plain.parts:
        raise SourceError(f"{path}: lies outside of {top}: put the table above its pictures")
    return plain.as_posix()


def _read_row(
    path: str, face: Mapping[str, str], label_of: Mapping[str, str], where: str
) -> SourceRow:
    split = face.get("split", "").lower()
    if split and split not in SPLIT_NAMES:
        raise SourceError(
            f"{where}: '{split}' is no split: must be one of {', '.join(SPLIT_NAMES)}"
        )
    box = face.get("box", "")
    try:
        x, y, width, height = (
            (float(value) for value in box.split()) if box else (0.0, 0.0, 1.0, 1.0)
        )
    except ValueError as error:
        raise SourceError(f"{where}: '{box}' is no box: must be 'x y w h' in pixels") from error
    clipped = clip_box(x, y, x + width, y + height) if box else ""
    if box and not clipped:
        raise SourceError(f"{where}: the box '{box}' has no area: mend or leave it out")
    return SourceRow(
        path, label_of[face["label"]], face["label"], SPLIT_NAMES.get(split, ""), face.get("subject", ""),
        face.get("sequence", ""), clipped,
    )  # fmt: skip
