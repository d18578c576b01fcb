"""The journal of decisions, and the verdicts derived from the facts and the journal.

`decisions.jsonl` holds one JSON object a line: `batch, by, at, path, sha256, action, label,
expected, note`, or `batch, by, at, action=undo, undoes`, or `batch, by, at, path, action=refused,
undoes`, or `batch, by, at, action=apply, note` (a curation was applied: `snapshots.py`). It is
append-only and flushed to the disk before a decision counts as saved; it is the only file of a
workspace that cannot be computed again. `derive_verdicts` is pure and replays the whole journal, so
applying twice is applying once (law 2), and the undo of a batch restores the table exactly (law 3).
Each line also has an `order`, by which journals are merged (`order.py`).

A session of `curate relabel` is one batch, and each key pressed in it a batch within, named
`SESSION.KEY`: one key can be undone alone, or the whole session by its name. A `refused` line voids
one image of a batch, because another reviewer was faster.

Suggestions that are accepted without a look (`curate decide --accept-suggestions`) are lines by
`machine:<model set>`. They set a label and nothing else: any decision of a person about the image
counts before them, whichever is newer.

A consensus of the reviewers (`curate decide --consensus`) is lines by `consensus:<model set>`. They
count like a person's, the newest first, and are no reviewer's own verdicts.
"""

import json
import operator
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from filelock import Timeout

from curate.errors import JournalError, examples
from curate.files import ignore_sigint
from curate.labels import VOCABULARY
from curate.names import clean_name, mend_halves
from curate.stderr import cannot_write, note_change
from curate.workspace.locks import describe_holder, hold_lock
from curate.workspace.manifest import split_face
from curate.workspace.order import (
    Place,
    last_place,
    set_orders,
    set_seen,
    sort_key,
    sort_lines,
    split_order,
)

VERDICTS = ("keep", "relabel", "drop", "unsure")
APPLY = "apply"  # a curation was applied: the note names it, the batch holds its decisions
ABOUT_NO_IMAGE = ("undo", "refused", APPLY)  # actions that decide about no image
ACTIONS = (*VERDICTS, *ABOUT_NO_IMAGE)
MACHINE = "machine:"  # begins the name of who decides, where that is no person
CONSENSUS = "consensus:"  # begins the name of a consensus of people
_PART = 1 << 16  # bytes in which the last line is looked for from the end
LOCK_SECONDS = 10  # that a command waits for another one to finish writing


@dataclass(frozen=True)
class Decision:
    """One line of the journal.

    `sha256` and `expected` bind the decision to what the person saw: the bytes of the image, and
    the label that it had then. Empty fields are those that the action does not need. `label` is the
    class of a relabel, and that of a keep if it is not plainly `expected` (`name_kept_labels`).
    `order` is its place among all lines, and no part of what was decided: two lines that differ in
    it alone are equal. `seen` are the batches of the newest decisions about the image that its
    journal held then, `-` if there was none; decisions that have not seen each other are
    concurrent. A new field has a default, so that old lines are still read.
    """

    batch: str
    by: str
    at: str
    action: str
    path: str = ""
    sha256: str = ""
    label: str = ""
    expected: str = ""
    note: str = ""
    undoes: str = ""
    order: str = field(default="", compare=False)
    seen: str = field(default="", compare=False)


@dataclass(frozen=True)
class BatchHeader:
    """What the lines of one batch share: its name, reviewer, time (UTC, ISO 8601) and note.

    A field of `Decision` that is the same for all of them also belongs here.
    """

    batch: str
    by: str
    at: str
    note: str = ""

    def to_decision(self, action: str, **values: str) -> Decision:
        """A line of this batch; `values` are further fields of `Decision`."""
        return Decision(self.batch, self.by, self.at, action, note=self.note, **values)


@dataclass(frozen=True)
class CurrentDecisions:
    """The journal matched to one manifest.

    Attributes
    ----------
    by_path : path of the manifest -> its newest decision that is not undone; a machine's only where
        no person has decided
    moved : (path, sha256) of a line of the journal -> the path of these bytes now, if it is another
    stale : decisions about bytes that are not in the manifest any more; they are not applied
    """

    by_path: dict[str, Decision]
    moved: dict[tuple[str, str], str]
    stale: tuple[Decision, ...]


