"""A PNG without its texts and colour profile, which no pixel depends on.

Comes in: the bytes of a file that Pillow refuses. Goes out: the same picture in fewer bytes. Pillow
refuses a PNG whose texts or profile unpack to over 1 MB, to be safe from bombs; nothing here
unpacks more than that.
"""

import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# Texts that may hold the orientation of the picture.
ORIENTATION_KEYWORDS = (b"Raw profile type exif", b"XML:com.adobe.xmp")
MAX_TEXT_BYTES = 1 << 20  # Pillow's own limit


def strip_metadata(data: bytes) -> bytes | None:
    """The PNG without texts and colour profile, but with its orientation.

    Returns
    -------
    None if the bytes are no PNG, or hold nothing to leave out
    """
    if not data.startswith(SIGNATURE):
        return None
    kept = [chunk for kind, chunk in _read_chunks(data) if not _is_left_out(kind, chunk)]
    stripped = SIGNATURE + b"".join(kept)
    return stripped if len(stripped) < len(data) else None


def _read_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and bytes of each chunk: length, kind, content, CRC; the last one may be cut off."""
    start = len(SIGNATURE)
    while start + 8 <= len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        yield data[start + 4 : start + 8], data[start : start + length + 12]
        start += length + 12


def _is_left_out(kind: bytes, chunk: bytes) -> bool:
    if kind == b"iCCP":
        return True
    if kind not in TEXTS:
        return False
    content = chunk[8:-4]
    keyword, _, text = content.partition(b"\0")
    return keyword not in ORIENTATION_KEYWORDS or _is_large(kind, text)


def _is_large(kind: bytes, text: bytes) -> bool:
    """Whether a text is over `MAX_TEXT_BYTES`; `text` is what follows the keyword."""
    is_packed = kind == b"zTXt" or (kind == b"iTXt" and text[:1] == b"\1")
    if not is_packed:
        return len(text) > MAX_TEXT_BYTES
    # zTXt: method, packed text. iTXt: flag, method, language, 0, translated keyword, 0, text.
    packed = text[1:] if kind == b"zTXt" else text[2:].split(b"\0", 2)[-1]
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(packed, MAX_TEXT_BYTES)
    except zlib.error:
        return True
    return not unpacker.eof
