"""The App's copy of the labels: one document per image of the queue.

The journal is written first and decides. The field `written` is the label that we wrote last, so a
label that differs from it was edited in the App itself, not by our panel; it is not overwritten.
"""

import contextlib
import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pymongo
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from curate.errors import ServiceError
from curate.relabel.session import Session
from curate.relabel.session_journal import State

TIMEOUT_MS = 3000  # until a mongod that does not answer is an error; pymongo waits 30 s

OPEN_DATABASE = "CURATE_OPEN_DATABASE"  # environment variable: accept a server without a password

Document = dict[str, Any]


class AppLabels:
    """The labels of a session in the App's database, by the path of their image."""

    def __init__(self, samples: "Collection[Document]") -> None:
        self._samples = samples

    def update(self, path: str, state: State, *, expected: str = "") -> bool:
        """Write the state of an image, unless the App holds an edit other than `expected`.

        An image that is behind the journal, because mongod died between the two writes, is no edit.
        Updating twice is the same as once.

        Returns
        -------
        False if the image holds such an edit and stays as it is; True for an image outside of the
        queue, which has nothing to update
        """
        is_ours = {"$expr": {"$eq": ["$label.label", "$written"]}}
        # The App takes a label away by leaving none, which the panel shows as an empty one.
        shown = {"label.label": expected or {"$in": ["", None]}}
        query = {"path": path, "$or": [is_ours, shown]}
        if self._samples.update_one(query, {"$set": to_fields(state)}).matched_count:
            return True
        return self._samples.find_one({"path": path}, {"_id": 1}) is None

    def label_at(self, path: str) -> str:
        """The label that the App shows now."""
        return _label_of(self._samples.find_one({"path": path}, {"label.label": 1}) or {})

    def edits(self) -> dict[str, tuple[str, str]]:
        """Path -> (label, batch it was made on) of each image that was edited in the App itself."""
        is_edited = {"$expr": {"$ne": ["$label.label", "$written"]}}
        documents = self._samples.find(is_edited, {"path": 1, "label.label": 1, "batch": 1})
        return {
            document["path"]: (_label_of(document), document["batch"]) for document in documents
        }


def open_app_labels(session: Session) -> AppLabels:
    """The labels of a session that the App's process has loaded."""
    collection = json.loads(session.ready.read_bytes())["collection"]
    return AppLabels(_connect(session.uri)[session.database][collection])


def require_server(uri: str) -> None:
    """Raise ServiceError unless the user's MongoDB server answers, and the user alone.

    Who may write to it may edit the labels of a session, which are recorded as the reviewer's.
    """
    try:
        _connect(uri).admin.command("ping")
    except PyMongoError as error:
        # What follows repeats the address, which may hold a password.
        reason = str(error).partition(" (configured")[0]
        raise ServiceError(
            f"FIFTYONE_DATABASE_URI: no MongoDB server answers ({reason}): start it, or unset the "
            "variable"
        ) from error
    if not os.environ.get(OPEN_DATABASE) and _admits_anyone(uri):
        raise ServiceError(
            "FIFTYONE_DATABASE_URI: the server admits everybody who reaches it, who could decide "
            "in your name: give it a password, or unset the variable to use a mongod of our own, "
            f"or set {OPEN_DATABASE}=1 if nobody else reaches it"
        )


def _admits_anyone(uri: str) -> bool:
    """Whether the server, or the socket in the file system, is open to other accounts."""
    scheme, _, rest = uri.partition("://")
    authority, *others = re.split("(?=[/?])", rest, maxsplit=1)
    hosts = authority.rpartition("@")[2]
    paths = [Path(unquote(host)) for host in hosts.split(",") if host.lower().startswith("%2f")]
    if len(paths) == len(hosts.split(",")):
        return any(_may_others_open(path) for path in paths)
    options = re.sub("(?i)(?<=[?&])auth[a-z]*=[^&]*&?", "", "".join(others))
    try:
        _connect(f"{scheme}://{hosts}{options}").admin.command("listCollections")
    except PyMongoError:
        return False  # without a password it has no rights, or no connection
    return True


def _may_others_open(path: Path) -> bool:
    """Whether an account of another group may open a socket: write to it, and enter its folders."""
    is_reached = all(folder.stat().st_mode & 0o001 for folder in path.parents)
    return is_reached and bool(path.stat().st_mode & 0o002)


def repair_counts(uri: str, database: str) -> None:
    """Count every collection again.

    A mongod that was killed has lost the sizes, and the App would show "No samples yet".
    """
    collections = _connect(uri)[database]
    with contextlib.suppress(PyMongoError):  # killed again: the next check restarts it
        for name in collections.list_collection_names():
            collections.command("validate", name)


def drop_database(uri: str, database: str) -> None:
    """Remove a session from the user's MongoDB server."""
    _connect(uri).drop_database(database)


def _connect(uri: str) -> "pymongo.MongoClient[Document]":
    return pymongo.MongoClient(uri, serverSelectionTimeoutMS=TIMEOUT_MS)


def to_fields(state: State) -> Mapping[str, Any]:
    """The fields of an image's document that follow from its state."""
    return {
        "label.label": state.label,
        "written": state.label,
        "decision": state.action,
        "by": state.by,
        "batch": state.batch,
        "last_modified_at": datetime.now(UTC),  # FiftyOne's own: invalidates what its App caches
    }


def _label_of(document: Mapping[str, Any]) -> str:
    return str((document.get("label") or {}).get("label") or "")
