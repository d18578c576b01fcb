"""AffectNet in numbered class folders, as in copies on Kaggle.

    root/train/{0..7}/*.jpg        (or without a split above the numbers)
    root/val/{0..7}/*.jpg

The class of a number differs between copies: the official order begins neutral, happy, sad, the
alphabetical one anger, contempt, disgust. The counts of the training part decide where they have
the published shares. A sample with even counts is ambiguous and refused until `--codes official` or
`--codes alphabetical` names the order (or `--map 0=neutral` and so on names every class).
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from curate.sources import folder
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.affectnet_labels import label_codes
from curate.sources.tables.pictures import is_picture, unwrap, walk_files

NAME = "affectnet_numbered"
LOOKS_LIKE = "class folders 0 to 7, with or without train/, val/, test/ above them"
RECOGNISED_BY = (
    "folder names that are numbers from 0; "
    "their meaning by the published training counts or --codes"
)

_NUMBER = re.compile(r"[0-7]")


def detect(root: Path) -> bool:
    """Whether all class folders are numbers, 0 among them."""
    if not root.is_dir():
        return False
    names = {each.name for _, each in folder.class_folders(_find_top(root))}
    return "0" in names and all(_NUMBER.fullmatch(name) for name in names)


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every picture under the class of its number.

    Raises
    ------
    SourceError  if the numbers are ambiguous
    """
    top = _find_top(root)
    found = list(_list_pictures(top))
    every = [row.source_label for row in found]
    training = [row.source_label for row in found if row.source_split == "train"]
    if set(every) <= set(options.spellings):
        label_of = dict(options.spellings)
    else:
        label_of = label_codes(training or every, options.codes, str(root))
    return Listing(top, [replace(row, given_label=label_of[row.source_label]) for row in found])


def _find_top(root: Path) -> Path:
    """The folder of the splits or numbers; a single split or number is no archive's own folder."""
    top = unwrap(root)
    while top != root and (folder.split_of(top) or _NUMBER.fullmatch(top.name)):
        top = top.parent
    return top


def _list_pictures(top: Path) -> Iterator[SourceRow]:
    for split, each in folder.class_folders(top):
        for path in walk_files(each, top):
            if is_picture(path):
                yield SourceRow(path, "", each.name, split)
