"""Tables of pixels: FER2013's CSVs, and CK+ in their form, unpacked to pictures.

`pixels` are 2,304 grey values of a 48 x 48 image, row by row. The table is read twice: once to
refuse damage before anything is written, once to write; it is never held in memory.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from curate.errors import SourceError, examples, shorten
from curate.files import TEMPORARY, create_file, remove_quietly
from curate.images.decode import Pixels, encode_png
from curate.labels import LEFT_OUT, canonical_label, write_option
from curate.sources.fer2013 import USAGES
from curate.sources.layout import SourceRow
from curate.sources.tables.splits import usage_split
from curate.sources.tables.text_tables import find_unit, is_no_label, read_rows
from curate.stderr import cannot_write, note_change, with_progress

SIDE = 48
NO_USAGE = "no usage"  # in place of the value where a table has no such column


Records = Callable[[], Iterator[tuple[int, Mapping[str, str]]]]
_PLACE = "\0place"  # beside the columns of a record: file and row, for messages


@dataclass(frozen=True)
class PixelRows:
    """The labelled rows of a pixel table.

    Attributes
    ----------
    rows : in the order of the table
    total : number of rows, those without a label included
    open_pixels : path of a row -> (48, 48) uint8 grey; reads the table again
    """

    rows: list[SourceRow]
    total: int
    open_pixels: Callable[[], dict[str, Pixels]]


def open_tables(tables: Sequence[tuple[Path, str]], looks_like: str) -> Records:
    """Opens the rows of pixel tables, numbered from 0 through all of them.

    Parameters
    ----------
    tables : file and the Usage of its rows, which counts where the file has no such column; empty
        for a file that must have it
    """

    def read() -> Iterator[tuple[int, Mapping[str, str]]]:
        first = 0
        for file, usage in tables:
            needs = ("emotion", "pixels") if usage else ("emotion", "pixels", "usage")
            number = -1
            for number, record in enumerate(read_rows(file, needs, looks_like=looks_like)):
                yield first + number, {"usage": usage, **record, _PLACE: f"{file} row {number}"}
            first += number + 1

    return read


def list_rows(
    records: Records,
    read: Callable[[int, Mapping[str, str]], SourceRow | None],
    where: str,
    unpack_to: Path | None,
) -> PixelRows:
    """The rows of a table, its pictures written below `unpack_to` unless that is None.

    Parameters
    ----------
    records : opens the table from its start: (row number, column -> value)
    read : one record -> its row, or None where it has no label; raises SourceError

    Raises
    ------
    SourceError  if a row has another code, usage or number of pixels, or the table has no row; no
        picture is written then
    WorkspaceError  if a picture cannot be written
    """
    found: dict[int, SourceRow] = {}
    total = 0
    for number, record in with_progress(records(), "rows"):
        total += 1
        row = read(number, record)
        if row is not None:
            found[number] = replace(row, table_row=number)
            parse_pixels(record.get("pixels", ""), record[_PLACE])
    if not total:
        raise SourceError(f"{where}: the table has no row: restore the file")

    def read_pixels() -> Iterator[tuple[str, Pixels]]:
        for number, record in records():
            if number in found:
                yield found[number].path, parse_pixels(record["pixels"], record[_PLACE])

    if unpack_to is not None:
        for path, pixels in with_progress(read_pixels(), "pictures"):
            write_picture(unpack_to / path, encode_png(pixels))
    return PixelRows(list(found.values()), total, lambda: dict(read_pixels()))


def read_row(
    codes: Sequence[str], spellings: Mapping[str, str], number: int, record: Mapping[str, str]
) -> SourceRow | None:
    """One record with `emotion` (an index of `codes`, or a word) and `usage`; None without a label.

    Parameters
    ----------
    spellings : the user's own labels -> classes; they override ours

    Raises
    ------
    SourceError  if either is unknown
    """
    where = record[_PLACE]
    emotion, usage = record.get("emotion", ""), record.get("usage", "")
    if is_no_label(emotion):
        return None
    label = _label_of(emotion, codes, spellings)
    if not label:
        raise SourceError(
            f"{where}: emotion '{shorten(emotion)}' is no code: 0 to {len(codes) - 1} are "
            f"{', '.join(codes)}: name its class with {write_option('--map', emotion + '=CLASS')}"
        )
    split = usage_split(usage)
    if not split and usage != NO_USAGE:
        raise SourceError(
            f"{where}: Usage '{shorten(usage)}' is unknown: must be {', '.join(USAGES)}"
        )
    folder = usage if usage in USAGES else split or "rows"
    subject, sequence = (find_unit(role, record, where) for role in ("subject", "sequence"))
    path = f"{folder}/{number:05d}.png"
    return SourceRow(path, label, emotion, split, subject=subject, sequence=sequence)


def _label_of(emotion: str, codes: Sequence[str], spellings: Mapping[str, str]) -> str:
    """The class of a code or word; empty if it has none.

    pandas writes the code 3 as 3.0 in a column with empty cells.
    """
    code = emotion.removesuffix(".0")
    mapped = spellings.get(emotion) or spellings.get(code)
    if mapped:
        return mapped
    if code.isascii() and code.isdigit():
        return codes[int(code)] if len(code) < 3 and int(code) < len(codes) else ""
    return canonical_label(emotion) or ""


def refuse_half_map(
    rows: Sequence[SourceRow], codes: Sequence[str], spellings: Mapping[str, str], where: str
) -> None:
    """Raise SourceError if `--map` renames some of the declared codes and not the others."""
    found = {row.source_label.removesuffix(".0") for row in rows}
    declared = {code for code in found if code.isdigit() and int(code) < len(codes)}
    mapped = declared & {name for name, label in spellings.items() if label != LEFT_OUT}
    if mapped and mapped != declared:
        rest = sorted(declared - mapped)
        raise SourceError(
            f"{where}: `--map` names {examples(sorted(mapped))} and not {examples(rest, 8)}, which "
            f"would have FER2013's meaning: add `--map {rest[0]}=CLASS` and so on, or name none"
        )


def parse_pixels(text: str, where: str) -> Pixels:
    """(48, 48) uint8 grey.

    Raises
    ------
    SourceError  unless the text holds exactly that many whole numbers from 0 to 255
    """
    try:
        values = np.array(
            text.split(), np.float64
        )  # a number too large for an integer still parses
    except ValueError as error:
        raise SourceError(
            f"{where}: pixels hold something that is no number: restore the file"
        ) from error
    is_level = (values >= 0) & (values <= 255) & (values % 1 == 0)
    if len(values) != SIDE * SIDE:
        raise SourceError(
            f"{where}: {len(values)} pixels where {SIDE * SIDE} should be: restore the file, or "
            "give faces of another size as .npz or pictures"
        )
    if not is_level.all():
        raise SourceError(
            f"{where}: {values[~is_level][0]:g} is no grey level from 0 to 255: restore the file"
        )
    return values.astype(np.uint8).reshape(SIDE, SIDE)


def write_picture(file: Path, data: bytes) -> None:
    """Write the bytes of a picture, unless the file has them already.

    A build that continues after a kill recognises its pictures by their modification times.

    Raises
    ------
    WorkspaceError  if it cannot be written
    """
    partial = file.with_name(f".{file.name}{TEMPORARY}")
    try:
        if file.is_file() and file.read_bytes() == data:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        # One name for each picture, so that a kill leaves no heap of them; whatever is there goes.
        remove_quietly(partial)
        create_file(partial, data)  # no fsync for each: lost pictures are unpacked again
        partial.replace(file)
        note_change(file)
    except OSError as error:
        raise cannot_write(file, error) from error
    finally:
        remove_quietly(partial)
