"""Any table of pictures: a CSV with a column of paths and one of labels.

    faces.csv        path,label[,split][,subject][,sequence][,box]
    pictures/a.jpg   `path` is relative to the folder of the table, or absolute below it

`--column path=FILE --column label=EMOTION` names the columns; common names need no option. A face
is its box: `box` is "x y w h" in pixels, `corners` left, top, right, bottom; each is one column or
four (xmin, ymin, xmax, ymax and the like are known). Shares of the picture's size need a column
that is named so, or `--column relative_corners=xmin,ymin,xmax,ymax`. Several rows may share a
picture then, and are its faces #0, #1 and so on in the order of the table; a later build leaves a
face its number, by its box. Labels are read by their spelling; numbers need `--map 0=angry` and so
on. A row without a label is counted and skipped. Delimiters `;`, tab and `|`, UTF-16 and Latin-1
are recognised.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from curate.errors import SourceError, UsageError, amount, examples, shorten
from curate.labels import canonical_labels
from curate.sources.folder import SPLIT_NAMES
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.boxes import FORMS, BoxColumns, find_boxes, note_unused, read_box
from curate.sources.tables.pictures import keep_present
from curate.sources.tables.splits import word_split
from curate.sources.tables.text_tables import (
    SUFFIXES,
    UNIT_NAMES,
    is_no_label,
    name_columns,
    note_unlabelled,
    read_columns,
    read_header,
    read_rows,
    read_unit,
)
from curate.workspace.manifest import split_face

NAME = "table"
LOOKS_LIKE = "a CSV file with a column of picture paths and one of labels"
RECOGNISED_BY = (
    "columns path and label (or file, image, filename; emotion, expression, class), or --column"
)

KNOWN = {
    "path": (
        "path", "file", "filename", "filepath", "file_name", "file_path", "image", "image_path",
        "image_name", "img", "img_path", "pth", "subdirectory_filepath",
    ),
    "label": ("label", "emotion", "expression", "class", "labels", "class_name"),
    "split": ("split", "usage"),
    **UNIT_NAMES,
}  # fmt: skip
ROLES = (*KNOWN, *FORMS)
# How a table of `curate export` begins: there `path` is that of a manifest.
EXPORTED = ("path", "file", "label", "split")


@dataclass(frozen=True)
class _Columns:
    """Role -> column, for the roles that the table has; and the columns of the boxes."""

    of: Mapping[str, str]
    boxes: BoxColumns | None


def detect(root: Path) -> bool:
    """Whether it is a CSV file with columns of known names."""
    return root.is_file() and root.suffix.lower() in SUFFIXES and has_columns(root)


def has_columns(table: Path) -> bool:
    """Whether the header has known names for path and label."""
    names = set(read_header(table))
    return all(names & set(KNOWN[role]) for role in ("path", "label"))


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every labelled row whose picture is there.

    Raises
    ------
    SourceError  if a column is missing, a label, split or box is invalid, or all pictures are
        missing
    UsageError  if `columns` names an unknown role
    """
    if root.is_dir():
        tables = sorted(file for file in root.iterdir() if file.suffix.lower() in SUFFIXES)
        named = tables[0] if tables else root / "labels.csv"
        raise SourceError(
            f"{root}: --column reads a table, not a folder: name the file, as in "
            f"`curate build {named} --column …`"
        )
    found, notes = list_table(root, root.parent, options)
    return Listing(root.parent, found, notes)


def list_table(
    table: Path, top: Path, options: LayoutOptions, split: str = ""
) -> tuple[list[SourceRow], tuple[str, ...]]:
    """The labelled rows of a table whose picture is below `top`, and notes.

    Parameters
    ----------
    top : the folder of the images; paths of the table are relative to the table's own folder
    split : of rows without a word of their own
    """
    header = read_columns(table)
    columns = _name_columns(table, header, options.columns)
    path, label = columns.of["path"], columns.of["label"]
    used = (*columns.of.values(), *(columns.boxes.names if columns.boxes else ()))
    records = list(enumerate(read_rows(table, used, looks_like=LOOKS_LIKE), start=2))
    labelled = [(line, row) for line, row in records if not is_no_label(row[label])]
    labels = sorted({row[label] for _, row in labelled})
    label_of = canonical_labels(labels, where=str(table), extra=options.spellings)
    found = []
    for line, row in labelled:
        picture = _relative(row[path], table.parent, top)
        roles = {role: row.get(name, "") for role, name in columns.of.items()}
        where = f"{table} line {line}"
        box = read_box(columns.boxes, row, top / picture, where)
        face = _make_row(picture, roles, label_of, where, box)
        found.append(face if face.source_split else replace(face, source_split=split))
    present, missing = keep_present(_number_faces(found, options.known_boxes), top, str(table))
    notes = (
        *note_unlabelled(len(records) - len(labelled), [table]),
        *missing,
        *_note_rivals(table, columns.of, header, options.columns),
        *(_note_boxless(table, present) if columns.boxes else note_unused(header, table)),
    )
    return present, notes


def _note_boxless(table: Path, rows: Sequence[SourceRow]) -> tuple[str, ...]:
    """A note about faces without a box in a table that has boxes."""
    boxless = sum(not row.box for row in rows)
    if not boxless:
        return ()
    return (
        f"{table.name}: {amount(boxless, 'face has', 'faces have')} no box: the whole picture is "
        "the face",
    )


