"""The faces of one dataset, whatever its layout: what the layout lists, checked and completed.

Comes in: a layout and the user's options. Goes out: its rows sorted by path, without the labels
that the user leaves out, with the persons that file names have, and notes about whatever lies
beside them and was not read.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from curate.errors import SourceError, amount, examples
from curate.labels import LEFT_OUT, canonical_label, compose, write_option
from curate.names import is_utf8
from curate.sources.layout import Layout, LayoutOptions, Listing, SourceRow
from curate.sources.tables.person_names import find_person
from curate.sources.tables.pictures import is_pointer, note_skipped
from curate.sources.tables.unread import note_unread, suggest_way_out
from curate.workspace.manifest import split_face

# Layouts in which the class of a picture is that of its folder alone.
BY_FOLDER = ("folder", "fer2013", "ckplus48")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def list_faces(layout: Layout, root: Path, options: LayoutOptions) -> Listing:
    """The faces of the dataset, sorted by path, each path once and plain text.

    Raises
    ------
    SourceError  if there is none, two have the same path, a file name is not plain text, a spelling
        has no effect, or every picture is a Git LFS pointer; and what the layout raises
    """
    listing = layout.rows(root, options)
    listed = sorted(listing.rows, key=lambda row: row.path)
    left_out = [row for row in listed if _is_left_out(row, options)]
    found = [row for row in listed if not _is_left_out(row, options)]
    if not found:
        fix = "give less to --skip" if left_out else suggest_way_out(root, is_known=True)
        raise SourceError(
            f"{root}: no labelled picture ({layout.NAME}: {layout.LOOKS_LIKE}): {fix}"
        )
    _check_names([row.path for row in listed], root)
    _refuse_ignored(found, options, layout, root)
    _refuse_pointers(found, listing.image_root, root)
    named = [_name_person(row) for row in found]
    notes = (
        *listing.notes,
        *note_skipped(
            [row.path for row in left_out], "face", "with a label that --skip leaves out"
        ),
        *_note_other_expressions(named),
        *note_unread(root, listing, by_folder=layout.NAME in BY_FOLDER),
    )
    names = listing.left_out | {row.source_label for row in left_out}
    return replace(listing, rows=named, notes=notes, left_out=names)


def _is_left_out(row: SourceRow, options: LayoutOptions) -> bool:
    return row.given_label == LEFT_OUT or options.skips(row.source_label)


def _refuse_ignored(
    found: Sequence[SourceRow], options: LayoutOptions, layout: Layout, root: Path
) -> None:
    """Refuse a spelling of a label that the layout reads by codes of its own."""
    for row in found:
        wanted = options.spellings.get(compose(row.source_label), row.given_label)
        if wanted != row.given_label:
            raise SourceError(
                f"{root}: --map {row.source_label}={wanted} has no effect: layout {layout.NAME} "
                f"declares {row.source_label} as {row.given_label}: leave that --map out, or the "
                f"label with {write_option('--skip', row.source_label)}"
            )


def _refuse_pointers(found: Sequence[SourceRow], image_root: Path, root: Path) -> None:
    """Refuse a copy whose pictures were never fetched."""
    files = (image_root / split_face(row.path)[0] for row in found)
    if all(map(is_pointer, files)):
        raise SourceError(
            f"{root}: all {len(found):,} pictures are Git LFS or git-annex pointers, not pictures "
            f"(first: {found[0].path}): fetch them there with `git lfs pull` or `git annex get`"
        )


def _name_person(row: SourceRow) -> SourceRow:
    """The row with the person and sequence of its file name, if the layout knows none."""
    person = find_person(row.path.rpartition("/")[2])
    if row.subject or person is None:
        return row
    return replace(row, subject=person.subject, sequence=row.sequence or person.sequence)


def _note_other_expressions(rows: Sequence[SourceRow]) -> tuple[str, ...]:
    """A note if file names have another expression than the label."""
    apart = []
    for row in rows:
        person = find_person(row.path.rpartition("/")[2])
        named = canonical_label(person.expression) if person else None
        if named not in (None, row.given_label):
            apart.append(row.path)
    if not apart:
        return ()
    return (
        f"{amount(len(apart), 'file name has', 'file names have')} another expression than the "
        f"folder or list, which wins ({examples(apart)})",
    )


def _check_names(paths: Sequence[str], root: Path) -> None:
    odd = [repr(path) for path in paths if _CONTROL.search(path) or not is_utf8(path)]
    if odd:
        raise SourceError(
            f"{root}: {amount(len(odd), 'file name is', 'file names are')} not plain text "
            f"({examples(odd)}): rename them"
        )
    twice = [a for a, b in pairwise(paths) if a == b]
    if twice:
        raise SourceError(
            f"{root}: {amount(len(twice), 'face is', 'faces are')} listed twice "
            f"({examples(twice)}): list each picture once"
        )
