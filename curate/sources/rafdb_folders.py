"""RAF-DB in class folders, as on Kaggle and in some papers' code.

    root/DATASET/{train,test}/{1..7}/train_00001_aligned.jpg, test_0001_aligned.jpg
    root/{train,test}_labels.csv     image,label
    root/{train,valid}/…             (valid is RAF-DB's test part, by its file names)

Codes as in the official list: 1 surprise, 2 fear, 3 disgust, 4 happy, 5 sad, 6 angry, 7 neutral;
folders with class names are read by name. Where a list contradicts the folder the copy is damaged
and refused. Beware of a copy on Kaggle that is called "ferplus" and holds these 12,271 pictures:
the file names identify it.
"""

import re
from dataclasses import replace
from pathlib import Path

from curate.errors import SourceError, examples
from curate.labels import canonical_labels
from curate.sources import folder
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.rafdb import CODES, note_counts
from curate.sources.tables.affectnet_labels import map_codes
from curate.sources.tables.pictures import list_names, note_skipped
from curate.sources.tables.text_tables import read_header, read_rows

NAME = "rafdb_folders"
LOOKS_LIKE = "{train,test}/{1..7}/ with train_00001_aligned.jpg and the like"
RECOGNISED_BY = "the file names train_<number>, test_<number> in class folders"

# The train numbers have five digits and the test numbers four, as in the official list. Numbers of
# other lengths are other datasets'.
_NAME = re.compile(r"(train(?=_[0-9]{5}\D)|test(?=_[0-9]{4,5}\D))_[0-9]+(_aligned)?\.\w+")
LISTS = ("train_labels.csv", "test_labels.csv")


def detect(root: Path) -> bool:
    """Whether class folders hold pictures with RAF-DB's names."""
    return root.is_dir() and any(
        _NAME.fullmatch(name)
        for _, each in folder.class_folders(_find_top(root))
        for name in list_names(each)
    )


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every picture under the class of its folder.

    Raises
    ------
    SourceError  if a folder is no class, a list contradicts the folders, or the user names the
        class of some numbers only; and what the folder layout raises
    """
    top = _find_top(root)
    listing = folder.list_pictures(root, top, options)
    names = sorted({row.source_label for row in listing.rows})
    numbers = map_codes([name for name in names if name in CODES], options.spellings, str(root))
    spellings = {**(numbers or CODES), **options.spellings}
    label_of = canonical_labels(names, where=str(root), extra=spellings)
    found: list[SourceRow] = []
    nameless: list[str] = []
    for row in listing.rows:
        match = _NAME.fullmatch(row.path.rpartition("/")[2])
        if match:
            label = label_of[row.source_label]
            found.append(replace(row, given_label=label, source_split=match[1]))
        else:
            nameless.append(row.path)
    _refuse_contradictions(top, found)
    notes = (
        *listing.notes,
        *note_skipped(nameless, "picture", "without a name of RAF-DB's form"),
        *note_counts(found),
    )
    return replace(listing, rows=found, notes=notes, noted=listing.noted.union(nameless))


def _find_top(root: Path) -> Path:
    """The folder of the splits: what the root unwraps to, or its DATASET."""
    top = folder.image_root(root)
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
