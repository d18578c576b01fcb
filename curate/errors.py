"""The errors of both programs, one class per thing that the user does next.

A message has the form `where: what is wrong (the value): the rule or the fix`, with a count and at
most three examples. `console.py` prints it and exits with the code of its class.
"""

import re
from collections.abc import Sequence

# What a terminal obeys or hides instead of showing it: control characters, and marks that turn the
# direction of the text. Line ends and tabs are ours.
_UNSHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_FOUND = 3
EXIT_INTERRUPTED = 130


class CandidError(Exception):
    """An expected failure; the program prints its message and exits with `exit_code`."""

    exit_code = EXIT_ERROR


class UsageError(CandidError):
    """The options of the command are wrong: call it again with others."""

    exit_code = EXIT_USAGE


class SourceError(CandidError):
    """A dataset on disk does not fit its layout: repair the folder or name its labels."""


class ManifestError(CandidError):
    """The manifest breaks one of its rules: run the stage of the message, or build, again."""


class JournalError(CandidError):
    """The journal cannot be read, or a decision cannot be recorded: nothing was written."""


class PredictionsError(CandidError):
    """A predictions table does not fit the manifest: predict again."""


class WorkspaceError(CandidError):
    """The workspace is missing, read-only, full or in use: correct that and run again."""


class EngineError(CandidError):
    """A worker died or an engine is not installed: lower the workers or install the engine."""


class ServiceError(CandidError):
    """A service of the review (mongod, the App, a port) cannot run: install or free it."""


class PartError(CandidError):
    """A part of the program is not installed: install it by the command of the message."""


class FoundError(CandidError):
    """A check ran to its end and found something."""

    exit_code = EXIT_FOUND


def printable(text: str) -> str:
    """The text for a terminal: what it would obey is shown as Python writes it, as `\\x1b`."""
    return _UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable_cell(text: str) -> str:
    """`printable` of a value within a line: its line ends and tabs are shown too."""
    return printable(text.replace("\n", "\\n").replace("\t", "\\t"))


def examples(values: Sequence[object], most: int = 3) -> str:
    """The first `most` values, comma-separated, and how many more there are."""
    shown = ", ".join(str(value) for value in values[:most])
    rest = len(values) - most
    return f"{shown} and {rest} more" if rest > 0 else shown


def amount(count: int, one: str, many: str = "") -> str:
    """The count with its noun, and a verb if there is one: `amount(2, "row is", "rows are")`.

    Without `many` the plural is `one` with an s.
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def find_reason(error: Exception) -> str:
    """Why a file could not be read: the system's words, else the first line of the error's text."""
    return (isinstance(error, OSError) and error.strerror) or first_line(error)


def first_line(error: Exception, longest: int = 120) -> str:
    """The first line of the error's text; a KeyError holds only the key."""
    line = next(iter(str(error).splitlines()), "").strip() or type(error).__name__
    line = f"{line} is missing" if isinstance(error, KeyError) else line.rstrip(".")
    return shorten(line, longest)


def shorten(value: str, longest: int = 60) -> str:
    """The value for a message: its start and `…` where it has over `longest` characters."""
    return value if len(value) <= longest else f"{value[: longest - 1]}…"
