"""RAF-DB in class folders, as on Kaggle and in some papers' code.

    root/DATASET/{train,test}/{1..7}/train_00001_aligned.jpg
    root/{train,test}_labels.csv     image,label
    root/{train,valid}/…             (valid is RAF-DB's test part, by its file names)

Codes as in the official list: 1 surprise, 2 fear, 3 disgust, 4 happy, 5 sad, 6 angry, 7 neutral;
folders with class names are read by name. Where a list contradicts the folder the copy is damaged
and refused. Beware of a copy on Kaggle that is called "ferplus" and holds these 12,271 pictures:
the file names identify it.
"""

import re
from pathlib import Path

from curate.errors import SourceError, examples
from curate.labels import canonical_labels
from curate.sources import folder
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.rafdb import CODES, note_counts
from curate.sources.tables.pictures import find_top, is_picture, note_skipped, walk_files
from curate.sources.tables.text_tables import read_header, read_rows

NAME = "rafdb_folders"
LOOKS_LIKE = "{train,test}/{1..7}/ with train_00001_aligned.jpg and the like"
RECOGNISED_BY = "the file names train_<five digits>, test_<five digits> in class folders"

_NAME = re.compile(r"(train|test)_[0-9]{5}(_aligned)?\.\w+")
LISTS = ("train_labels.csv", "test_labels.csv")


def detect(root: Path) -> bool:
    """Whether class folders below a split hold pictures with RAF-DB's names."""
    return root.is_dir() and any(
        split and _NAME.fullmatch(file.name)
        for split, each in folder.class_folders(_find_top(root))
        for file in each.glob("t*_[0-9]*")
    )


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every picture under the class of its folder.

    Raises
    ------
    SourceError  if a folder is no class, or a list contradicts the folders
    """
    top = _find_top(root)
    folders = [each for split, each in folder.class_folders(top) if split]
    names = sorted({each.name for each in folders})
    label_of = canonical_labels(names, where=str(root), extra={**CODES, **options.spellings})
    found: list[SourceRow] = []
    nameless: list[str] = []
    for each in folders:
        for path in filter(is_picture, walk_files(each, top)):
            match = _NAME.fullmatch(path.rpartition("/")[2])
            if match:
                found.append(SourceRow(path, label_of[each.name], each.name, match[1]))
            else:
                nameless.append(path)
    _refuse_contradictions(top, found)
    notes = note_skipped(nameless, "pictures have no name of RAF-DB's form")
    return Listing(top, found, notes + note_counts(found))


def _find_top(root: Path) -> Path:
    """The folder of the splits: the root, what it unwraps to, or its DATASET."""
    top = find_top(root, "DATASET", *folder.SPLIT_NAMES)
    if top is None:
        return root
    return top / "DATASET" if (top / "DATASET").is_dir() else top


def _refuse_contradictions(top: Path, found: list[SourceRow]) -> None:
    row_of = {row.path.rpartition("/")[2]: row for row in found}
    for file in (place / name for place in (top, top.parent) for name in LISTS):
        if not {"image", "label"} <= set(read_header(file)):
            continue
        records = read_rows(file, ("image", "label"), looks_like=LOOKS_LIKE)
        listed = {record["image"]: record["label"] for record in records}
        wrong = [
            row.path
            for name, row in row_of.items()
            if listed.get(name, row.source_label) != row.source_label
        ]
        if wrong:
            raise SourceError(
                f"{file}: contradicts the class folder of {len(wrong)} pictures "
                f"({examples(wrong)}): restore the copy"
            )
