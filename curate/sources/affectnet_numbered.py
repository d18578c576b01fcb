"""AffectNet and FER2013 in numbered class folders, as in copies on Kaggle.

    root/train/{0..7}/*.jpg        (or without a split above the numbers)
    root/val/{0..7}/*.jpg
    root/{Training,PublicTest,PrivateTest}/{0..6}/*.jpg

The class of a number differs between copies: AffectNet's official order begins neutral, happy, sad,
the alphabetical one anger, contempt, disgust, FER2013's own angry, disgust, fear. The counts of the
training part decide where they have the published shares. Other counts are ambiguous and refused
until `--codes official`, `--codes alphabetical` or `--codes fer2013` names the order (or `--map
0=neutral` and so on names every class). An order that the counts contradict is refused, and so is
a map of some of the numbers. Faces of AffectNet's codes 8 to 10 (none, uncertain, no face) are
counted and skipped. File names as Training_1.jpg decide the split, as in layout fer2013.
"""

import re
from dataclasses import replace
from pathlib import Path

from curate.errors import SourceError
from curate.labels import canonical_label, canonical_labels
from curate.sources import fer2013, folder
from curate.sources.layout import LayoutOptions, Listing
from curate.sources.tables.affectnet_labels import (
    NO_CLASS,
    OFFICIAL,
    label_codes,
    map_codes,
)
from curate.sources.tables.pictures import note_skipped

NAME = "affectnet_numbered"
LOOKS_LIKE = "class folders 0 to 7, with or without train/, val/, test/ above them"
RECOGNISED_BY = (
    "folder names that are numbers from 0; "
    "their meaning by the published training counts or --codes"
)

_NUMBER = re.compile(r"[0-9]|10")


def detect(root: Path) -> bool:
    """Whether a class folder is named 0, and none is a class by its name."""
    if not root.is_dir():
        return False
    names = {each.name for _, each in folder.class_folders(folder.image_root(root))}
    return "0" in names and not any(map(canonical_label, names))


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every picture under the class of its number.

    Raises
    ------
    SourceError  if the numbers are ambiguous, their counts contradict the order, or the user names
        the class of some of them only; and what the folder layout raises
    """
    top = folder.image_root(root)
    listing = fer2013.mark_usages(folder.list_pictures(root, top, options))
    names = {row.source_label for row in listing.rows}
    others = sorted(name for name in names if not _NUMBER.fullmatch(name))
    label_of = {
        **canonical_labels(others, where=str(root), extra=options.spellings),
        **_label_numbers(listing, options, root),
    }
    found = [
        replace(row, given_label=label_of[row.source_label])
        for row in listing.rows
        if row.source_label in label_of
    ]
    unlabelled = [row.path for row in listing.rows if row.source_label not in label_of]
    notes = note_skipped(unlabelled, "face", "with a code of 8 to 10, no class")
    noted = listing.noted.union(unlabelled)
    return replace(listing, rows=found, notes=(*listing.notes, *notes), noted=noted)


def _label_numbers(listing: Listing, options: LayoutOptions, root: Path) -> dict[str, str]:
    """The class of each number, by the user's own or by the counts of the training part."""
    rows = [row for row in listing.rows if _NUMBER.fullmatch(row.source_label)]
    every = [row.source_label for row in rows]
    label_of = map_codes(every, options.spellings, str(root))
    if label_of:
        return label_of
    training = [row.source_label for row in rows if row.source_split == "train"]
    label_of = label_codes(training or every, options.codes, str(root))
    foreign = sorted(set(every) - set(label_of))
    is_official = label_of["0"] == OFFICIAL[0]
    if foreign and not (is_official and set(foreign) <= set(NO_CLASS)):
        raise SourceError(
            f"{root}: folder '{foreign[0]}' is no code of this order: name the class of every "
            f"number with `--map 0=CLASS`, or leave it out with `--skip {foreign[0]}`"
        )
    return label_of
