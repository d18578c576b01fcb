"""AffectNet as a 96 x 96 copy on Kaggle ships it: class folders, and a list that disagrees with them.

    root/labels.csv                     <unnamed>,pth,label,relFCs
    root/anger/image0000006.jpg         in `pth` as anger/image0000006.jpg

The labels are a model's guesses, not the annotators'. Where list and folder disagree the list wins, and source_label keeps
both, as in `surprise (folder anger)`. relFCs (the model's certainty) stays in labels.csv. A label that is a number is taken
as AffectNet's code.
"""

from pathlib import Path

from curate.errors import SourceError
from curate.labels import canonical_label, canonical_labels
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.affectnet_labels import label_codes
from curate.sources.tables.pictures import (
    find_top,
    is_picture,
    keep_present,
    note_passed,
    subfolders,
    walk_files,
)
from curate.sources.tables.text_tables import read_header, read_rows

NAME = "affectnet_kaggle"
LOOKS_LIKE = "labels.csv with the columns pth, label, relFCs beside class folders"
TOLD_BY = "the columns pth and label of labels.csv"

LIST = "labels.csv"
COLUMNS = ("pth", "label")


def detect(root: Path) -> bool:
    """Whether such a list lies there."""
    top = find_top(root, LIST) if root.is_dir() else None
    return top is not None and set(COLUMNS) <= set(read_header(top / LIST))


def rows(root: Path, asked: LayoutOptions) -> Listing:
    """Every listed picture under the list's label.

    Raises
    ------
    SourceError  if a label is unknown or a code in doubt, or no listed picture is there
    """
    top = find_top(root, LIST)
    assert top is not None
    table = top / LIST
    listed = [
        (row["pth"], row["label"]) for row in read_rows(table, COLUMNS, looks_like=LOOKS_LIKE)
    ]
    if not listed:
        raise SourceError(f"{table}: the table has no row")
    codes = [label for _, label in listed]
    numbered = (
        label_codes(codes, asked.codes, str(table)) if all(code.isdigit() for code in codes) else {}
    )
    label_of = canonical_labels(
        sorted(set(codes)), where=str(table), extra={**numbered, **asked.spellings}
    )
    found = [_judge(path, label, label_of[label]) for path, label in listed]
    present, notes = keep_present(found, top, str(table))
    apart = [row.path for row in present if "(folder" in row.source_label]
    known = {path for path, _ in listed}
    unlisted = [
        p
        for each in subfolders(top)
        for p in walk_files(each, top)
        if is_picture(p) and p not in known
    ]
    disagree = (
        f"{len(apart):,} of {len(present):,} faces lie in another class's folder: labels.csv wins"
    )
    return Listing(
        top,
        present,
        (
            *notes,
            *note_passed(unlisted, "pictures are not in labels.csv"),
            *([disagree] if apart else []),
        ),
    )


def _judge(path: str, label: str, given: str) -> SourceRow:
    folder = path.rpartition("/")[0].rpartition("/")[2]
    agrees = canonical_label(folder) in (given, None)
    return SourceRow(path, given, label if agrees else f"{label} (folder {folder})")
