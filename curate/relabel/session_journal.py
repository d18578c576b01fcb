"""The journal in one session: the current decision about each image, and checked appends.

A request names the batch that was current when the person looked at the image. Under the journal's
lock it is appended only if that batch is still current. Each read continues where the last one
ended, and holds only the lines that can decide about an image of the session: a key costs what the
session's images cost, however long the journal is.
"""

import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from curate.errors import JournalError, amount
from curate.relabel.session import Image, Session
from curate.review.reviewers import ADJUDICATED
from curate.workspace.journal.decisions import (
    BatchHeader,
    Decision,
    drop_undone,
    is_machine,
    name_kept_labels,
)
from curate.workspace.journal.file import append_locked, lock_journal, parse_line, split_lines
from curate.workspace.journal.order import (
    START,
    Place,
    last_place,
    set_orders,
    sort_key,
    sort_lines,
)
from curate.workspace.journal.verdicts import choose_decision

END_BYTES = 4096  # of what was read, by which the file is known again


@dataclass(frozen=True)
class State:
    """The label of an image, and the last decision about it (all empty if there is none).

    `is_done` : this session need not show the image: it is decided, or its disagreement is settled.
    """

    label: str
    action: str = ""
    by: str = ""
    batch: str = ""
    is_done: bool = False


@dataclass(frozen=True)
class DecisionRequest:
    """One decision of a person: `expected` is the label and `seen` the batch on their screen."""

    path: str
    action: str
    label: str = ""
    expected: str = ""
    seen: str = ""


