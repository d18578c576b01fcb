"""The App's copy of the labels: one document per image of the queue, changed only if nobody has edited it in the App.

The journal is written first and is the truth. `written` is the label that we wrote last, so a label that differs from it
was edited in the App itself, around us.
"""

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pymongo
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from curate.errors import ServiceError
from curate.relabel.session_journal import State

Document = dict[str, Any]


class Database:
    """The samples of a session, by the path of their image."""

    def __init__(self, collection: "Collection[Document]") -> None:
        self._samples = collection

    def change(self, path: str, state: State, *, expected: str = "") -> bool:
        """Bring an image up to what the journal says, unless the App holds an edit other than `expected`.

        An image that is behind the journal, because mongod died between the two, is no edit. Twice is once.

        Returns
        -------
        False if the image holds such an edit and is left as it is; an image outside of the queue has nothing to change
        """
        ours = {"$expr": {"$eq": ["$label.label", "$written"]}}
        wanted = {"path": path, "$or": [ours, {"label.label": expected}]}
        if self._samples.update_one(wanted, {"$set": to_fields(state)}).matched_count:
            return True
        return self._samples.find_one({"path": path}, {"_id": 1}) is None

    def label_at(self, path: str) -> str:
        """The label that the App shows now."""
        return _label_of(self._samples.find_one({"path": path}, {"label.label": 1}) or {})

    def edits(self) -> dict[str, tuple[str, str]]:
        """Path -> (label, batch it was made on) of every image that was edited in the App around us."""
        found = self._samples.find(
            {"$expr": {"$ne": ["$label.label", "$written"]}},
            {"path": 1, "label.label": 1, "batch": 1},
        )
        return {document["path"]: (_label_of(document), document["batch"]) for document in found}


def open_database(uri: str, database: str, collection: str) -> Database:
    """The samples of a session that the App's process has loaded."""
    return Database(_connect(uri)[database][collection])


def require_server(uri: str) -> None:
    """Raise ServiceError unless a server of the user's answers."""
    try:
        _connect(uri).admin.command("ping")
    except PyMongoError as error:
        reason = str(error).partition(" (configured")[
            0
        ]  # not the address itself, which may hold a password
        raise ServiceError(
            f"FIFTYONE_DATABASE_URI: no MongoDB server answers ({reason}): start it, or unset the variable"
        ) from error


def mend_counts(uri: str, database: str) -> None:
    """Count every collection anew: a mongod that was killed has lost the sizes, and the App shows "No samples yet"."""
    found = _connect(uri)[database]
    with contextlib.suppress(PyMongoError):  # killed again: so will be the next look
        for name in found.list_collection_names():
            found.command("validate", name)


def drop_database(uri: str, database: str) -> None:
    """Forget a session that lay in a database server of the user's."""
    _connect(uri).drop_database(database)


def _connect(uri: str) -> "pymongo.MongoClient[Document]":
    """A client for which a mongod that is away is an error after three seconds, not thirty."""
    return pymongo.MongoClient(uri, serverSelectionTimeoutMS=3000)


def to_fields(state: State) -> Mapping[str, Any]:
    """The fields of a document that follow from the state of its image."""
    return {
        "label.label": state.label,
        "written": state.label,
        "decision": state.action,
        "by": state.by,
        "batch": state.batch,
        "last_modified_at": datetime.now(
            UTC
        ),  # FiftyOne's own field: what its App caches is out of date
    }


def _label_of(document: Mapping[str, Any]) -> str:
    return str((document.get("label") or {}).get("label") or "")
