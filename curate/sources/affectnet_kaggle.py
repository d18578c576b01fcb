"""AffectNet as a 96 x 96 copy on Kaggle: class folders, and a list that contradicts some of them.

    root/labels.csv                     <unnamed>,pth,label,relFCs
    root/anger/image0000006.jpg         in `pth` as anger/image0000006.jpg

The labels are a model's guesses, not the annotators'. Where list and folder disagree the list wins,
and source_label keeps both, as in `surprise (folder anger)`. relFCs (the model's certainty) stays
in labels.csv. A label that is a number is AffectNet's code.
"""

from collections.abc import Sequence
from pathlib import Path

from curate.errors import SourceError
from curate.labels import canonical_label, canonical_labels
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.affectnet_labels import label_codes, map_codes
from curate.sources.tables.pictures import (
    find_top,
    is_picture,
    keep_present,
    note_skipped,
    subfolders,
    walk_files,
)
from curate.sources.tables.text_tables import (
    is_no_label,
    note_unlabelled,
    read_header,
    read_rows,
)

NAME = "affectnet_kaggle"
LOOKS_LIKE = "labels.csv with the columns pth, label, relFCs beside class folders"
RECOGNISED_BY = "the columns pth and label of labels.csv"

LIST = "labels.csv"
COLUMNS = ("pth", "label")


def detect(root: Path) -> bool:
    """Whether such a list lies there."""
    top = find_top(root, LIST) if root.is_dir() else None
    return top is not None and set(COLUMNS) <= set(read_header(top / LIST))


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every listed picture under the list's label.

    Raises
    ------
    SourceError  if a label is unknown, a code is ambiguous, or all listed pictures are missing
    """
    top = find_top(root, LIST)
    assert top is not None
    table = top / LIST
    records = read_rows(table, COLUMNS, looks_like=LOOKS_LIKE)
    every = [(record["pth"], record["label"]) for record in records]
    listed = [(path, label) for path, label in every if not is_no_label(label)]
    if not every:
        raise SourceError(f"{table}: the table has no row: restore the file")
    label_of = _label_all([label for _, label in listed], options, table)
    found = [_make_row(path, label, label_of[label]) for path, label in listed]
    present, notes = keep_present(found, top, str(table))
    unlisted = _list_pictures(top) - {path for path, _ in every}
    return Listing(
        top,
        present,
        (
            *note_unlabelled(len(every) - len(listed), [table]),
            *notes,
            *note_skipped(sorted(unlisted), "picture", "missing in labels.csv"),
            *_note_contradictions(present),
        ),
        frozenset(unlisted),
    )


def _label_all(labels: Sequence[str], options: LayoutOptions, table: Path) -> dict[str, str]:
    """The class of each label of the list, be it a name or a code."""
    is_coded = all(label.isdigit() for label in labels)
    codes = map_codes(labels, options.spellings, str(table)) if is_coded else {}
    if is_coded and not codes:
        codes = label_codes(labels, options.codes, str(table))
    return canonical_labels(
        sorted(set(labels)), where=str(table), extra={**codes, **options.spellings}
    )


def _list_pictures(top: Path) -> set[str]:
    paths = (path for folder in subfolders(top) for path in walk_files(folder, top))
    return {path for path in paths if is_picture(path, top)}


def _note_contradictions(present: Sequence[SourceRow]) -> tuple[str, ...]:
    apart = sum("(folder" in row.source_label for row in present)
    if not apart:
        return ()
    return (f"{apart:,} of {len(present):,} faces lie in another class's folder: labels.csv wins",)


def _make_row(path: str, label: str, given: str) -> SourceRow:
    folder = path.rpartition("/")[0].rpartition("/")[2]
    agrees = canonical_label(folder) in (given, None)
    return SourceRow(path, given, label if agrees else f"{label} (folder {folder})")
