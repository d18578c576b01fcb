"""Names and notes of people as text that every file and database can hold.

In: text from the environment, the command line or another's journal. Out: text without halves of
characters; a name also without what would control a terminal. Nothing is read or written here.
"""

# Join or part letters in Persian, Hindi and other scripts; `str.isprintable` rejects them.
_JOINERS = frozenset("\u200c\u200d")


def mend_halves(text: str) -> str:
    """The text without lone surrogates.

    Python makes them of bytes that are no UTF-8, as `USER` has on a system of another encoding:
    such bytes are read as Latin-1. Any other becomes U+FFFD.
    """
    if text.isascii():
        return text
    try:
        data = text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        halves = ("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in text)
        return "".join(halves)
    try:
        return data.decode()
    except UnicodeDecodeError:
        is_byte = ("\udc80" <= letter <= "\udcff" for letter in text)
        return "".join(
            chr(ord(letter) - 0xDC00) if byte else letter
            for letter, byte in zip(text, is_byte, strict=True)
        )


def clean_name(name: str) -> str:
    """The name of a person: one line of printable text; `unknown` if nothing is left of it."""
    mended = mend_halves(name)
    shown = "".join(letter if _is_shown(letter) else " " for letter in mended)
    return " ".join(shown.split()) or "unknown"


def _is_shown(letter: str) -> bool:
    return letter.isprintable() or letter in _JOINERS


def is_utf8(text: str) -> bool:
    """Whether the name can be written as UTF-8: that of a file in another encoding cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
