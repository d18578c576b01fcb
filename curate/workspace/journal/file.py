"""The journal of decisions: the file, its lines, and how one is appended.

`decisions.jsonl` holds one JSON object a line: `batch, by, at, path, sha256, action, label,
expected, note`, or `batch, by, at, action=undo, undoes`, or `batch, by, at, path, action=refused,
undoes`, or `batch, by, at, action=apply, note` (a curation was applied: `snapshots.py`). It is
append-only and flushed to the disk before a decision counts as saved; it is the only file of a
workspace that cannot be computed again. What a line means is in `decisions.py`, the verdicts that
follow are in `verdicts.py`. Each line also has an `order`, by which journals are merged
(`order.py`).
"""

import json
import operator
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path

from curate.errors import JournalError
from curate.files import ignore_sigint
from curate.labels import VOCABULARY
from curate.names import mend_halves
from curate.stderr import cannot_write, note_change
from curate.workspace.journal.decisions import ACTIONS, APPLY, VERDICTS, Decision
from curate.workspace.journal.order import (
    Place,
    last_place,
    set_orders,
    set_seen,
    sort_key,
    sort_lines,
    split_order,
)
from curate.workspace.locks import holding

_PART = 1 << 16  # bytes in which the last line is looked for from the end
LOCK_SECONDS = 10  # that a command waits for another one to finish writing


def read_journal(file: Path) -> list[Decision]:
    """Every decision, oldest first.

    Raises
    ------
    JournalError  if a whole line is not a decision
    """
    return parse_journal(read_bytes(file), file.name)


def read_bytes(file: Path) -> bytes:
    """The bytes of a journal, none if there is no file.

    Line ends of Windows, which git or an editor may have put in, are read as our own.
    """
    return file.read_bytes().replace(b"\r\n", b"\n") if file.is_file() else b""


def parse_journal(data: bytes, name: str) -> list[Decision]:
    """The decisions in the bytes of a journal, oldest first.

    A last line without its line end counts if it is whole, a JSON value; else it was cut off while
    it was written, so it was never acknowledged, and is left out.

    Raises
    ------
    JournalError  if a whole line is not a decision; `name` is that of the file
    """
    lines = [
        parse_line(line, f"{name} line {number}")
        for number, line in enumerate(split_lines(data)[0], start=1)
        if line.strip()
    ]
    keys = [sort_key(line) for line in lines if line.order]
    # In their order but for lines that a person or another program has put together.
    is_sorted = len(keys) == len(lines) and all(map(operator.lt, keys, keys[1:]))
    return lines if is_sorted or not keys else sort_lines(lines)


