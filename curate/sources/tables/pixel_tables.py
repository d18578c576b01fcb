"""Tables of pixels: FER2013's CSVs, and CK+ in their form, unpacked to pictures.

`pixels` are 2,304 grey values of a 48 x 48 image, row by row. The table is read twice: once to
refuse damage before anything is written, once to write; it is never held in memory.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from curate.engine import track
from curate.errors import SourceError
from curate.files import cannot_write, remove_quietly
from curate.images.decode import Pixels, encode_png
from curate.sources.fer2013 import USAGES
from curate.sources.layout import SourceRow

SIDE = 48


def list_rows(
    records: Callable[[], Iterator[tuple[int, Mapping[str, str]]]],
    read: Callable[[int, Mapping[str, str]], SourceRow],
    where: str,
    unpack_to: Path | None,
) -> list[SourceRow]:
    """The rows of a table, its pictures written below `unpack_to` unless that is None.

    Parameters
    ----------
    records : opens the table from its start: (row number, column -> value)
    read : one record -> its row; raises SourceError

    Raises
    ------
    SourceError  if a row has another code, usage or number of pixels, or the table has no row; no
        picture is written then
    WorkspaceError  if a picture cannot be written
    """
    found = []
    for number, record in track(records(), "rows"):
        found.append(read(number, record))
        parse_pixels(record.get("pixels", ""), f"{where} row {number}")
    if not found:
        raise SourceError(f"{where}: the table has no row")
    if unpack_to is not None:
        for row, (number, record) in zip(track(found, "pictures"), records(), strict=True):
            pixels = parse_pixels(record["pixels"], f"{where} row {number}")
            _write_png(unpack_to / row.path, pixels)
    return found


def read_row(
    table: Path, codes: Sequence[str], number: int, record: Mapping[str, str]
) -> SourceRow:
    """One record with `emotion` (an index of `codes`) and `usage`.

    Raises
    ------
    SourceError  if either is unknown
    """
    where = f"{table} row {number}"
    code, usage = record.get("emotion", ""), record.get("usage", "")
    if code not in map(str, range(len(codes))):
        raise SourceError(
            f"{where}: emotion '{code}' is no code: 0 to {len(codes) - 1} are {', '.join(codes)}"
        )
    if usage not in USAGES:
        raise SourceError(f"{where}: Usage '{usage}' is unknown: {', '.join(USAGES)}")
    return SourceRow(f"{usage}/{number:05d}.png", codes[int(code)], code, USAGES[usage])


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
    if len(values) != SIDE * SIDE or not is_level.all():
        raise SourceError(
            f"{where}: {len(values)} pixels where {SIDE * SIDE} from 0 to 255 should be: "
            "restore the file"
        )
    return values.astype(np.uint8).reshape(SIDE, SIDE)


def _write_png(file: Path, pixels: Pixels) -> None:
    """Write the picture, unless the file has the same bytes already.

    A build that continues after a kill recognises its pictures by their modification times.
    """
    data = encode_png(pixels)
    partial = file.with_suffix(".tmp")
    try:
        if file.is_file() and file.read_bytes() == data:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)  # no fsync for each: lost pictures are unpacked again
        partial.replace(file)
    except OSError as error:
        raise cannot_write(file, error) from error
    finally:
        remove_quietly(partial)