@dataclass
class SessionJournal:
    """The journal, restricted to the images of a session.

    Attributes
    ----------
    file : the journal
    images : path -> image
    moved : as in `CurrentDecisions`
    only_by : the one reviewer whose decisions count, in a blind review; None if all count
    is_adjudication : an image is done once its disagreement is settled, not once it is decided
    """

    file: Path
    images: Mapping[str, Image]
    moved: Mapping[tuple[str, str], str]
    only_by: str | None = None
    is_adjudication: bool = False
    _lines: list[Decision] = field(default_factory=list)  # those that `_may_decide`
    _position: tuple[int, int] = (0, 0)  # inode of the file, bytes that were read of it
    _end: bytes = b""  # the last of these bytes
    _last: Place = START
    _last_key: tuple[object, ...] = ()  # `sort_key` of the last line
    _read: set[int] = field(default_factory=set)  # the hashes of all lines of the journal
    _gone: set[int] = field(default_factory=set)  # of those that were read and are there no more
    _states: dict[str, State] = field(default_factory=dict)
    _bytes: frozenset[str] = frozenset()  # sha256 of the images

    def __post_init__(self) -> None:
        self._bytes = frozenset(image.sha256 for image in self.images.values())

    def states(self) -> dict[str, State]:
        """Path -> the state of the image now."""
        self._catch_up()
        return self._states

    def decide(self, header: BatchHeader, requests: Sequence[DecisionRequest]) -> list[str]:
        """Append a batch of decisions, unless the journal already holds it.

        Returns
        -------
        the paths that were not recorded, because another decision is current than the person saw
        """
        with lock_journal(self.file):
            self._catch_up_whole()
            recorded = {line.path for line in self._lines if line.batch == header.batch}
            if recorded:
                return [request.path for request in requests if request.path not in recorded]
            seen = {request.path: request.seen for request in requests}
            outdated = [path for path in seen if self._states[path].batch != seen[path]]
            valid = [request for request in requests if request.path not in outdated]
            self._append([self._to_line(header, request) for request in valid])
        return outdated

    def undo(self, header: BatchHeader, batch: str) -> list[str] | None:
        """Void a batch of this session's reviewer while it is current.

        Returns
        -------
        its paths; None if it is unknown, another reviewer's, or a newer decision is current
        """
        with lock_journal(self.file):
            self._catch_up_whole()
            # A batch of an earlier session may hold images that this session does not have.
            paths = [path for path in self._paths_in(batch, header.by) if path in self._states]
            if any(line.batch == header.batch for line in self._lines):
                return paths
            batches = {path: self._states[path].batch for path in paths}
            current = [path for path in paths if batches[path] == batch]
            if not current or not set(batches.values()) <= {batch, ""}:
                return None
            self._append([header.to_decision("undo", undoes=batch)])
        return current

    def refuse(self, header: BatchHeader, paths: Sequence[str]) -> None:
        """Void some images of a batch, because the App held another label than the person saw."""
        void = replace(header, batch=f"{header.batch}-refused", note="the App held another label")
        with lock_journal(self.file):
            self._catch_up_whole()
            refused = [line for line in self._lines if line.action == "refused"]
            known = {line.path for line in refused if line.undoes == header.batch}
            lines = [
                void.to_decision(
                    "refused", path=path, sha256=self.images[path].sha256, undoes=header.batch
                )
                for path in paths
                if path not in known
            ]
            self._append(lines)

    def batches(self, reviewer: str) -> list[str]:
        """The current batches of the reviewer's keys, oldest first: Z undoes from the end."""
        states = self.states().values()
        current = {state.batch for state in states if state.by == reviewer}
        oldest_first = dict.fromkeys(line.batch for line in self._lines)
        return [batch for batch in oldest_first if batch in current and "." in batch]

    def _append(self, lines: Sequence[Decision]) -> None:
        if lines:
            append_locked(self.file, lines, known=self._lines, after=self._last)
            self._catch_up()

    def _to_line(self, header: BatchHeader, request: DecisionRequest) -> Decision:
        image = self.images[request.path]
        # The panel's keep means the given label.
        labels = {"relabel": request.label, "keep": image.given_label}
        return header.to_decision(
            request.action,
            path=request.path,
            sha256=image.sha256,
            label=labels.get(request.action, ""),
            expected=request.expected,
            equal_files=image.equal_files,
        )

    def _catch_up(self) -> None:
        """Read the lines that were appended since the last call, or all of a replaced journal."""
        data, is_anew = self._read_new()
        known = [] if is_anew else self._lines
        where = f"{self.file.name} after line {0 if is_anew else len(self._read)}"
        read = [parse_line(line, where) for line in data.split(b"\n") if line.strip()]
        new = set_orders(read, after=START if is_anew else self._last)
        keys = [*([] if is_anew or not self._last_key else [self._last_key]), *map(sort_key, new)]
        is_sorted = all(map(operator.lt, keys, keys[1:]))
        lines = [*known, *filter(self._may_decide, new)]
        self._note_read(set(map(hash, new)), is_anew)
        self._lines = lines if is_sorted else sort_lines(lines)
        self._last = max(self._last, last_place(new))
        self._last_key = max(keys, default=())
        if data or is_anew or not self._states:
            self._states = self._derive_states()

    def _note_read(self, hashes: set[int], is_anew: bool) -> None:
        if is_anew:
            self._gone |= self._read
            self._read = set()
        self._read |= hashes
        self._gone -= hashes

    def _may_decide(self, line: Decision) -> bool:
        """Whether the line is about an image of the session, or may void one that is."""
        is_void = line.action in ("undo", "refused")
        return is_void or line.sha256 in self._bytes or self._path_of(line) in self.images

    def _catch_up_whole(self) -> None:
        """`_catch_up` before a line is appended.

        Raises
        ------
        JournalError  if lines are gone that this session has read; nothing is recorded then
        """
        self._catch_up()
        if self._gone:
            raise JournalError(
                f"{self.file}: {amount(len(self._gone), 'decision is', 'decisions are')} gone that "
                "this session has read, so nothing is recorded: bring the journal back, or end the "
                "session"
            )

    def _read_new(self) -> tuple[bytes, bool]:
        """The whole lines behind the last position, and whether they are those of another file.

        Merging replaces the journal, which is then read anew.
        """
        if not self.file.is_file():
            self._position, self._end = (0, 0), b""
            return b"", True
        with self.file.open("rb") as stream:
            inode, end = self._position
            status = os.fstat(stream.fileno())
            stream.seek(max(0, end - len(self._end)))
            # A copy over the file keeps its inode, and may be longer.
            is_anew = status.st_ino != inode or stream.read(len(self._end)) != self._end
            start = 0 if is_anew else end
            stream.seek(start)
            data = stream.read()
        data = data[: len(data) - len(split_lines(data)[1])]
        self._position = (status.st_ino, start + len(data))
        self._end = (data if is_anew else self._end + data)[-END_BYTES:]
        return data, is_anew

    def _derive_states(self) -> dict[str, State]:
        states = {path: State(image.given_label) for path, image in self.images.items()}
        lines_at: dict[str, list[Decision]] = {}
        lines = name_kept_labels(self._lines)
        for line in drop_undone([line for line in lines if self._counts(line)]):
            path = self._path_of(line)
            if path in self.images and self.images[path].sha256 == line.sha256:
                lines_at.setdefault(path, []).append(line)
        for path, about in lines_at.items():
            last, counting = about[-1], choose_decision(about)
            is_labelled = counting.action in ("keep", "relabel") and counting.label
            label = counting.label if is_labelled else self.images[path].given_label
            is_done = not self.is_adjudication or last.note == ADJUDICATED
            states[path] = State(label, last.action, last.by, last.batch, is_done)
        return states

    def _counts(self, line: Decision) -> bool:
        """Whether the line decides in this session, or voids a line that may; a machine's never."""
        if is_machine(line.by):
            return False
        if self.only_by is None or line.action in ("undo", "refused"):
            return True
        return line.by == self.only_by and (line.note == ADJUDICATED) == self.is_adjudication

    def _paths_in(self, batch: str, by: str) -> list[str]:
        lines = [line for line in self._lines if line.batch == batch and line.by == by]
        return [self._path_of(line) for line in lines]

    def _path_of(self, line: Decision) -> str:
        """The path of the line's image now."""
        return self.moved.get((line.path, line.sha256), line.path)


def open_session_journal(session: Session) -> SessionJournal:
    """The journal of a session; nothing is read yet."""
    return SessionJournal(
        session.journal,
        session.images,
        session.moved,
        only_by=session.by if session.blind else None,
        is_adjudication=session.note == ADJUDICATED,
    )