def split_lines(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole lines of a journal, and what is behind them: the start of a line that was cut off.

    A part of a JSON object is never JSON itself, so a last line that is needs no line end.
    """
    *lines, tail = data.split(b"\n")
    if not tail.strip():
        return lines, b""
    try:
        json.loads(tail)
    except (ValueError, RecursionError):
        return lines, tail
    return [*lines, tail], b""


def _read_last(file: Path) -> tuple[int, bytes]:
    """Where the last line begins, and its bytes: those behind the last line end."""
    if not file.is_file():
        return 0, b""
    data = b""
    with file.open("rb") as stream:
        start = stream.seek(0, os.SEEK_END)
        while start and b"\n" not in data:
            size = min(start, _PART)
            start = stream.seek(start - size)
            data = stream.read(size) + data
    last = data.rpartition(b"\n")[2]
    return start + len(data) - len(last), last


def _find_end(file: Path) -> tuple[int, bytes]:
    """How many bytes of a journal stay when a line is appended, and what must go before that."""
    start, last = _read_last(file)
    whole, cut = split_lines(last)
    end = start + len(last) - len(cut)
    return end, b"\n" if whole or (start and end > start) else b""


def describe_cut(file: Path) -> list[str]:
    """A note for the user if the next decision will remove the start of a line; else nothing."""
    tail = split_lines(_read_last(file)[1])[1]
    if not tail:
        return []
    shown = tail[:80].decode(errors="backslashreplace")
    return [
        f"{file.name}: the last line was cut off while it was written, so it was never saved; "
        f"its {len(tail):,} bytes are removed ({json.dumps(shown)[1:-1]})"
    ]


def append_decisions(file: Path, decisions: Sequence[Decision]) -> None:
    """Append to the journal and flush to the disk; when this returns, the decisions are safe.

    Raises
    ------
    JournalError  if another program holds the journal for `LOCK_SECONDS`
    WorkspaceError  if the line could not be written whole; the journal is then as it was
    """
    with lock_journal(file), ignore_sigint():
        append_locked(file, decisions)


@contextmanager
def lock_journal(file: Path) -> Iterator[None]:
    """Keep other writers of the journal out, so that what was read still holds for the append.

    The lock is beside the file itself, so writers that reach it by different links share it.

    Raises
    ------
    JournalError  if another program holds it for `LOCK_SECONDS`; Ctrl-C ends the wait
    """
    target = file.resolve()

    def refuse(holder: str) -> JournalError:
        return JournalError(
            f"{file}: another program is writing here{holder}: nothing was recorded; wait until it "
            "is done, or end it"
        )

    with holding(target.with_name(f".{target.name}.lock"), LOCK_SECONDS, file, refuse):
        yield


def append_locked(
    file: Path,
    decisions: Sequence[Decision],
    *,
    known: Sequence[Decision] | None = None,
    after: Place | None = None,
) -> None:
    """`append_decisions` for a caller that holds `lock_journal`.

    Parameters
    ----------
    known : the lines of the journal, if the caller has them; else it is read
    after : the last place of these lines
    """
    journal = read_journal(file) if known is None else known
    after = last_place(journal) if after is None else after
    end, gap = _find_end(file)
    lines_made = set_orders(set_seen(decisions, journal), after=after)
    data = gap + b"".join(map(to_line, lines_made))
    try:
        with file.open("ab", buffering=0) as stream:
            stream.truncate(end)  # a line that was cut off was never acknowledged
            try:
                rest = memoryview(data)
                # Unbuffered: what a full disk refused must not be written when the file is closed.
                while rest:
                    rest = rest[stream.write(rest) :]
                os.fsync(stream.fileno())
            except BaseException:  # Ctrl-C too: what was not acknowledged does not count
                os.truncate(file, end)
                raise
        note_change(file)
    except OSError as error:
        raise cannot_write(file, error) from error


_decode = json.JSONDecoder().raw_decode
_NAMES = frozenset(each.name for each in fields(Decision))
_NEEDED = frozenset({"batch", "by", "at", "action"})  # the fields without a default
# The order of the fields in a line, not that of `Decision`; a field not named here is last.
_FIRST = (
    "batch", "by", "at", "path", "sha256", "action", "label", "expected", "undoes", "note", "order",
    "seen", "equal_files",
)  # fmt: skip
# Fields that an action does not use and its lines leave out.
_UNUSED = {
    **dict.fromkeys(VERDICTS, ("undoes",)),
    "undo": ("path", "sha256", "label", "expected", "seen"),
    "refused": ("label", "expected", "seen"),
    APPLY: ("path", "sha256", "label", "expected", "undoes", "seen"),
}


def to_line(decision: Decision) -> bytes:
    """The decision as a line of the journal: every field but those that its action does not use."""
    values = asdict(decision)
    earlier = [
        name for name in ("order", "seen", "equal_files") if not values[name]
    ]  # of an earlier version
    unused = (*_UNUSED[decision.action], *earlier)
    names = [name for name in dict.fromkeys((*_FIRST, *values)) if name not in unused]
    text = json.dumps({name: values[name] for name in names}, ensure_ascii=False)
    # Half of a character, which no encoding has, becomes an escape of JSON and is read back alike.
    return text.encode(errors="backslashreplace") + b"\n"


def _parse_plain(line: bytes) -> Decision | None:
    """`parse_line` of what `to_line` writes, in half of the time; None for any other line."""
    if b"\\u" in line:
        return None
    try:
        text = line.decode()
        values, end = _decode(text)
    except (ValueError, RecursionError):
        return None
    if end != len(text) or type(values) is not dict or set(map(type, values.values())) != {str}:
        return None
    if not _NEEDED <= values.keys() <= _NAMES:
        return None
    line_made = object.__new__(Decision)
    line_made.__dict__.update(values)
    return line_made if _is_valid(line_made) else None


def parse_line(line: bytes, where: str) -> Decision:
    """The decision in a line; JournalError if it is none. `where` names the line in the message."""
    plain = _parse_plain(line)
    if plain is not None:
        return plain
    try:
        values = {str(name): str(value) for name, value in json.loads(line).items()}
        if b"\\ud" in line.lower():  # perhaps half of a character, which no file can hold
            values = {name: mend_halves(value) for name, value in values.items()}
        decision = Decision(**values)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise JournalError(
            f"{where}: not a decision ({line[:60]!r}): restore the line from a copy of the journal"
        ) from error
    if not _is_valid(decision):
        raise JournalError(
            f"{where}: action '{decision.action}' with label '{decision.label}' is no decision: "
            f"actions are {', '.join(ACTIONS)}"
        )
    return decision


def _is_valid(decision: Decision) -> bool:
    if decision.action not in ACTIONS or (decision.order and not split_order(decision.order)):
        return False
    if decision.action not in VERDICTS:
        return bool(decision.note if decision.action == APPLY else decision.undoes)
    if decision.action == "relabel" or (decision.action == "keep" and decision.label):
        return bool(decision.path and decision.sha256 and decision.label in VOCABULARY)
    return bool(decision.path and decision.sha256)
