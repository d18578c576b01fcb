"""Any table of pictures: a CSV with a column of paths and one of labels.

    faces.csv        path,label[,split][,subject][,sequence][,box]
    pictures/a.jpg   `path` is relative to the folder of the table, or absolute below it

`--column path=FILE --column label=EMOTION` names the columns; common names need no option. `box` is
"x y w h" in pixels; several rows may share a picture then, and are its faces #0, #1 and so on in
the order of the table. Labels are read by their spelling; numbers need `--map 0=angry` and so on.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from curate.errors import SourceError, UsageError, examples
from curate.labels import canonical_labels
from curate.sources.folder import SPLIT_NAMES
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.pictures import clip_box, keep_present
from curate.sources.tables.text_tables import read_header, read_rows

NAME = "table"
LOOKS_LIKE = "a CSV file with a column of picture paths and one of labels"
RECOGNISED_BY = (
    "columns path and label (or file, image, filename; emotion, expression, class), or --column"
)

KNOWN = {
    "path": (
        "path", "file", "filename", "filepath", "file_name", "image", "image_path", "img", "pth",
    ),
    "label": ("label", "emotion", "expression", "class"),
    "split": ("split", "usage"),
    "subject": ("subject", "person", "subject_id"),
    "sequence": ("sequence", "video", "clip"),
    "box": ("box",),
}  # fmt: skip


def detect(root: Path) -> bool:
    """Whether it is a CSV file with columns of known names."""
    if not root.is_file() or root.suffix.lower() != ".csv":
        return False
    names = set(read_header(root))
    return all(names & set(KNOWN[role]) for role in ("path", "label"))


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every row whose picture is there.

    Raises
    ------
    SourceError  if a column is missing, a label, split or box is invalid, or all pictures are
        missing
    UsageError  if `columns` names an unknown role
    """
    column_of = _name_columns(root, options.columns)
    table = read_rows(root, [column_of["path"], column_of["label"]], looks_like=LOOKS_LIKE)
    faces = [{role: row.get(name, "") for role, name in column_of.items()} for row in table]
    labels = sorted({face["label"] for face in faces})
    label_of = canonical_labels(labels, where=str(root), extra=options.spellings)
    times = Counter(face["path"] for face in faces)
    numbered: Counter[str] = Counter()
    found = []
    for number, face in enumerate(faces, start=2):
        path = _relative(face["path"], root.parent)
        if times[face["path"]] > 1 and face.get("box"):
            numbered[path] += 1
            path = f"{path}#{numbered[path] - 1}"
        found.append(_make_row(path, face, label_of, f"{root} line {number}"))
    present, notes = keep_present(found, root.parent, str(root))
    return Listing(root.parent, present, notes)


def _name_columns(table: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Role -> column, for the roles that the table has."""
    header = read_header(table)
    cleaned = _clean_columns(given, table, header)
    column_of = {role: _first_of(names, header) for role, names in KNOWN.items()} | cleaned
    missing = [role for role in ("path", "label") if not column_of[role]]
    if missing:
        raise SourceError(
            f"{table}: no column for {examples(missing)} (it has {examples(header, 8)}): "
            f"name it with `--column {missing[0]}=NAME`"
        )
    return {role: name for role, name in column_of.items() if name}


def _clean_columns(given: Mapping[str, str], table: Path, header: Sequence[str]) -> dict[str, str]:
    """Role -> column as the header spells it, of the `--column` options."""
    foreign = [role for role in given if role not in KNOWN]
    if foreign:
        raise UsageError(f"build: --column {foreign[0]}=…: must be one of {', '.join(KNOWN)}")
    cleaned = {role: name.strip().lower() for role, name in given.items()}
    absent = [given[role] for role, name in cleaned.items() if name not in header]
    if absent:
        raise SourceError(
            f"{table}: has no column {examples(absent)} (it has {examples(header, 8)}): "
            "name one that it has"
        )
    return cleaned


def _first_of(names: Sequence[str], header: Sequence[str]) -> str:
    return next((name for name in names if name in header), "")


def _relative(path: str, top: Path) -> str:
    """Posix path below the folder of the table."""
    plain = Path(path.replace("\\", "/"))
    if plain.is_absolute() and plain.is_relative_to(top.resolve()):
        plain = plain.relative_to(top.resolve())
    if plain.is_absolute() or ".." in plain.parts:
        raise SourceError(f"{path}: lies outside of {top}: put the table above its pictures")
    return plain.as_posix()


def _make_row(
    path: str, face: Mapping[str, str], label_of: Mapping[str, str], where: str
) -> SourceRow:
    split = face.get("split", "").lower()
    if split and split not in SPLIT_NAMES:
        raise SourceError(
            f"{where}: '{split}' is no split: must be one of {', '.join(SPLIT_NAMES)}"
        )
    return SourceRow(
        path=path,
        given_label=label_of[face["label"]],
        source_label=face["label"],
        source_split=SPLIT_NAMES.get(split, ""),
        subject=face.get("subject", ""),
        sequence=face.get("sequence", ""),
        box=_read_box(face.get("box", ""), where),
    )


def _read_box(box: str, where: str) -> str:
    """The clipped box; empty for an empty cell, the whole picture."""
    if not box:
        return ""
    try:
        x, y, width, height = (float(value) for value in box.split())
    except ValueError as error:
        raise SourceError(f"{where}: '{box}' is no box: must be 'x y w h' in pixels") from error
    clipped = clip_box(x, y, x + width, y + height)
    if not clipped:
        raise SourceError(f"{where}: the box '{box}' has no area: correct it or leave it out")
    return clipped
