"""FER+: ten crowd votes for every row of FER2013, joined to any form of FER2013.

    fer2013new.csv      Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,
                        contempt,unknown,NF

Comes in: a listing of faces and the table of votes. Goes out: the listing with votes. The k-th line
of the table is about the k-th row of fer2013.csv. There are three ways to join it, tried in this
order:

- by row, for pictures unpacked from the whole of that CSV.
- by name, for pictures that FER+ exported (`fer0000059.png`): the name within its part. The number
  in the name is not the row: a line without a name consumes none.
- by pixels, for all others, as in JPEG folders and incomplete tables: `ferplus_pixels.py`.

A picture without a line gets no votes and is counted. A join whose votes agree with the given
labels no more than chance does is wrong: it is refused (`ferplus_check.py`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from curate import engine
from curate.errors import SourceError, UsageError, amount, examples
from curate.images.decode import Pixels, UnreadableImageError, read_grey
from curate.sources.fer2013 import USAGES
from curate.sources.fer2013_csv import CODES, FILES
from curate.sources.ferplus_check import find_contradiction, summarize_agreement
from curate.sources.ferplus_pixels import PixelTable, match_pixels
from curate.sources.layout import Listing, SourceRow
from curate.sources.tables.pixel_tables import SIDE, parse_pixels
from curate.sources.tables.text_tables import read_header, read_rows
from curate.stderr import with_progress
from curate.workspace.manifest import split_face
from curate.workspace.votes import CROWD, votes_to_json

HEADER = (
    "usage", "image name", "neutral", "happiness", "surprise", "sadness", "anger", "disgust",
    "fear", "contempt", "unknown", "nf",
)  # fmt: skip
# FER+'s export names a picture so.
_NAME = re.compile(r"(fer[0-9]{7})\.\w+")
PARTS_AGREE = 0.9  # share of names in their own part; in a split of somebody's own a third agree


@dataclass(frozen=True)
class CrowdTable:
    """The votes (JSON), the usage's split and FER+'s name of every row of fer2013.csv.

    A name has no suffix; it is empty where FER+ left the picture out.
    """

    votes: list[str]
    splits: list[str]
    names: list[str]


@dataclass(frozen=True)
class _Join:
    """How votes were joined, and the line of each row of the listing; None for no line."""

    how: str
    lines: list[int | None]


def is_ferplus(file: Path) -> bool:
    """Whether the file has FER+'s own columns."""
    return tuple(read_header(file)) == HEADER


def find_pixels(votes: Path, given: Path | None) -> Path | None:
    """The pixel table to join by: the given one, else one that lies beside the votes."""
    if given is not None and not given.is_file():
        raise UsageError(
            f"build: --pixels {given}: no such file: name fer2013.csv or icml_face_data.csv"
        )
    beside = (votes.parent / name for name in FILES)
    return given or next((file for file in beside if file.is_file()), None)


def join_votes(
    listing: Listing,
    votes: Path,
    pixels: Path | None,
    *,
    engine_name: engine.Engine,
    workers: int | None,
) -> tuple[Listing, list[str]]:
    """The listing with FER+'s votes, and notes with the numbers.

    Raises
    ------
    SourceError  if a table is damaged, the tables do not fit each other or the rows, or there are
        no pixels to join by
    """
    table = _read_crowd(votes)
    reasons = []
    for join in (_join_by_row(listing, table), _join_by_name(listing, table)):
        reason = _refuse(join, listing, table) if isinstance(join, _Join) else join
        if not reason and isinstance(join, _Join):
            return _apply(join, listing, table)
        reasons.append(reason)
    if pixels is None:
        raise SourceError(f"{votes}: {_explain(reasons, listing, table)}")
    known = _read_pixels(pixels)
    _refuse_other_table(pixels, known, votes, table)
    images, readable = _read_images(listing, engine_name, workers)
    found = match_pixels(images, [listing.rows[k] for k in readable], known)
    row_of = {k: row for k, row in zip(readable, found.tolist(), strict=True) if row >= 0}
    return _apply(
        _Join("by pixels", [row_of.get(k) for k in range(len(listing.rows))]), listing, table
    )


