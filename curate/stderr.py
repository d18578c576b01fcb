"""What a command prints on stderr beside its result: progress, notes, why it failed.

Progress is a bar in a terminal, and a line a minute in a log file. A note is printed once, at the
end of a command that does not fail. An error of the system names the files that the command had
changed before.
"""

import contextlib
import errno
import os
import re
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import Any, TypeVar

from curate.errors import WorkspaceError, examples, find_reason, first_line, printable

T = TypeVar("T")
# Of progress without a terminal: work that takes less than the first prints nothing.
FIRST_LINE_SECONDS, SECONDS_BETWEEN_LINES = 180.0, 60.0
CACHE = ".cache"  # a folder of what can be made again; to write there changes nothing of the user's

# The files that this command has changed, for the text of an error.
_changed: dict[Path, None] = {}
# The batches of decisions that this command has recorded.
_recorded: list[str] = []
# The notes of this command, each with whether it is printed.
_noted: dict[str, bool] = {}


@contextlib.contextmanager
def open_bar(total: int, what: str) -> Iterator[Any]:
    """A tqdm bar on stderr, without a terminal a line a minute; silent if `what` is empty."""
    if what and not (sys.stderr and sys.stderr.isatty()):
        yield ProgressLines(total, what)
        return
    from tqdm import tqdm  # `--help` needs none

    with tqdm(
        total=total,
        desc=what,
        unit="",
        file=sys.stderr,
        disable=not what,
        leave=False,
        dynamic_ncols=True,
    ) as bar:
        yield bar


class ProgressLines:
    """Progress for a log file: what is finished, and how long the rest will take, a line a minute.

    It has the parts of a tqdm bar that this project uses.

    Attributes
    ----------
    total : the amount of work; 0 if it is not known
    n : how much of it is finished
    """

    def __init__(self, total: int, what: str) -> None:
        self.total, self.what, self.n = total, what, 0
        self._begin = time.monotonic()
        self._next = self._begin + FIRST_LINE_SECONDS

    def update(self, more: int = 1) -> None:
        """Add finished work; print a line if it is time for one."""
        self.n += more
        now = time.monotonic()
        if now >= self._next and sys.stderr:
            self._next = now + SECONDS_BETWEEN_LINES
            sys.stderr.write(f"{printable(self._describe(now - self._begin))}\n")
            sys.stderr.flush()

    def set_postfix_str(self, text: str, refresh: bool = False) -> None:
        """Do nothing: a line is about the whole."""

    def _describe(self, seconds: float) -> str:
        text = f"{self.what}: {self.n:,} after {format_minutes(seconds)}"
        if not self.total:
            return text
        text = f"{self.what}: {100 * self.n // self.total} % after {format_minutes(seconds)}"
        if not self.n:
            return text
        left = seconds * (self.total - self.n) / self.n
        return f"{text}, about {format_minutes(left)} left"


def format_minutes(seconds: float) -> str:
    """`4 min`, `2 h 05 min`."""
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def print_line(line: str) -> None:
    """A line on stderr at once, above a progress bar: for a warning before hours of work."""
    from tqdm import tqdm

    tqdm.write(printable(line), file=sys.stderr)


def with_progress(items: Iterable[T], what: str) -> Iterator[T]:
    """The items, counted on a progress bar."""
    with open_bar(len(items) if isinstance(items, Sized) else 0, what) as bar:
        for item in items:
            yield item
            bar.update()


@contextlib.contextmanager
def show_status(text: str) -> Iterator[None]:
    """A line on a terminal during work that has no steps to count; it is gone afterwards."""
    is_shown = bool(sys.stderr and sys.stderr.isatty())
    if is_shown:
        sys.stderr.write(text)
        sys.stderr.flush()
    try:
        yield
    finally:
        if is_shown:
            sys.stderr.write(f"\r{' ' * len(text)}\r")
            sys.stderr.flush()


def note_change(file: Path) -> None:
    """Remember that this command has changed the file."""
    if CACHE not in file.parts:
        _changed[file] = None