def _note_rivals(
    table: Path, column_of: Mapping[str, str], header: Sequence[str], given: Mapping[str, str]
) -> tuple[str, ...]:
    """A note for each role that another column may hold too, where the user has named none."""
    notes = []
    for role, used in column_of.items():
        rivals = [name for name in KNOWN[role] if name in header and name != used]
        if rivals and role not in given:
            notes.append(
                f"{table.name}: the {role}s are those of column {used}, not of "
                f"{', '.join(rivals)}: `--column {role}=NAME` names another"
            )
    return tuple(notes)


def _number_faces(rows: Sequence[SourceRow], known: Mapping[str, str]) -> list[SourceRow]:
    """The rows, with `#k` for the k-th face of a picture that several rows share.

    A face that was numbered in the last build keeps its number while its box is unchanged, in
    whatever order the rows come now; another face gets a number that the picture had not.

    Parameters
    ----------
    known : as `LayoutOptions.known_boxes`
    """
    times = Counter(row.path for row in rows)
    numbers: dict[tuple[str, str], list[int]] = {}  # picture and box -> numbers of the last build
    following: Counter[str] = Counter()  # picture -> the first number that it has not had
    for path, box in known.items():
        picture, digits = split_face(path)
        if digits:
            numbers.setdefault((picture, box), []).append(int(digits))
            following[picture] = max(following[picture], int(digits) + 1)
    faces = []
    for row in rows:
        if row.box and (times[row.path] > 1 or row.path in following):
            kept = sorted(numbers.pop((row.path, row.box), []))
            number, *others = kept or [following[row.path]]
            numbers[row.path, row.box] = others
            following[row.path] += not kept
            row = replace(row, path=f"{row.path}#{number}")
        faces.append(row)
    return faces


def _name_columns(table: Path, header: Sequence[str], given: Mapping[str, str]) -> _Columns:
    """The columns of each role, by `--column` or by their usual names."""
    cleaned = _clean_columns(given, table, header)
    one_of = {role: names[0] for role, names in cleaned.items() if role in KNOWN}
    column_of = _find_usual(header) | one_of
    missing = [role for role in ("path", "label") if not column_of[role]]
    if missing:
        raise SourceError(
            f"{table}: no column for {examples(missing)} (it has {name_columns(header)}): "
            f"name it with `--column {missing[0]}=NAME`"
        )
    forms = {role: names for role, names in cleaned.items() if role not in KNOWN}
    named = {role: name for role, name in column_of.items() if name}
    return _Columns(named, find_boxes(header, forms))


def _find_usual(header: Sequence[str]) -> dict[str, str]:
    """The column of each role by its usual names; empty for none."""
    found = {role: _first_of(names, header) for role, names in KNOWN.items()}
    is_export = tuple(header[: len(EXPORTED)]) == EXPORTED
    return found | {"path": "file"} if is_export else found


def _clean_columns(
    given: Mapping[str, str], table: Path, header: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Role -> columns as the header spells them, of the `--column` options."""
    foreign = [role for role in given if role not in ROLES]
    if foreign:
        raise UsageError(f"build: --column {foreign[0]}=…: must be one of {', '.join(ROLES)}")
    cleaned = {role: _split_names(role, name) for role, name in given.items()}
    odd = [role for role, names in cleaned.items() if len(names) not in (1, 4)]
    if odd:
        raise UsageError(f"build: --column {odd[0]}={given[odd[0]]}: must be one column or four")
    absent = [name for names in cleaned.values() for name in names if name not in header]
    if absent:
        raise SourceError(
            f"{table}: has no column {examples(absent)} (it has {name_columns(header)}): "
            "name one that it has with `--column ROLE=NAME`"
        )
    return cleaned


def _split_names(role: str, name: str) -> tuple[str, ...]:
    """The names that an option lists: boxes may have four columns, with commas."""
    names = name.split(",") if role in FORMS else [name]
    return tuple(each.strip().lower() for each in names)


def _first_of(names: Sequence[str], header: Sequence[str]) -> str:
    return next((name for name in names if name in header), "")


def _relative(path: str, folder: Path, top: Path) -> str:
    """Posix path below `top` of a path in the table that lies in `folder`."""
    plain = Path(path.replace("\\", "/"))
    if plain.is_absolute() and plain.is_relative_to(folder.resolve()):
        plain = plain.relative_to(folder.resolve())
    if plain.is_absolute() or ".." in plain.parts:
        raise SourceError(
            f"{shorten(path)}: lies outside of {folder}: put the table above its pictures"
        )
    return (folder.relative_to(top) / plain).as_posix()


def _make_row(
    path: str, face: Mapping[str, str], label_of: Mapping[str, str], where: str, box: str
) -> SourceRow:
    word = face.get("split", "")
    if word and not word_split(word):
        raise SourceError(
            f"{where}: '{shorten(word)}' is no split: must be one of {', '.join(SPLIT_NAMES)}, or "
            "Training, PublicTest, PrivateTest: name another column with `--column split=NAME`"
        )
    return SourceRow(
        path=path,
        given_label=label_of[face["label"]],
        source_label=face["label"],
        source_split=word_split(word),
        subject=read_unit("subject", face.get("subject", ""), where),
        sequence=read_unit("sequence", face.get("sequence", ""), where),
        box=box,
    )