def derive_verdicts(manifest: pd.DataFrame, journal: Sequence[Decision]) -> pd.DataFrame:
    """Derive `label`, `status` and `reason` of every row; the only function that computes them.

    The newest human decision that is not undone or unsure wins. Without one, a row is dropped if it
    is unreadable, degenerate or a redundant copy, else kept with the label that a machine's
    decision gives it (reason `machine`), else with the given label. A keep means the label that the
    person saw, so a given label that a source changes later does not replace it.

    A copy is redundant only while the row it points to is kept and agrees with its given label:
    once that row is dropped, its copies are kept again, so the image is not lost. A redundant copy
    has the label of the row it points to, because a relabelled image is relabelled in all its
    copies.

    Returns
    -------
    the manifest with the three columns replaced; pure, and the same when it is applied twice
    """
    decisions = current_decisions(manifest, name_kept_labels(journal)).by_path
    human = {
        path: made
        for path, made in decisions.items()
        if made.action != "unsure" and not is_machine(made.by)
    }
    chosen = {
        path: made.label for path, made in human.items() if made.action != "drop" and made.label
    }
    dropped = {path for path, made in human.items() if made.action == "drop"}

    path, given = manifest["path"], manifest["given_label"]
    is_human = path.isin(list(human))
    labels = [chosen.get(*pair) for pair in zip(path.tolist(), given.tolist(), strict=True)]
    label = pd.Series(labels, index=manifest.index, dtype=given.dtype)
    reason = pd.Series("", index=manifest.index, dtype=given.dtype)
    reason[manifest["quality"] != ""] = "degenerate"
    reason[manifest["pixel_hash"] == ""] = "unreadable"
    reason[is_human] = "human"
    by_machine = _machine_labels(manifest, decisions)
    is_machine_label = (reason == "") & (by_machine != "")
    label = label.mask(is_machine_label, by_machine)
    is_kept = (reason == "") | (is_human & ~path.isin(list(dropped)))

    kept = pd.DataFrame({"given": given, "label": label})[is_kept].set_index(path[is_kept])
    original = kept.reindex(manifest["duplicate_of"]).set_index(manifest.index)
    is_redundant = (reason == "") & ((original["given"] == given) | (original["label"] == given))
    reason[is_redundant] = manifest.loc[is_redundant, "duplicate_kind"] + "_copy"
    label[is_redundant] = original.loc[is_redundant, "label"]
    reason[is_machine_label & ~is_redundant] = "machine"
    status = (is_kept & ~is_redundant).map({True: "keep", False: "drop"}).astype(given.dtype)
    return manifest.assign(label=label, status=status, reason=reason)


def _machine_labels(manifest: pd.DataFrame, decisions: Mapping[str, Decision]) -> "pd.Series[str]":
    """The label that a machine's decision gives each row; empty for none.

    It holds while the given label is the one that the models judged.
    """
    chosen = {
        (path, made.expected): made.label
        for path, made in decisions.items()
        if is_machine(made.by) and made.action == "relabel"
    }
    pairs = zip(manifest["path"].tolist(), manifest["given_label"].tolist(), strict=True)
    labels = [chosen.get(pair, "") for pair in pairs]
    return pd.Series(labels, manifest.index, dtype=manifest["given_label"].dtype)


def current_decisions(manifest: pd.DataFrame, journal: Sequence[Decision]) -> CurrentDecisions:
    """The newest decision about each image that is not undone.

    A decision follows the bytes. If its path is gone or has other bytes now, and its sha256 (with
    its face number) is found exactly once elsewhere, the file was moved and the decision goes with
    it. Otherwise the decision is stale: listed and not applied.
    """
    sha256_at = dict(zip(manifest["path"].tolist(), manifest["sha256"].tolist(), strict=True))
    moved = _find_moved(sha256_at, journal)
    by_path: dict[str, Decision] = {}
    stale: dict[str, Decision] = {}
    for decision in drop_undone(journal):
        is_here = sha256_at.get(decision.path) == decision.sha256
        here = decision.path if is_here else moved.get((decision.path, decision.sha256))
        if here is None:
            stale[decision.path] = decision
        elif not is_machine(decision.by) or here not in by_path or is_machine(by_path[here].by):
            by_path[here] = decision
            stale.pop(here, None)  # decided again, about the present bytes
    return CurrentDecisions(by_path, moved, tuple(stale.values()))


def list_decided(manifest: pd.DataFrame, journal: Sequence[Decision]) -> frozenset[str]:
    """The paths of the images with a current decision of a person; unsure is none."""
    by_path = current_decisions(manifest, journal).by_path
    return frozenset(
        path
        for path, made in by_path.items()
        if made.action != "unsure" and not is_machine(made.by)
    )


