"""The App's copy of the labels: one document per image of the queue, changed only if it is as it was seen.

The journal is written first and is the truth. `written` is the label that we wrote last, so a label that differs from it
was edited in the App itself, around us.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pymongo
from pymongo.collection import Collection

from curate.relabel.ledger import State

Document = dict[str, Any]


class Database:
    """The samples of a sitting, by the path of their image."""

    def __init__(self, collection: "Collection[Document]") -> None:
        self._samples = collection

    def change(self, path: str, *, expected: str, seen: str, state: State) -> bool:
        """Set the state of an image whose label and batch are as expected; doing it twice is doing it once.

        Returns
        -------
        whether the document now holds the state; False if it holds what somebody else has set
        """
        wanted = {"path": path, "label.label": expected, "batch": seen}
        if self._samples.update_one(wanted, {"$set": to_fields(state)}).matched_count:
            return True
        found = self._samples.find_one({"path": path}, {"batch": 1, "label.label": 1})
        return found is None or (found["batch"] == state.batch and _label_of(found) == state.label)

    def follow(self, path: str, state: State) -> None:
        """Bring an image up to what the journal says, unless the App holds an edit of its own."""
        ours = {"path": path, "$expr": {"$eq": ["$label.label", "$written"]}}
        self._samples.update_one(ours, {"$set": to_fields(state)})

    def label_at(self, path: str) -> str:
        """The label that the App shows now."""
        return _label_of(self._samples.find_one({"path": path}, {"label.label": 1}) or {})

    def edits(self) -> dict[str, tuple[str, str]]:
        """Path -> (label, batch it was made on) of every image that was edited in the App around us."""
        found = self._samples.find(
            {"$expr": {"$ne": ["$label.label", "$written"]}}, {"path": 1, "label.label": 1, "batch": 1}
        )
        return {document["path"]: (_label_of(document), document["batch"]) for document in found}


def open_database(uri: str, database: str, collection: str) -> Database:
    """Connect; a mongod that is away is an error after three seconds, not thirty."""
    client: pymongo.MongoClient[Document] = pymongo.MongoClient(uri, serverSelectionTimeoutMS=3000)
    return Database(client[database][collection])


def mend_counts(uri: str, database: str) -> None:
    """Count every collection anew: a mongod that was killed has lost the sizes, and the App shows "No samples yet"."""
    found = pymongo.MongoClient[Document](uri, serverSelectionTimeoutMS=3000)[database]
    for name in found.list_collection_names():
        found.command("validate", name)


def drop_database(uri: str, database: str) -> None:
    """Forget a sitting that lay in a database server of the user's."""
    pymongo.MongoClient[Document](uri, serverSelectionTimeoutMS=3000).drop_database(database)


def to_fields(state: State) -> Mapping[str, Any]:
    """The fields of a document that follow from the state of its image."""
    return {
        "label.label": state.label,
        "written": state.label,
        "decision": state.action,
        "by": state.by,
        "batch": state.batch,
        "last_modified_at": datetime.now(UTC),  # FiftyOne's own field: what its App caches is out of date
    }


def _label_of(document: Mapping[str, Any]) -> str:
    return str((document.get("label") or {}).get("label") or "")