def note_recorded(batch: str) -> str:
    """Remember that the decisions are in the journal; return how a later error puts it."""
    _recorded.append(batch)
    return _describe_changes()


def forget_changes() -> None:
    """Begin a command: nothing is changed yet, and nothing noted."""
    _changed.clear()
    _recorded.clear()
    _noted.clear()


# What the user does about an error of the system; the kinds that come of rights, space and names.
_FIXES = {
    errno.EACCES: "give this user the right to it",
    errno.EPERM: "give this user the right to it",
    errno.EROFS: "choose a place that can be written",
    errno.ENOSPC: "free the disk",
    errno.EDQUOT: "free the disk",
    errno.EFBIG: "free the disk, or raise the limit on the size of files",
    errno.EIO: "restore it from a copy: the disk is damaged",
    errno.ENOENT: "restore it, or run the command that writes it",
    errno.EISDIR: "a folder is where a file belongs: move it away",
    errno.ENOTDIR: "a file is where a folder belongs: move it away",
    errno.ENAMETOOLONG: "shorten the name",
    errno.ELOOP: "the link leads to itself: remove it",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
    errno.ENOMEM: "free memory",
}


def explain_os_error(error: OSError) -> str:
    """One line about a file that the system refuses: which, why, and what to do.

    An error without a file is one of the output: stdout on a full disk.
    """
    place = error.filename
    if isinstance(place, bytes):
        place = os.fsdecode(place)
    where = "the output" if place is None else str(place)
    reason = find_reason(error)
    fix = _FIXES.get(error.errno or 0, "correct that and run the command again")
    return f"{where}: cannot be used ({reason}): {fix}; {_describe_changes()}"


def explain_memory(error: Exception) -> str | None:
    """The line for a failure to get memory, of whatever library; None for any other failure."""
    # TensorFlow's error has a class of its own, and JAX's begins so; neither is imported for it.
    is_refused = isinstance(error, MemoryError) or (
        type(error).__name__ == "ResourceExhaustedError"
        or str(error).startswith("RESOURCE_EXHAUSTED")
    )
    if not is_refused:
        return None
    reason = first_line(MemoryError(re.sub(r"\{\{.*?\}\} *", "", str(error)))).rstrip("…")
    return (
        f"there is not enough memory ({reason}): free some, or choose a smaller number: "
        "of a network its --widths, --batch-size or --size, of processes -j; "
        f"{_describe_changes()}"
    )


def _describe_changes() -> str:
    """What this command has changed so far and what to do now, for the end of an error."""
    if _recorded:
        applied = "the next command that writes the manifest applies it"
        return f"batch {_recorded[-1]} is recorded; do not decide again, {applied}"
    if not _changed:
        return "nothing was changed"
    names = examples(list(_changed))
    count = f"{len(_changed):,} files were" if len(_changed) > 1 else "1 file was"
    return f"{count} changed before ({names}): run the command again"


def cannot_write(file: Path, error: OSError | ValueError) -> WorkspaceError:
    """The error for a failed write: a full disk, a read-only folder. It names what was changed."""
    reason = (isinstance(error, OSError) and error.strerror) or str(error)
    return WorkspaceError(
        f"{file}: cannot be written ({reason}): free or unlock the disk; {_describe_changes()}"
    )


def note_once(line: str) -> None:
    """Keep a line for stderr. It is printed once, and only if the command does not fail."""
    _noted.setdefault(line, False)


def print_notes() -> None:
    """Print the notes so far: at the end of a command, or before it works for hours."""
    lines = _take_notes()
    if lines:
        print_line("\n".join(lines))


@contextlib.contextmanager
def notes_as_warnings() -> Iterator[None]:
    """A call from Python: it begins as a command does; what that would print at its end is warned
    of, at the line of whoever called the function with this block.
    """
    forget_changes()
    yield
    for line in _take_notes():
        warnings.warn(line, stacklevel=4)


def _take_notes() -> list[str]:
    """The notes that are not printed yet; they count as printed then."""
    lines = [line for line, is_printed in _noted.items() if not is_printed]
    _noted.update(dict.fromkeys(lines, True))
    return lines
