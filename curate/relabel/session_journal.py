"""The journal as one session sees it: what stands about each image, and appends that compare before they set.

A decision names the batch that stood when the person looked; under the journal's lock it is appended only if that still
stands. The journal is read from where the last reading ended: a key costs 5 ms at its begin, 30 ms after 30,000 lines.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from curate.review.reviewers import ADJUDICATED
from curate.workspace.journal import Decision, append_locked, drop_undone, lock_journal, parse_line


@dataclass(frozen=True)
class Image:
    """What a session knows of an image of its queue, or of a copy of one."""

    sha256: str
    given_label: str
    file: str
    box: str = ""
    is_redundant: bool = False


@dataclass(frozen=True)
class State:
    """What stands about an image: the label, and the decision that says so (all empty if there is none).

    `is_done` tells whether this session need not look at it: it is decided, or its disagreement is settled.
    """

    label: str
    action: str = ""
    by: str = ""
    batch: str = ""
    is_done: bool = False


@dataclass(frozen=True)
class DecisionRequest:
    """One decision a person wants: `expected` is the label and `seen` the batch that they had in front of them."""

    path: str
    action: str
    label: str = ""
    expected: str = ""
    seen: str = ""


@dataclass
class SessionJournal:
    """The journal seen through the images of a session.

    `moved` is that of `CurrentDecisions`; with `alone` only this reviewer's decisions count, as in a blind review; a session that
    `settles` disagreements is done with what was settled, not with what was decided.
    """

    file: Path
    images: Mapping[str, Image]
    moved: Mapping[tuple[str, str], str]
    alone: str | None = None
    settles: bool = False
    _lines: list[Decision] = field(default_factory=list)
    _place: tuple[int, int] = (0, 0)
    _states: dict[str, State] = field(default_factory=dict)

    def states(self) -> dict[str, State]:
        """The state of every image now."""
        self._catch_up()
        return self._states

    def decide(self, blank: Decision, requests: Sequence[DecisionRequest]) -> list[str]:
        """Append a batch of decisions; a batch that already stands in the journal is not appended again.

        Returns
        -------
        the paths that were not recorded, because something else stands there than was seen
        """
        with lock_journal(self.file):
            self._catch_up()
            mine = [line for line in self._lines if line.batch == blank.batch]
            if mine:
                recorded = {line.path for line in mine}
                return [request.path for request in requests if request.path not in recorded]
            late = [
                request.path
                for request in requests
                if self._states[request.path].batch != request.seen
            ]
            self._append(
                [self._line(blank, request) for request in requests if request.path not in late]
            )
        return late

    def undo(self, blank: Decision, batch: str) -> list[str] | None:
        """Void a batch of this session's reviewer while it stands.

        Returns
        -------
        its paths, or None if it was not recorded here, is another's, or something newer stands
        """
        with lock_journal(self.file):
            self._catch_up()
            mine = [
                self._path_of(line)
                for line in self._lines
                if line.batch == batch and line.by == blank.by
            ]
            paths = [
                path for path in mine if path in self._states
            ]  # a batch of before may hold other images too
            if any(line.batch == blank.batch for line in self._lines):
                return paths
            standing = [path for path in paths if self._states[path].batch == batch]
            if not standing or any(
                self._states[path].batch not in (batch, "") for path in set(paths) - set(standing)
            ):
                return None
            self._append([replace(blank, action="undo", undoes=batch)])
        return standing

    def refuse(self, blank: Decision, paths: Sequence[str]) -> None:
        """Void some images of a batch, because the App held another label than was seen."""
        note = "the App held another label"
        void = replace(
            blank, batch=f"{blank.batch}-refused", action="refused", undoes=blank.batch, note=note
        )
        lines = [replace(void, path=path, sha256=self.images[path].sha256) for path in paths]
        with lock_journal(self.file):
            self._catch_up()
            known = {(line.path, line.undoes) for line in self._lines if line.action == "refused"}
            self._append([line for line in lines if (line.path, line.undoes) not in known])

    def batches(self, reviewer: str) -> list[str]:
        """The standing batches that the reviewer typed, oldest first: what Z undoes, from the last on."""
        self._catch_up()
        standing = {
            state.batch
            for state in self._states.values()
            if state.by == reviewer and "." in state.batch
        }
        return [
            batch
            for batch in dict.fromkeys(line.batch for line in self._lines)
            if batch in standing
        ]

    def _append(self, lines: Sequence[Decision]) -> None:
        if lines:
            append_locked(self.file, lines)
            self._catch_up()

    def _line(self, blank: Decision, request: DecisionRequest) -> Decision:
        label = request.label if request.action == "relabel" else ""
        sha256 = self.images[request.path].sha256
        return replace(
            blank,
            path=request.path,
            sha256=sha256,
            action=request.action,
            label=label,
            expected=request.expected,
        )

    def _catch_up(self) -> None:
        """Read what was appended since; a journal that was replaced (by a merge) is read anew."""
        if not self.file.is_file():
            self._lines, self._place, data = [], (0, 0), b""
        else:
            with self.file.open("rb") as stream:
                inode, end = self._place
                status = os.fstat(stream.fileno())
                if status.st_ino != inode or status.st_size < end:
                    self._lines, end = [], 0
                stream.seek(end)
                data = stream.read()
                data = data[: data.rfind(b"\n") + 1]
                self._place = (status.st_ino, end + len(data))
        where = f"{self.file.name} after line {len(self._lines)}"
        self._lines += [parse_line(line, where) for line in data.split(b"\n") if line.strip()]
        if data or not self._states:
            self._states = self._derive()

    def _derive(self) -> dict[str, State]:
        states = {path: State(image.given_label) for path, image in self.images.items()}
        for line in drop_undone([line for line in self._lines if self._counts(line)]):
            path = self._path_of(line)
            if path in self.images and self.images[path].sha256 == line.sha256:
                label = line.label if line.action == "relabel" else self.images[path].given_label
                is_done = not self.settles or line.note == ADJUDICATED
                states[path] = State(label, line.action, line.by, line.batch, is_done)
        return states

    def _counts(self, line: Decision) -> bool:
        if self.alone is None or line.action in ("undo", "refused"):
            return True
        return line.by == self.alone and (line.note == ADJUDICATED) == self.settles

    def _path_of(self, line: Decision) -> str:
        """Where its image is now."""
        return self.moved.get((line.path, line.sha256), line.path)
