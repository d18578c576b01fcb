"""FER+'s own export of FER2013: pictures by row, and a list of votes for each part.

    root/FER2013Train/fer0000000.png       root/FER2013Train/label.csv
    root/FER2013Valid/…                    root/FER2013Test/…

A line of label.csv (no header): `fer0000000.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0`: the box,
then votes for neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown and
NF. The label is the crowd's majority by the policy of `--labels ferplus`; a face without a majority
is counted and skipped. The number in the name is the row of fer2013.csv.
"""

import re
from pathlib import Path

from curate.errors import SourceError
from curate.labels import VOCABULARY
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.pictures import find_top, keep_present, note_skipped
from curate.sources.tables.text_tables import read_lists
from curate.workspace.votes import CROWD, choose_majority, votes_to_json

NAME = "ferplus"
LOOKS_LIKE = "FER2013Train/, FER2013Valid/, FER2013Test/ with fer0000000.png and label.csv"
RECOGNISED_BY = "the folder names and their label.csv"

PARTS = {"FER2013Train": "train", "FER2013Valid": "val", "FER2013Test": "test"}
LISTS = tuple(f"{part}/label.csv" for part in PARTS)
_NAME = re.compile(r"fer([0-9]{7})\.png")


def detect(root: Path) -> bool:
    """Whether a part with its list lies there."""
    return root.is_dir() and find_top(root, *LISTS) is not None


def rows(root: Path, options: LayoutOptions) -> Listing:  # noqa: ARG001 - votes, not names
    """Every listed picture that has a majority.

    Raises
    ------
    SourceError  if a line has another form, or all listed pictures are missing
    """
    top = find_top(root, *LISTS)
    assert top is not None
    found: list[SourceRow] = []
    undecided: list[str] = []
    notes: list[str] = []
    for part in PARTS:
        table = top / part / "label.csv"
        lines = list(read_lists(table)) if table.is_file() else []
        faces = [
            _read_line(part, line, f"{table} line {number}")
            for number, line in enumerate(lines, start=1)
        ]
        present, missing = keep_present(faces, top, str(table))
        found += [face for face in present if face.given_label]
        undecided += [face.path for face in present if not face.given_label]
        notes += missing
    notes += note_skipped(undecided, "faces have no majority, or one for unknown or NF,")
    return Listing(top, found, tuple(notes))


def _read_line(part: str, line: list[str], where: str) -> SourceRow:
    match = _NAME.fullmatch(line[0]) if line else None
    counts = line[-len(CROWD) :]
    if match is None or len(line) != len(CROWD) + 2 or not all(count.isdigit() for count in counts):
        raise SourceError(
            f"{where}: '{','.join(line)[:60]}' is no line of votes: "
            f"name, box and {len(CROWD)} counts"
        )
    votes = dict(zip(CROWD, map(int, counts), strict=True))
    majority = choose_majority(votes)
    return SourceRow(
        path=f"{part}/{line[0]}",
        given_label=majority if majority in VOCABULARY else "",
        source_label=majority,
        source_split=PARTS[part],
        votes=votes_to_json(votes),
        table_row=int(match[1]),
    )