def _join_by_row(listing: Listing, table: CrowdTable) -> _Join | str:
    """By the number of the row, if the source is a pixel table of the same length.

    Otherwise the reason why it is not that table, or empty for another source.
    """
    if listing.table_length != len(table.votes):
        return ""
    lines = [row.table_row for row in listing.rows]
    wrong = [
        row.path
        for row, line in zip(listing.rows, lines, strict=True)
        if line is None or table.splits[line] != row.source_split
    ]
    if wrong:
        return (
            f"its {len(table.splits):,} rows are not those of the pictures: Usage differs "
            f"at {len(wrong):,} of {len(listing.rows):,} ({examples(wrong)}): "
            "take the table of the challenge in its own order"
        )
    return _Join("by row", lines)


def _join_by_name(listing: Listing, table: CrowdTable) -> _Join | str:
    """By FER+'s names, if most pictures have one; empty if they do not.

    The part counts, since a name may occur in two parts; only where the source has a split of its
    own the name alone counts.
    """
    names = [_name_of(row) for row in listing.rows]
    named = sum(bool(name) for name in names)
    if 2 * named <= len(names):
        return ""
    by_part: dict[tuple[str, str], list[int]] = {}
    by_name: dict[tuple[str, str], list[int]] = {}
    for line, (split, name) in enumerate(zip(table.splits, table.names, strict=True)):
        if name:
            by_part.setdefault((split, name), []).append(line)
            by_name.setdefault(("", name), []).append(line)
    keys = [(row.source_split, name) for row, name in zip(listing.rows, names, strict=True)]
    has_parts = sum(key in by_part for key in keys) >= PARTS_AGREE * named
    lines = [
        _choose_line(
            by_part.get(key, []) if has_parts else by_name.get(("", key[1]), []), row, table
        )
        for key, row in zip(keys, listing.rows, strict=True)
    ]
    return _Join("by name", lines)


def _name_of(row: SourceRow) -> str:
    match = _NAME.fullmatch(split_face(row.path)[0].rpartition("/")[2])
    return match[1] if match else ""


def _choose_line(lines: Sequence[int], row: SourceRow, table: CrowdTable) -> int | None:
    """The only line of a name, or the one with the source's own votes; None if that decides not."""
    distinct = {table.votes[line]: line for line in reversed(lines)}
    if len(distinct) == 1:
        return lines[0]
    return distinct.get(row.votes)


def _refuse(join: _Join, listing: Listing, table: CrowdTable) -> str:
    """Why the join cannot be right; empty if it can."""
    pairs = zip(join.lines, listing.rows, strict=True)
    joined = sorted(
        ((line, row) for line, row in pairs if line is not None), key=lambda pair: pair[0]
    )
    if not joined:
        return f"none of its names is that of a picture (first: {listing.rows[0].path})"
    reason = find_contradiction(
        [row.given_label for _, row in joined],
        [table.votes[line] for line, _ in joined],
        own=[row.votes for _, row in joined],
    )
    return f"joined {join.how} its votes are those of other faces: {reason}" if reason else ""


def _explain(reasons: Sequence[str], listing: Listing, table: CrowdTable) -> str:
    """Why neither rows nor names join, with the way out."""
    known = [reason for reason in reasons if reason]
    if not known:
        return (
            f"the row numbers of these {len(listing.rows):,} pictures among its "
            f"{amount(len(table.votes), 'row is', 'rows are')} unknown, so they are matched by "
            "pixels: put the whole fer2013.csv beside the votes or name it with --pixels"
        )
    return f"{known[0]}; or join by pixels: name the challenge's fer2013.csv with --pixels"


def _refuse_other_table(pixels: Path, known: PixelTable, votes: Path, table: CrowdTable) -> None:
    """Raise SourceError unless the k-th row of one table is about the k-th row of the other."""
    if known.splits != table.splits:
        raise SourceError(
            f"{pixels}: its {len(known.splits):,} rows are not the {len(table.splits):,} rows of "
            f"{votes.name} (number or Usage differ): take the CSV of the challenge in its own order"
        )
    reason = find_contradiction(known.labels, table.votes, own=[""] * len(table.votes))
    if reason:
        raise SourceError(
            f"{pixels}: its rows are not those of {votes.name}: {reason}: "
            "take the CSV of the challenge in its own order"
        )


