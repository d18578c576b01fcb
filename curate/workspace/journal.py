"""The journal of human decisions, and the one function that turns facts and decisions into verdicts.

`decisions.jsonl` holds one JSON object a line: `batch, by, at, path, sha256, action, label, expected, note`, or
`batch, by, at, action=undo, undoes`, or `batch, by, at, path, action=refused, undoes`. It is append-only and flushed to
the disk before anybody is told "saved"; it is the only file of a workspace that cannot be computed again. `derive_verdicts` is pure
and replays the whole journal, so applying twice is applying once (law 2), and the undo of a batch restores the table
exactly (law 3).

A session of `curate relabel` is one batch, and each key of it a batch within, named `SESSION.KEY`: one key can be undone
alone, or the whole session by its name. A `refused` line voids one image of a batch: somebody else was faster.
"""

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from filelock import FileLock

from curate.errors import JournalError, examples
from curate.files import cannot_write
from curate.labels import VOCABULARY
from curate.workspace.manifest import split_face

VERDICTS = ("keep", "relabel", "drop", "unsure")
ACTIONS = (*VERDICTS, "undo", "refused")


@dataclass(frozen=True)
class Decision:
    """One line of the journal.

    `expected` is the label that the person saw when deciding; `sha256` binds the decision to the bytes that were seen.
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


@dataclass(frozen=True)
class CurrentDecisions:
    """What the journal says about one table: the decision that stands for a path, moved files, and stale decisions.

    `moved` maps the path and the sha256 of a line of the journal to the path that these bytes have now, if it is another.
    """

    by_path: dict[str, Decision]
    moved: dict[tuple[str, str], str]
    stale: tuple[Decision, ...]


def derive_verdicts(manifest: pd.DataFrame, journal: Sequence[Decision]) -> pd.DataFrame:
    """Derive `label`, `status` and `reason` of every row.

    The rule: the newest standing human decision; else drop if unreadable, degenerate or a redundant copy; else keep with
    the given label. A copy is redundant only while the row it points to is kept and agrees with its given label, so an
    original that is dropped later gives its copies back instead of losing the photograph. A redundant copy carries the
    label of the row it points to: it is the same photograph, and a person who relabels one relabels it.
    """
    standing = current_decisions(manifest, journal).by_path
    human = {path: decision for path, decision in standing.items() if decision.action != "unsure"}
    relabelled = {
        path: decision.label for path, decision in human.items() if decision.action == "relabel"
    }
    dropped = {path for path, decision in human.items() if decision.action == "drop"}

    path, given = manifest["path"], manifest["given_label"]
    is_human = path.isin(list(human))
    verdicts = [relabelled.get(*pair) for pair in zip(path, given, strict=True)]
    label = pd.Series(verdicts, index=manifest.index, dtype=given.dtype)
    reason = pd.Series("", index=manifest.index, dtype=given.dtype)
    reason[manifest["quality"] != ""] = "degenerate"
    reason[manifest["pixel_hash"] == ""] = "unreadable"
    reason[is_human] = "human"
    is_kept = (reason == "") | (is_human & ~path.isin(list(dropped)))

    originals = pd.DataFrame({"given": given, "label": label})[is_kept].set_index(path[is_kept])
    pointed = originals.reindex(manifest["duplicate_of"]).set_index(manifest.index)
    redundant = (reason == "") & ((pointed["given"] == given) | (pointed["label"] == given))
    reason[redundant] = manifest.loc[redundant, "duplicate_kind"] + "_copy"
    label[redundant] = pointed.loc[redundant, "label"]
    status = (is_kept & ~redundant).map({True: "keep", False: "drop"}).astype(given.dtype)
    return manifest.assign(label=label, status=status, reason=reason)


def current_decisions(manifest: pd.DataFrame, journal: Sequence[Decision]) -> CurrentDecisions:
    """The newest decision about each image that no undo has voided.

    A decision follows the bytes: where its path holds other bytes now, or is gone, and its sha256 (with its face number)
    appears exactly once elsewhere, the file was moved and the decision goes with it; otherwise it is stale, listed and not
    applied.
    """
    sha256_at = dict(zip(manifest["path"], manifest["sha256"], strict=True))
    # The faces of one picture share its bytes; their number tells them apart.
    bytes_of = pd.Series(
        [(sha256, split_face(path)[1]) for path, sha256 in sha256_at.items()], dtype=object
    )
    once = ~bytes_of.duplicated(keep=False).to_numpy()
    path_of = dict(zip(bytes_of[once], manifest["path"][once], strict=True))
    gone = [line for line in journal if line.sha256 and sha256_at.get(line.path) != line.sha256]
    found = [(line, path_of.get((line.sha256, split_face(line.path)[1]))) for line in gone]
    moved = {(line.path, line.sha256): here for line, here in found if here is not None}
    by_path: dict[str, Decision] = {}
    stale: dict[str, Decision] = {}
    for decision in drop_undone(journal):
        is_here = sha256_at.get(decision.path) == decision.sha256
        here = decision.path if is_here else moved.get((decision.path, decision.sha256))
        if here is None:
            stale[decision.path] = decision
        else:
            by_path[here] = decision
            stale.pop(here, None)  # decided again, about the bytes of now
    return CurrentDecisions(by_path, moved, tuple(stale.values()))


def drop_undone(journal: Sequence[Decision]) -> list[Decision]:
    """The decisions that stand, oldest first; the undo of an undo brings its batch back."""
    undone: set[str] = set()
    refused: set[tuple[str, str]] = set()
    standing: list[Decision] = []
    for decision in reversed(journal):
        if decision.batch in undone or session_of(decision.batch) in undone:
            continue
        if decision.action == "undo":
            undone.add(decision.undoes)
        elif decision.action == "refused":
            refused.add((decision.undoes, decision.path))
        elif (decision.batch, decision.path) not in refused:
            standing.append(decision)
    return standing[::-1]


def session_of(batch: str) -> str:
    """The batch that a summary names: SESSION of `SESSION.KEY`, any other batch itself."""
    return batch.partition(".")[0]


def new_batch(by: str) -> Decision:
    """A blank decision with the batch name (UTC time and six random hex digits) and time that a batch shares."""
    now = datetime.now(UTC)
    return Decision(
        f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
        by,
        now.isoformat(timespec="seconds"),
        "unsure",
    )


def new_decisions(
    manifest: pd.DataFrame, wanted: Sequence[tuple[str, str, str]], *, note: str = "", by: str
) -> list[Decision]:
    """One batch of decisions, bound to the bytes and labels of now, ready to be appended.

    Parameters
    ----------
    wanted : (path, action, label) each; the label is empty unless the action is relabel

    Raises
    ------
    JournalError  if nothing is wanted, a path is not in the manifest, an action is unknown, or a relabel names no class
    """
    _check_wanted(manifest, wanted)
    rows = manifest.set_index("path")
    blank = replace(new_batch(by), note=note)
    return [
        replace(
            blank,
            action=action,
            label=label if action == "relabel" else "",
            path=path,
            sha256=str(rows.at[path, "sha256"]),
            expected=str(rows.at[path, "label"]),
        )
        for path, action, label in wanted
    ]


def _check_wanted(manifest: pd.DataFrame, wanted: Sequence[tuple[str, str, str]]) -> None:
    if not wanted:
        raise JournalError("there is nothing to decide: the list of images is empty")
    known = set(manifest["path"])
    unknown = [path for path, _, _ in wanted if path not in known]
    if unknown:
        raise JournalError(
            f"{len(unknown)} paths are not in the manifest ({examples(unknown)}): copy them from its path column"
        )
    unreadable = set(manifest.loc[manifest["pixel_hash"] == "", "path"])
    kept = [
        path for path, action, _ in wanted if path in unreadable and action in ("keep", "relabel")
    ]
    if kept:
        raise JournalError(
            f"{len(kept)} images cannot be read, so none can learn from them ({examples(kept)}): drop them"
        )
    actions = [action for _, action, _ in wanted if action not in VERDICTS]
    if actions:
        raise JournalError(
            f"{len(actions)} actions are unknown ({examples(actions)}): keep, relabel, drop or unsure"
        )
    labels = [
        label for _, action, label in wanted if action == "relabel" and label not in VOCABULARY
    ]
    if labels:
        raise JournalError(
            f"{len(labels)} labels are no class ({examples(labels)}): choose of {', '.join(VOCABULARY)}"
        )


def undo_batch(
    journal: Sequence[Decision], batch: str, *, by: str, note: str = ""
) -> list[Decision]:
    """The line that voids a batch.

    Raises
    ------
    JournalError  if no such batch stands in the journal
    """
    known = [decision.batch for decision in journal]
    sessions = list(dict.fromkeys(map(session_of, known)))
    if batch not in known and batch not in sessions:
        last = sessions[-3:]
        raise JournalError(
            f"no batch '{batch}' in the journal (newest: {examples(last) or 'none yet'})"
        )
    return [replace(new_batch(by), action="undo", undoes=batch, note=note)]


def read_journal(file: Path) -> list[Decision]:
    """Every decision, oldest first; a last line without its line end was never acknowledged and is left out.

    Raises
    ------
    JournalError  if a whole line is not a decision
    """
    if not file.is_file():
        return []
    lines = file.read_bytes().split(b"\n")[:-1]
    return [
        parse_line(line, f"{file.name} line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def append_decisions(file: Path, decisions: Sequence[Decision]) -> None:
    """Append to the journal and flush to the disk; when this returns, the decisions are safe.

    Raises
    ------
    WorkspaceError  if the line could not be written whole; the journal is then as it was
    """
    with lock_journal(file):
        append_locked(file, decisions)


@contextmanager
def lock_journal(file: Path) -> Iterator[None]:
    """Keep other writers of the journal out, so that what was read still holds when a line is appended."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(file.with_name(f".{file.name}.lock")).acquire()
    except OSError as error:
        raise cannot_write(file, error) from error
    with held:
        yield


