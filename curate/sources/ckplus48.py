"""CK+48: the three last frames of each labelled CK+ sequence, cut to 48 x 48 (Kaggle).

    CK+48/{anger,contempt,disgust,fear,happy,sadness,surprise}/S010_004_00000017.png

981 = 327 x 3 pictures, none of them neutral. Subject (S010) and sequence (004) are in the name. The
frames of a sequence are nearly the same picture, so a split drawn by pictures has every test face
in train; Candid's splits keep people whole.
"""

import re
from dataclasses import replace
from pathlib import Path

from curate.errors import SourceError, amount, examples
from curate.sources import folder
from curate.sources.layout import LayoutOptions, Listing
from curate.sources.tables.person_names import find_person

NAME = "ckplus48"
LOOKS_LIKE = "class folders of S<subject>_<sequence>_<frame>.png"
RECOGNISED_BY = "the file names S010_004_00000017"

_NAME = re.compile(r"(S[0-9]{3})_([0-9]{3})_[0-9]{8}\.[a-z]+")


def detect(root: Path) -> bool:
    """Whether class folders hold pictures with CK+'s names."""
    return folder.detect(root) and any(
        _NAME.fullmatch(file.name)
        for _, each in folder.class_folders(folder.image_root(root))
        for file in each.glob("S*_*_*")
    )


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every picture with its person and sequence.

    Raises
    ------
    SourceError  if a file name has no person; and what the folder layout raises
    """
    listing = folder.rows(root, options)
    person_of = {row.path: find_person(row.path.rpartition("/")[2]) for row in listing.rows}
    nameless = [path for path, person in person_of.items() if person is None]
    if nameless:
        raise SourceError(
            f"{root}: {amount(len(nameless), 'file name names', 'file names name')} no person "
            f"({examples(nameless)}): must be like S010_004_00000017.png, or the person could be "
            "on both sides of a split; remove or rename them"
        )
    named = [
        replace(row, subject=person.subject, sequence=person.sequence)
        for row in listing.rows
        if (person := person_of[row.path])
    ]
    return replace(listing, rows=named)