def _find_moved(
    sha256_at: Mapping[str, str], journal: Sequence[Decision]
) -> dict[tuple[str, str], str]:
    """`CurrentDecisions.moved`, given path -> sha256 of the manifest."""
    gone = [line for line in journal if line.sha256 and sha256_at.get(line.path) != line.sha256]
    if not gone:
        return {}
    paths_of: dict[tuple[str, str], list[str]] = {}
    for path, sha256 in sha256_at.items():
        # The faces of one picture share its bytes and differ in their number.
        paths_of.setdefault((sha256, split_face(path)[1]), []).append(path)
    moved = {}
    for line in gone:
        paths = paths_of.get((line.sha256, split_face(line.path)[1]), [])
        if len(paths) == 1:
            moved[line.path, line.sha256] = paths[0]
    return moved


def drop_undone(journal: Sequence[Decision]) -> list[Decision]:
    """The decisions that are neither undone nor refused, oldest first.

    An undo names a batch, or a session and so all its batches. The journal is read from its end, so
    that an undo which is itself undone has no effect: the batch it voided is back.
    """
    return [line for line in _drop_void(journal) if line.action != APPLY]


def list_applied(journal: Sequence[Decision]) -> list[Decision]:
    """The lines of `curate apply` that are not undone, oldest first."""
    return [line for line in _drop_void(journal) if line.action == APPLY]


def _drop_void(journal: Sequence[Decision]) -> list[Decision]:
    """`drop_undone`, with the lines of `curate apply`."""
    undone: set[str] = set()
    refused: set[tuple[str, str]] = set()
    current: list[Decision] = []
    for decision in reversed(journal):
        if decision.batch in undone or session_of(decision.batch) in undone:
            continue
        if decision.action == "undo":
            undone.add(decision.undoes)
        elif decision.action == "refused":
            refused.add((decision.undoes, decision.path))
        elif (decision.batch, decision.path) not in refused:
            current.append(decision)
    return current[::-1]


def name_kept_labels(journal: Sequence[Decision]) -> list[Decision]:
    """The journal, with the label that the person kept as `label` of every keep.

    It is the label that the line names or, without one, `expected`: the label that the person saw.
    Earlier versions named none, and also wrote a keep after a relabel, which meant the label under
    it: if a relabel to `expected` counted then, the kept label is the one that this relabel had
    replaced. A line without `expected` keeps its empty label: the given label of now.
    """
    named: list[Decision] = []
    about: dict[tuple[str, str], list[int]] = {}  # the bytes and face -> their lines so far
    voids: list[int] = []  # the undos and refusals so far
    for number, line in enumerate(journal):
        if line.action not in VERDICTS:
            voids.append(number)
            named.append(line)
            continue
        earlier = about.setdefault((line.sha256, split_face(line.path)[1]), [])
        is_relabelled = any(_is_relabel_to(line.expected, journal[k]) for k in earlier)
        before = [journal[k] for k in sorted([*earlier, *voids])] if is_relabelled else []
        named.append(_name_kept_label(line, before))
        earlier.append(number)
    return named


def _name_kept_label(line: Decision, before: Sequence[Decision]) -> Decision:
    """One line of `name_kept_labels`.

    Parameters
    ----------
    before : the earlier lines about the image, and those that void any; empty if none is a relabel
        to what the line expects
    """
    if line.action != "keep" or line.label or line.expected not in VOCABULARY:
        return line
    label, standing = line.expected, drop_undone(before) if before else []
    while standing and _is_relabel_to(label, standing[-1]):
        label = standing.pop().expected
    named = object.__new__(Decision)  # `replace` takes most of the time of a large journal
    named.__dict__.update(line.__dict__, label=label if label in VOCABULARY else "")
    return named


def _is_relabel_to(label: str, line: Decision) -> bool:
    return line.action == "relabel" and line.label == label


def is_machine(by: str) -> bool:
    """Whether a line by this name was decided by models, not by a person."""
    return by.startswith(MACHINE)


def is_consensus(by: str) -> bool:
    """Whether a line by this name is what several people, and models, agree on most."""
    return by.startswith(CONSENSUS)


def session_of(batch: str) -> str:
    """The session of a batch: SESSION of `SESSION.KEY`; any other batch is its own session."""
    return batch.partition(".")[0]


def new_batch(by: str, *, name: str = "", note: str = "") -> BatchHeader:
    """The header of a batch that starts now.

    Parameters
    ----------
    name : of the batch; empty for a new one, UTC time and six random hex digits
    """
    now = datetime.now(UTC)
    batch = name or f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    at = now.isoformat(timespec="seconds")
    return BatchHeader(batch, clean_name(by), at, mend_halves(note))


