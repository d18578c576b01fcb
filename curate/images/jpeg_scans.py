"""How many scans a JPEG has: each costs its decoder a pass over all pixels.

Comes in: the bytes of a JPEG. Goes out: a number. A file of 100 kB may hold thousands of scans.

References
----------
ITU-T T.81 (JPEG), annex B: markers; libjpeg-turbo, "Two Issues with the JPEG Standard"
"""

import re

START_OF_SCAN = 0xDA
FEW_SCANS = 20  # of a picture of any size; not counted exactly
# The end of a scan's data: a marker, but no stuffed byte, no restart and no fill byte.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# Markers without a length behind them: TEM, the restarts, start and end of the image.
_BARE = frozenset({0x01, *range(0xD0, 0xDA)})
END_OF_IMAGE = 0xD9


def count_scans(data: bytes, enough: int) -> int:
    """The scans of the first image in the file; counted to one more than `enough`, then no further.

    Texts and thumbnails in the file's own segments, and whatever lies behind the image, count for
    none. Up to `FEW_SCANS` the result may be too high.
    """
    # Cheap, and never too low: a segment may hold these bytes by chance.
    at_most = data.count(bytes((0xFF, START_OF_SCAN)))
    if at_most <= FEW_SCANS:
        return at_most
    scans, at = 0, 0
    while scans <= enough and (found := _MARKER.search(data, at)):
        at = found.end()
        marker = data[at - 1]
        if marker == END_OF_IMAGE:
            break
        scans += marker == START_OF_SCAN
        if marker not in _BARE:
            at += int.from_bytes(data[at : at + 2], "big")
    return scans
