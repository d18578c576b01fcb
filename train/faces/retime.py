"""Times of the frames of an MP4 that OpenCV wrote, which knows one rate for all of them.

Comes in: an MP4 of one video track, and the time of each frame. Goes out: the same file with these
times. Only the tables at its end are written anew; the frames before them keep their place.

References
----------
ISO/IEC 14496-12, ISO base media file format: `stts`, `mdhd`, `mvhd`, `tkhd`, `elst`
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import BinaryIO

UNITS = 90_000  # a second: whole for 24, 25, 30, 50, 60 and 29.97 frames a second
COARSE_UNITS = 1_000
MOST = 0xFFFFFFFF  # of a duration in 32 bits: 13 hours in `UNITS`
FOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts")
# Offset of the duration in boxes of version 0, from the start of their content.
DURATION_AT = {b"mvhd": 16, b"tkhd": 20, b"mdhd": 16}


def retime_mp4(file: Path, seconds: Sequence[float], last: float) -> None:
    """Show each frame of the file at its own time.

    Parameters
    ----------
    seconds : (N,) rising; the first frame is shown from the start, whatever its time
    last : seconds for which the last frame is shown, above 0

    Raises
    ------
    ValueError  if the file is no such MP4, or has another number of frames
    """
    total = seconds[-1] + last
    units = UNITS if total * UNITS < MOST else COARSE_UNITS
    ticks = [0, *(round(time * units) for time in seconds[1:]), round(total * units)]
    durations = [max(after - before, 1) for before, after in pairwise(ticks)]
    with file.open("r+b") as stream:
        start = _find_moov(stream, file.stat().st_size)
        stream.seek(start)
        tables = _write_boxes(stream.read(), durations, units)
        stream.seek(start)
        stream.write(tables)
        stream.truncate()


def _find_moov(stream: BinaryIO, length: int) -> int:
    """Where the tables start; they must come after the frames, which must not move."""
    start = 0
    while start + 16 <= length:
        stream.seek(start)
        size, kind, large = struct.unpack(">I4sQ", stream.read(16))
        size = large if size == 1 else size
        if size < 8:
            break
        if kind == b"moov" and start + size == length:
            return start
        start += size
    raise ValueError("its tables are not at its end")


def _split_boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and bytes of each box, header included."""
    start = 0
    while start + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        if size < 8:
            raise ValueError("a box has no size")
        yield kind, data[start : start + size]
        start += size


def _write_boxes(data: bytes, durations: Sequence[int], units: int) -> bytes:
    """The boxes with the durations of the frames, in `units` a second."""
    total = sum(durations)
    written = []
    for kind, box in _split_boxes(data):
        content = bytearray(box[8:])
        if kind in FOLDERS:
            content = bytearray(_write_boxes(box[8:], durations, units))
        elif kind == b"stts":
            content = bytearray(_write_durations(box[8:], durations))
        elif kind in DURATION_AT and content[0] == 0:
            struct.pack_into(">I", content, DURATION_AT[kind], total)
            if kind != b"tkhd":  # whose duration is in the units of mvhd
                struct.pack_into(">I", content, DURATION_AT[kind] - 4, units)
        elif kind == b"elst" and content[0] == 0:
            struct.pack_into(">I", content, 8, total)
        written.append(struct.pack(">I4s", len(content) + 8, kind) + content)
    return b"".join(written)


def _write_durations(content: bytes, durations: Sequence[int]) -> bytes:
    """The content of `stts`: runs of frames of one duration."""
    entries = struct.unpack_from(">I", content, 4)[0]
    frames = sum(struct.unpack_from(">I", content, 8 + 8 * k)[0] for k in range(entries))
    if frames != len(durations):
        raise ValueError(f"it has {frames} frames, not {len(durations)}")
    runs = [(len(list(group)), duration) for duration, group in groupby(durations)]
    packed = b"".join(struct.pack(">II", count, duration) for count, duration in runs)
    return content[:4] + struct.pack(">I", len(runs)) + packed