def _apply(join: _Join, listing: Listing, table: CrowdTable) -> tuple[Listing, list[str]]:
    """The listing with the votes of its lines, and notes."""
    joined = [
        row if line is None else replace(row, votes=table.votes[line])
        for row, line in zip(listing.rows, join.lines, strict=True)
    ]
    unmatched = [
        row.path for row, line in zip(listing.rows, join.lines, strict=True) if line is None
    ]
    differing = [
        row.path
        for row, new in zip(listing.rows, joined, strict=True)
        if row.votes not in ("", new.votes)
    ]
    agreement = summarize_agreement(
        [row.given_label for row in joined], [row.votes for row in joined]
    )
    notes = [_summarize(len(joined), unmatched, join.how), *agreement]
    if differing:
        notes.append(
            f"{amount(len(differing), 'picture has', 'pictures have')} other votes in the source "
            f"({examples(differing)}): those of --votes count"
        )
    return replace(listing, rows=joined), notes


def _read_image(item: tuple[Path, str]) -> Pixels | None:
    try:
        return read_grey(*item, SIDE)
    except UnreadableImageError:
        return None


def _read_images(
    listing: Listing, engine_name: engine.Engine, workers: int | None
) -> tuple[Pixels, list[int]]:
    """The pictures that can be read, and which rows they are; those of a table come from it."""
    if listing.open_pixels is not None:
        pixels = listing.open_pixels()
        return np.stack([pixels[row.path] for row in listing.rows]), list(range(len(listing.rows)))
    items = [(listing.image_root / split_face(row.path)[0], row.box) for row in listing.rows]
    decoded = engine.map(
        _read_image,
        items,
        what="pictures to join",
        engine=engine_name,
        workers=workers,
        chunk_size=256,
    )
    images = np.zeros((len(items), SIDE, SIDE), np.uint8)
    readable = []
    for k, image in enumerate(decoded):
        if image is not None:
            images[k] = image
            readable.append(k)
    return images[readable], readable


def _summarize(total: int, unmatched: Sequence[str], how: str) -> str:
    matched = total - len(unmatched)
    share = 100 * matched / total
    rest = f"; {len(unmatched):,} found no row ({examples(unmatched)})" if unmatched else ""
    return f"FER+ votes joined {how}: {matched:,} of {total:,} pictures ({share:.2f} %){rest}"


def _read_crowd(file: Path) -> CrowdTable:
    votes, splits, names = [], [], []
    for number, row in enumerate(read_rows(file, HEADER, looks_like="FER+'s fer2013new.csv")):
        counts = [row.get(name, "") for name in HEADER[2:]]
        if row["usage"] not in USAGES or not all(count.isdigit() for count in counts):
            raise SourceError(
                f"{file} row {number}: no Usage with {len(CROWD)} counts: restore the file"
            )
        votes.append(votes_to_json(dict(zip(CROWD, map(int, counts), strict=True))))
        splits.append(USAGES[row["usage"]])
        names.append(row["image name"].partition(".")[0])
    return CrowdTable(votes, splits, names)


def _read_pixels(file: Path) -> PixelTable:
    images, labels, splits = [], [], []
    needs = ("emotion", "pixels", "usage")
    known_codes = set(map(str, range(len(CODES))))
    rows = read_rows(file, needs, looks_like="the challenge's fer2013.csv")
    for number, row in enumerate(with_progress(rows, "rows")):
        where = f"{file} row {number}"
        if row["usage"] not in USAGES or row["emotion"] not in known_codes:
            raise SourceError(
                f"{where}: emotion '{row['emotion']}', Usage '{row['usage']}': restore the file"
            )
        images.append(parse_pixels(row["pixels"], where))
        labels.append(CODES[int(row["emotion"])])
        splits.append(USAGES[row["usage"]])
    if not images:
        raise SourceError(f"{file}: the table has no row: restore the file")
    return PixelTable(np.stack(images), labels, splits)
