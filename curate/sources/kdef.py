"""KDEF: 70 people, seven expressions, five angles, each photographed twice.

    root/KDEF/AF01/AF01ANS.JPG
        session A or B, sex F or M, number 01, expression AN, angle S; 4,900 pictures

Expressions: AF (afraid) AN DI HA NE SA SU. Angles: S straight, HL HR half, FL FR full profile. A
person is sex and number: AF01 and BF01 are the same woman, F01, in two recording sessions, and AF01
and AM01 are two people.
"""

import re
from pathlib import Path

from curate.labels import canonical_labels
from curate.sources import folder
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.pictures import is_picture, note_skipped, walk_files

NAME = "kdef"
LOOKS_LIKE = "folders AF01, BM35, … of AF01ANS.JPG and the like"
RECOGNISED_BY = "the file names: session, sex, number, expression code, angle"

_NAME = re.compile(r"[AB]([FM][0-9]{2})(AF|AN|DI|HA|NE|SA|SU)(S|HL|HR|FL|FR)\.JPE?G", re.IGNORECASE)


def detect(root: Path) -> bool:
    """Whether such pictures lie in the folder or one below."""
    if not root.is_dir():
        return False
    top = folder.unwrap_names(root)
    return any(
        _NAME.fullmatch(file.name)
        for pattern in ("[AB][FM]*.*", "[AB][FM]*/[AB][FM]*.*")
        for file in top.glob(pattern)
    )


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every picture named by person and expression; other pictures are counted and skipped."""
    top = folder.unwrap_names(root)
    pictures = [path for path in walk_files(top, top) if is_picture(path, top)]
    matches = {path: _NAME.fullmatch(path.rpartition("/")[2].upper()) for path in pictures}
    codes = sorted({match[2] for match in matches.values() if match})
    label_of = canonical_labels(codes, where=str(root), extra=options.spellings)
    found = [
        SourceRow(path, label_of[match[2]], match[2], subject=match[1])
        for path, match in matches.items()
        if match
    ]
    nameless = [path for path, match in matches.items() if not match]
    notes = note_skipped(nameless, "picture", "without a name of KDEF's form")
    return Listing(top, found, notes, frozenset(nameless))
