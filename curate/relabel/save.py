"""Saving one key: first in the journal, then in the App's copy.

Neither is written if somebody else changed the image. Runs in the App's process. An answer lists
what was refused and the state of each image now, so that the panel can roll back. A request that is
sent again is answered again and recorded once.
"""

import os
import re
import threading
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from curate.errors import JournalError
from curate.labels import VOCABULARY
from curate.relabel.app_labels import AppLabels, open_app_labels
from curate.relabel.session import Session, is_changed, read_session
from curate.relabel.session_journal import DecisionRequest, SessionJournal, open_session_journal
from curate.stderr import forget_changes
from curate.workspace.journal.decisions import VERDICTS, BatchHeader, new_batch

SESSION = "CURATE_SESSION"  # environment variable: the file of the session's record
_TOKEN = re.compile("[0-9A-Za-z-]{1,40}")


@dataclass
class DecisionWriter:
    """Writes the decisions of one session into the journal and the App's copy."""

    session_journal: SessionJournal
    app_labels: AppLabels
    batch: str
    by: str
    note: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def decide(self, token: str, requests: Sequence[DecisionRequest]) -> dict[str, Any]:
        """Record one key: a decision about one image, or about all its copies.

        Parameters
        ----------
        token : name of the key, unique in the session: 1 to 40 letters, digits or hyphens

        Raises
        ------
        JournalError  if an action, class, image or the token is invalid; nothing is recorded then
        """
        forget_changes()  # of earlier keys, which an error about this one must not name
        header = self._new_header(token)
        require_valid_requests(requests, self.session_journal)
        with self.lock:
            outdated = self.session_journal.decide(header, requests)
            states = self.session_journal.states()
            edited = []
            for request in requests:
                path, expected = request.path, request.expected
                if path in outdated:
                    self.app_labels.update(path, states[path])
                elif not self.app_labels.update(path, states[path], expected=expected):
                    edited.append(path)
            if edited:
                self.session_journal.refuse(header, edited)
            answer = self._answer(header.batch, [request.path for request in requests])
            for path in edited:  # the label that the person will see there
                answer["states"][path]["label"] = self.app_labels.label_at(path)
        return answer | {"refused": [*outdated, *edited]}

    def undo(self, token: str, batch: str) -> dict[str, Any]:
        """Void the batch of an earlier key."""
        header = self._new_header(token)
        with self.lock:
            paths = self.session_journal.undo(header, batch) or []
            states = self.session_journal.states()
            for path in paths:
                self.app_labels.update(path, states[path])
            return self._answer(header.batch, paths) | {"refused": [] if paths else [batch]}

    def _new_header(self, token: str) -> BatchHeader:
        if not _TOKEN.fullmatch(token):
            raise JournalError(f"the name of a key must be letters and digits ('{token[:40]}')")
        return new_batch(self.by, name=f"{self.batch}.{token}", note=self.note)

    def _answer(self, batch: str, paths: Sequence[str]) -> dict[str, Any]:
        states = self.session_journal.states()
        now = {path: asdict(states[path]) for path in paths}
        return {"batch": batch, "refused": [], "states": now}


def require_valid_requests(
    requests: Sequence[DecisionRequest], session_journal: SessionJournal
) -> None:
    """Raise JournalError unless each request decides about an image as the session shows it."""
    for request in requests:
        is_text = all(isinstance(value, str) for value in astuple(request))
        is_known = is_text and request.path in session_journal.images and request.action in VERDICTS
        is_class = request.action != "relabel" or request.label in VOCABULARY
        if not is_known or not is_class:
            raise JournalError(
                f"'{request.action} {request.label}' of '{request.path}' is no decision of this "
                "session"
            )
        image = session_journal.images[request.path]
        if is_changed(image):
            raise JournalError(
                f"{image.file}: has other bytes than `curate build` has recorded, so nothing is "
                "recorded: end the session, and run `curate build`"
            )


@cache
def current_session() -> Session:
    """The session of this process."""
    return read_session(Path(os.environ[SESSION]))


@cache
def current_writer() -> DecisionWriter:
    """The one writer of this process: the operators of the plugin share it."""
    session = current_session()
    return DecisionWriter(
        open_session_journal(session),
        open_app_labels(session),
        session.batch,
        session.by,
        session.note,
    )
