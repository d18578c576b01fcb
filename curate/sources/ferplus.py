"""FER+'s own export of FER2013: pictures by row, and a list of votes for each part.

    root/FER2013Train/fer0000000.png       root/FER2013Train/label.csv
    root/FER2013Valid/…                    root/FER2013Test/…

A line of label.csv (no header): `fer0000000.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0`: the box,
then votes for neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown and
NF. The label is the crowd's majority by the policy of `--labels ferplus`; a face without a majority
is counted and skipped. The number in the name is not the row of fer2013.csv: rows that FER+ left
out consume none. A name on two lines with other votes has no votes; it is counted and skipped.
"""

import re
from pathlib import Path

from curate.errors import SourceError
from curate.labels import VOCABULARY
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.pictures import (
    find_top,
    is_picture,
    keep_present,
    note_skipped,
    walk_files,
)
from curate.sources.tables.text_tables import read_lists
from curate.workspace.votes import CROWD, choose_majority, votes_to_json

NAME = "ferplus"
LOOKS_LIKE = "FER2013Train/, FER2013Valid/, FER2013Test/ with fer0000000.png and label.csv"
RECOGNISED_BY = "the folder names and their label.csv"

PARTS = {"FER2013Train": "train", "FER2013Valid": "val", "FER2013Test": "test"}
LISTS = tuple(f"{part}/label.csv" for part in PARTS)
_NAME = re.compile(r"fer[0-9]{7}\.\w+")


def detect(root: Path) -> bool:
    """Whether a part with its list lies there."""
    return root.is_dir() and _find_top(root) is not None


def rows(root: Path, options: LayoutOptions) -> Listing:  # noqa: ARG001 - votes, not names
    """Every listed picture that has a majority.

    Raises
    ------
    SourceError  if a line has another form, or all listed pictures are missing
    """
    top = _find_top(root)
    assert top is not None
    if find_top(top, *LISTS) is None:
        raise SourceError(
            f"{top}: no label.csv in {' or '.join(PARTS)}: copy them from FER+'s repository "
            f"(its folders data/{next(iter(PARTS))} and so on)"
        )
    found: list[SourceRow] = []
    undecided: list[str] = []
    notes: list[str] = []
    for part in PARTS:
        table = top / part / "label.csv"
        faces, ambiguous = _read_part(part, table)
        present, missing = keep_present(faces, top, str(table))
        found += [face for face in present if face.given_label]
        undecided += [face.path for face in present if not face.given_label]
        listed = {face.path for face in faces} | set(ambiguous)
        unlisted = [path for path in _list_pictures(top, part) if path not in listed]
        notes += missing
        notes += note_skipped(ambiguous, "name", f"of {part} on two lines with other votes")
        notes += note_skipped(unlisted, "picture", f"of {part} in no line of its label.csv")
    notes += note_skipped(undecided, "face", "without a majority, or with one for unknown or NF")
    return Listing(top, found, tuple(notes))


def _find_top(root: Path) -> Path | None:
    """The folder of the parts, if one holds its list or pictures with FER+'s names."""
    top = find_top(root, *PARTS)
    if top is None:
        return None
    has_list = any((top / name).is_file() for name in LISTS)
    return top if has_list or any(True for _ in top.glob("FER2013*/fer[0-9]*.*")) else None


def _list_pictures(top: Path, part: str) -> list[str]:
    folder = top / part
    return (
        [path for path in walk_files(folder, top) if is_picture(path, top)]
        if folder.is_dir()
        else []
    )


def _read_part(part: str, table: Path) -> tuple[list[SourceRow], list[str]]:
    """The faces of a list, each once, and the paths that have two lines with other votes."""
    if not table.is_file():
        return [], []
    lines = read_lists(table, is_line=lambda line: len(line) == len(CROWD) + 2)
    faces: dict[str, SourceRow] = {}
    ambiguous: dict[str, None] = {}
    for number, line in enumerate(lines, start=1):
        face = _read_line(part, line, f"{table} line {number}")
        if faces.setdefault(face.path, face) != face:
            ambiguous[face.path] = None
    return [face for path, face in faces.items() if path not in ambiguous], list(ambiguous)


def _read_line(part: str, line: list[str], where: str) -> SourceRow:
    match = _NAME.fullmatch(line[0]) if line else None
    counts = line[-len(CROWD) :]
    if match is None or len(line) != len(CROWD) + 2 or not all(count.isdigit() for count in counts):
        raise SourceError(
            f"{where}: '{','.join(line)[:60]}' is no line of votes: "
            f"name, box and {len(CROWD)} counts, with commas: restore the file"
        )
    votes = dict(zip(CROWD, map(int, counts), strict=True))
    majority = choose_majority(votes)
    return SourceRow(
        path=f"{part}/{line[0]}",
        given_label=majority if majority in VOCABULARY else "",
        source_label=majority,
        source_split=PARTS[part],
        votes=votes_to_json(votes),
    )