def new_decisions(
    manifest: pd.DataFrame, wanted: Sequence[tuple[str, str, str]], *, note: str = "", by: str
) -> list[Decision]:
    """One batch of decisions, bound to the present bytes and labels, ready to be appended.

    A keep keeps the label that the manifest shows now.

    Parameters
    ----------
    wanted : (path, action, label) each; the label is empty unless the action is relabel

    Raises
    ------
    JournalError  if nothing is wanted, a path is not in the manifest, an action is unknown, or a
        relabel names no class
    """
    _check_wanted(manifest, wanted)
    rows = manifest.set_index("path")
    header = new_batch(by, note=note)
    return [
        header.to_decision(
            action,
            label={"relabel": label, "keep": _kept_label(rows, path)}.get(action, ""),
            path=path,
            sha256=str(rows.at[path, "sha256"]),
            expected=str(rows.at[path, "label"]),
        )
        for path, action, label in wanted
    ]


def _kept_label(rows: pd.DataFrame, path: str) -> str:
    """The label of a keep, if it must be named: where a person or a copy has set it before."""
    label = str(rows.at[path, "label"])
    is_set = rows.at[path, "reason"] == "human" and rows.at[path, "status"] == "keep"
    return label if is_set or label != rows.at[path, "given_label"] else ""


def _check_wanted(manifest: pd.DataFrame, wanted: Sequence[tuple[str, str, str]]) -> None:
    if not wanted:
        raise JournalError("there is nothing to decide: the list of images is empty")
    known = set(manifest["path"])
    unknown = [path for path, _, _ in wanted if path not in known]
    if unknown:
        raise JournalError(
            f"{len(unknown)} paths are not in the manifest ({examples(unknown)}): "
            "copy them from its path column"
        )
    _check_readable(manifest, wanted)
    actions = [action for _, action, _ in wanted if action not in VERDICTS]
    if actions:
        raise JournalError(
            f"{len(actions)} actions are unknown ({examples(actions)}): "
            "keep, relabel, drop or unsure"
        )
    _check_labels(wanted)


def _check_readable(manifest: pd.DataFrame, wanted: Sequence[tuple[str, str, str]]) -> None:
    unreadable = set(manifest.loc[manifest["pixel_hash"] == "", "path"])
    used = [path for path, action, _ in wanted if action in ("keep", "relabel")]
    useless = [path for path in used if path in unreadable]
    if useless:
        raise JournalError(
            f"{len(useless)} images cannot be read, so no model can learn from them "
            f"({examples(useless)}): drop them"
        )


def _check_labels(wanted: Sequence[tuple[str, str, str]]) -> None:
    labels = [label for _, action, label in wanted if action == "relabel"]
    foreign = [label for label in labels if label not in VOCABULARY]
    if foreign:
        raise JournalError(
            f"{len(foreign)} labels are no class ({examples(foreign)}): "
            f"choose one of {', '.join(VOCABULARY)}"
        )


def undo_batch(
    journal: Sequence[Decision], batch: str, *, by: str, note: str = ""
) -> list[Decision]:
    """The line that voids a batch or a session.

    Raises
    ------
    JournalError  if the journal has no such batch
    """
    known = [decision.batch for decision in journal]
    sessions = list(dict.fromkeys(map(session_of, known)))
    if batch not in known and batch not in sessions:
        last = sessions[-3:]
        raise JournalError(
            f"no batch '{batch}' in the journal (newest: {examples(last) or 'none yet'})"
        )
    return [new_batch(by, note=note).to_decision("undo", undoes=batch)]


def read_journal(file: Path) -> list[Decision]:
    """Every decision, oldest first.

    Raises
    ------
    JournalError  if a whole line is not a decision
    """
    return parse_journal(read_bytes(file), file.name)


def read_bytes(file: Path) -> bytes:
    """The bytes of a journal, none if there is no file."""
    return file.read_bytes() if file.is_file() else b""


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
    lock = target.with_name(f".{target.name}.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        held = hold_lock(lock, LOCK_SECONDS)
    except Timeout as error:
        raise JournalError(
            f"{file}: another program is writing here{describe_holder(lock)}: nothing was "
            "recorded; wait until it is done, or end it"
        ) from error
    except OSError as error:
        raise cannot_write(file, error) from error
    try:
        yield
    finally:
        held.release()


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
    "seen",
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
    earlier = [name for name in ("order", "seen") if not values[name]]  # of an earlier version
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
