"""JAFFE: ten women, seven expressions, in one flat folder.

    root/KA.AN1.39.tiff   subject KA, expression AN, its first pose, running number 39; 213 pictures

Expressions: AN DI FE HA NE SA SU. Re-encoded copies such as `KA.AN1.39.tiff.bmp` occur.
"""

import re
from pathlib import Path

from curate.labels import canonical_labels
from curate.sources import folder
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.pictures import is_picture, note_skipped, walk_files

NAME = "jaffe"
LOOKS_LIKE = "KA.AN1.39.tiff and the like in one folder"
RECOGNISED_BY = "the file names: two letters, an expression code with a number, a number"

_NAME = re.compile(r"([A-Z]{2})\.(AN|DI|FE|HA|NE|SA|SU)([0-9])\.([0-9]+)\.\w+(\.\w+)?")


def detect(root: Path) -> bool:
    """Whether such pictures lie in the folder."""
    return root.is_dir() and any(
        _NAME.fullmatch(file.name) for file in folder.unwrap_names(root).glob("*.*.*.*")
    )


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every picture named by person and expression; other pictures are counted and skipped."""
    top = folder.unwrap_names(root)
    pictures = [path for path in walk_files(top, top) if is_picture(path, top)]
    matches = {path: _NAME.fullmatch(path.rpartition("/")[2]) for path in pictures}
    codes = sorted({match[2] for match in matches.values() if match})
    label_of = canonical_labels(codes, where=str(root), extra=options.spellings)
    found = [
        SourceRow(path, label_of[match[2]], match[2], subject=match[1])
        for path, match in matches.items()
        if match
    ]
    nameless = [path for path, match in matches.items() if not match]
    notes = note_skipped(nameless, "picture", "without a name of JAFFE's form")
    return Listing(top, found, notes, frozenset(nameless))
