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

from curate.decisions import VERDICTS, Decision, new_batch
from curate.errors import JournalError
from curate.labels import VOCABULARY
from curate.relabel.database import Database, open_database
from curate.relabel.ledger import Image, Ledger, Wish
from curate.reviews import ADJUDICATED

SITTING = "CURATE_SITTING"  # environment: the file that describes the sitting
_TOKEN = re.compile("[0-9A-Za-z-]{1,40}")


@dataclass
class Saver:
    """One sitting's hand on the journal and on the App's copy."""

    ledger: Ledger
    database: Database
    batch: str
    by: str
    note: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def decide(self, token: str, wishes: Sequence[Wish]) -> dict[str, Any]:
        """Record one key: a decision on one image, or on all copies of it.

        Raises
        ------
        JournalError  if an action, class, image or the token is none; nothing is recorded then
        """
        blank = self._blank(token)
        require_wishes(wishes, self.ledger)
        with self.lock:
            late = self.ledger.decide(blank, wishes)
            states = self.ledger.states()
            for path in late:
                self.database.change(path, states[path])
            lost = [
                wish.path
                for wish in wishes
                if wish.path not in late
                and not self.database.change(wish.path, states[wish.path], expected=wish.expected)
            ]
            if lost:
                self.ledger.refuse(blank, lost)
            return self._answer(blank.batch, [wish.path for wish in wishes], [*late, *lost], lost)

    def undo(self, token: str, batch: str) -> dict[str, Any]:
        """Take one key back."""
        blank = self._blank(token)
        with self.lock:
            paths = self.ledger.undo(blank, batch)
            states = self.ledger.states()
            for path in paths or []:
                self.database.change(path, states[path])
            return self._answer(blank.batch, paths or [], [] if paths else [batch], [])

    def _blank(self, token: str) -> Decision:
        if not _TOKEN.fullmatch(token):
            raise JournalError(f"a key's name must be letters and digits ('{token[:40]}')")
        return replace(new_batch(self.by), batch=f"{self.batch}.{token}", note=self.note)

    def _answer(self, batch: str, paths: Sequence[str], refused: Sequence[str], lost: Sequence[str]) -> dict[str, Any]:
        states = self.ledger.states()
        now = {path: asdict(states[path]) for path in paths}
        for path in lost:  # what the App shows, as the person will see it there
            now[path]["label"] = self.database.label_at(path)
        return {"batch": batch, "refused": list(refused), "states": now}


def require_wishes(wishes: Sequence[Wish], ledger: Ledger) -> None:
    """Raise JournalError unless each wish is a decision about an image of the sitting."""
    for wish in wishes:
        is_class = wish.label in VOCABULARY if wish.action == "relabel" else True
        if wish.path not in ledger.images or wish.action not in VERDICTS or not is_class:
            raise JournalError(f"'{wish.action} {wish.label}' of '{wish.path}' is no decision of this sitting")


def new_ledger(sitting: dict[str, Any]) -> Ledger:
    """The journal through the images of a described sitting."""
    images = {path: Image(**facts) for path, facts in sitting["images"].items()}
    alone = sitting["by"] if sitting["blind"] else None
    moved = {(path, sha256): here for path, sha256, here in sitting["moved"]}
    return Ledger(Path(sitting["journal"]), images, moved, alone, sitting["note"] == ADJUDICATED)


def read_sitting(file: Path) -> dict[str, Any]:
    """The description that the program `curate` wrote for the App's process."""
    sitting: dict[str, Any] = json.loads(file.read_bytes())
    return sitting


@cache
def current_sitting() -> dict[str, Any]:
    """The sitting of this process."""
    return read_sitting(Path(os.environ[SITTING]))


@cache
def current_saver() -> Saver:
    """The one saver of this process: the operators of the plugin share it."""
    sitting = current_sitting()
    ready = json.loads(Path(sitting["ready"]).read_bytes())
    database = open_database(sitting["uri"], sitting["database"], ready["collection"])
    return Saver(new_ledger(sitting), database, sitting["batch"], sitting["by"], sitting["note"])
