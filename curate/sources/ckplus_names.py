"""CK+ pictures whose label is in the file name.

    root/S010_004_00000017_anger.png      (or anger_S010_004_00000017.png, in any folders)

Subject (S010) and sequence (004) are in the name too. Pictures without a label in their name are
counted and skipped.
"""

import re
from pathlib import Path

from curate.labels import canonical_labels
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.pictures import is_picture, note_skipped, unwrap, walk_files

NAME = "ckplus_names"
LOOKS_LIKE = "S010_004_00000017_anger.png and the like"
RECOGNISED_BY = "the file names: person, sequence, frame and a class"

_FRAME = r"(?P<subject>S[0-9]{3})_(?P<sequence>[0-9]{3})_[0-9]{8}"
_NAMES = (
    re.compile(rf"{_FRAME}[_.-](?P<label>[A-Za-z]+)\.\w+"),
    re.compile(rf"(?P<label>[A-Za-z]+)[_.-]{_FRAME}\.\w+"),
)


def detect(root: Path) -> bool:
    """Whether such pictures lie in the folder or in one level of folders."""
    if not root.is_dir():
        return False
    top = unwrap(root)
    return any(
        _match(file.name)
        for pattern in ("*S[0-9]*_*_*.*", "*/*S[0-9]*_*_*.*")
        for file in top.glob(pattern)
    )


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every picture with a label, person and sequence in its name."""
    top = unwrap(root)
    pictures = [path for path in walk_files(top, top) if is_picture(path, top)]
    matches = {path: _match(path.rpartition("/")[2]) for path in pictures}
    names = sorted({match["label"] for match in matches.values() if match})
    label_of = canonical_labels(names, where=str(root), extra=options.spellings)
    found = [
        SourceRow(
            path,
            label_of[match["label"]],
            match["label"],
            subject=match["subject"],
            sequence=match["sequence"],
        )
        for path, match in matches.items()
        if match
    ]
    nameless = [path for path, match in matches.items() if not match]
    return Listing(top, found, note_skipped(nameless, "picture", "without a label in the name"))


def _match(name: str) -> re.Match[str] | None:
    return next((match for pattern in _NAMES if (match := pattern.fullmatch(name))), None)