def append_locked(file: Path, decisions: Sequence[Decision]) -> None:
    """`append_decisions` for a caller that holds `lock_journal`."""
    data = b"".join(map(to_line, decisions))
    try:
        with file.open("ab", buffering=0) as stream:
            end = file.read_bytes().rfind(b"\n") + 1  # a torn tail was never acknowledged
            stream.truncate(end)
            try:
                rest = memoryview(data)
                while rest:  # unbuffered: what a full disk refused must not be written again when the file is closed
                    rest = rest[stream.write(rest) :]
                os.fsync(stream.fileno())
            except BaseException:  # Ctrl-C too: what was not acknowledged does not stand
                os.truncate(file, end)
                raise
    except OSError as error:
        raise cannot_write(file, error) from error


_FIELDS = {
    "undo": ("batch", "by", "at", "action", "undoes", "note"),
    "refused": ("batch", "by", "at", "path", "sha256", "action", "undoes", "note"),
}
_FIELDS_OF_VERDICT = ("batch", "by", "at", "path", "sha256", "action", "label", "expected", "note")


def to_line(decision: Decision) -> bytes:
    """The decision as a line of the journal."""
    values = asdict(decision)
    names = _FIELDS.get(decision.action, _FIELDS_OF_VERDICT)
    return json.dumps({name: values[name] for name in names}, ensure_ascii=False).encode() + b"\n"


def parse_line(line: bytes, where: str) -> Decision:
    """The decision in a line; JournalError if it holds none."""
    try:
        decision = Decision(**{str(name): str(value) for name, value in json.loads(line).items()})
    except (ValueError, TypeError, AttributeError) as error:
        raise JournalError(
            f"{where}: not a decision ({line[:60]!r}): restore the line from a copy of the journal"
        ) from error
    needs = decision.undoes if decision.action in _FIELDS else decision.path and decision.sha256
    if (
        decision.action not in ACTIONS
        or not needs
        or (decision.action == "relabel" and decision.label not in VOCABULARY)
    ):
        raise JournalError(
            f"{where}: action '{decision.action}' with label '{decision.label}' is no decision: actions are {', '.join(ACTIONS)}"
        )
    return decision
