"""Saving: the journal first, then the App's copy, neither if somebody else has changed the image.

Runs in the App's process. An answer tells the panel what is recorded and what was refused, with the state of each image as
it stands now, so that the panel can roll back. A request that is sent again is answered again and recorded once.
"""

import json
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from curate.errors import JournalError
from curate.labels import VOCABULARY
from curate.relabel.app_labels import Database, open_database
from curate.relabel.session_journal import DecisionRequest, Image, SessionJournal
from curate.review.reviewers import ADJUDICATED
from curate.workspace.journal import VERDICTS, Decision, new_batch

SESSION = "CURATE_SESSION"  # environment: the file that describes the session
_TOKEN = re.compile("[0-9A-Za-z-]{1,40}")


@dataclass
class Saver:
    """One session's hand on the journal and on the App's copy."""

    session_journal: SessionJournal
    database: Database
    batch: str
    by: str
    note: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def decide(self, token: str, requests: Sequence[DecisionRequest]) -> dict[str, Any]:
        """Record one key: a decision on one image, or on all copies of it.

        Raises
        ------
        JournalError  if an action, class, image or the token is none; nothing is recorded then
        """
        blank = self._blank(token)
        require_valid_requests(requests, self.session_journal)
        with self.lock:
            late = self.session_journal.decide(blank, requests)
            states = self.session_journal.states()
            for path in late:
                self.database.change(path, states[path])
            lost = [
                request.path
                for request in requests
                if request.path not in late
                and not self.database.change(
                    request.path, states[request.path], expected=request.expected
                )
            ]
            if lost:
                self.session_journal.refuse(blank, lost)
            return self._answer(
                blank.batch, [request.path for request in requests], [*late, *lost], lost
            )

    def undo(self, token: str, batch: str) -> dict[str, Any]:
        """Take one key back."""
        blank = self._blank(token)
        with self.lock:
            paths = self.session_journal.undo(blank, batch)
            states = self.session_journal.states()
            for path in paths or []:
                self.database.change(path, states[path])
            return self._answer(blank.batch, paths or [], [] if paths else [batch], [])

    def _blank(self, token: str) -> Decision:
        if not _TOKEN.fullmatch(token):
            raise JournalError(f"a key's name must be letters and digits ('{token[:40]}')")
        return replace(new_batch(self.by), batch=f"{self.batch}.{token}", note=self.note)

    def _answer(
        self, batch: str, paths: Sequence[str], refused: Sequence[str], lost: Sequence[str]
    ) -> dict[str, Any]:
        states = self.session_journal.states()
        now = {path: asdict(states[path]) for path in paths}
        for path in lost:  # what the App shows, as the person will see it there
            now[path]["label"] = self.database.label_at(path)
        return {"batch": batch, "refused": list(refused), "states": now}


def require_valid_requests(
    requests: Sequence[DecisionRequest], session_journal: SessionJournal
) -> None:
    """Raise JournalError unless each request is a decision about an image of the session."""
    for request in requests:
        is_class = request.label in VOCABULARY if request.action == "relabel" else True
        if (
            request.path not in session_journal.images
            or request.action not in VERDICTS
            or not is_class
        ):
            raise JournalError(
                f"'{request.action} {request.label}' of '{request.path}' is no decision of this session"
            )


def open_session_journal(session: dict[str, Any]) -> SessionJournal:
    """The journal through the images of a described session."""
    images = {path: Image(**facts) for path, facts in session["images"].items()}
    alone = session["by"] if session["blind"] else None
    moved = {(path, sha256): here for path, sha256, here in session["moved"]}
    return SessionJournal(
        Path(session["journal"]), images, moved, alone, session["note"] == ADJUDICATED
    )


def read_session(file: Path) -> dict[str, Any]:
    """The description that the program `curate` wrote for the App's process."""
    session: dict[str, Any] = json.loads(file.read_bytes())
    return session


@cache
def current_session() -> dict[str, Any]:
    """The session of this process."""
    return read_session(Path(os.environ[SESSION]))


@cache
def current_saver() -> Saver:
    """The one saver of this process: the operators of the plugin share it."""
    session = current_session()
    ready = json.loads(Path(session["ready"]).read_bytes())
    database = open_database(session["uri"], session["database"], ready["collection"])
    return Saver(
        open_session_journal(session), database, session["batch"], session["by"], session["note"]
    )
