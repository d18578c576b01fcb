"""The App's process: the queue as a FiftyOne dataset, and the server of the App with our plugin.

Started by `session` as `python -m curate.relabel.app SESSION.json`, with an environment of its own, so that one process
imports FiftyOne once, loads the images and serves: half of the start of `fo.launch_app`, which does so in two.
"""

import json
import sys
from pathlib import Path
from typing import Any

import fiftyone as fo
from fiftyone.server.main import start_server

from curate.fiftyone_host.processes import HOST
from curate.files import write_atomically
from curate.labels import VOCABULARY
from curate.relabel.app_labels import to_fields
from curate.relabel.save import open_session_journal, read_session

DATASET = "relabel"
LAYOUT = "review"  # the saved arrangement of panels that the address names
PANEL = "CandidReview"


def main() -> None:
    """Load, say so in the session's `ready` file, serve until ended."""
    session = read_session(Path(sys.argv[1]))
    dataset = load_dataset(session)
    ready = {
        "collection": dataset._sample_collection_name
    }  # private: FiftyOne has no compare-and-set of its own
    write_atomically(Path(session["ready"]), json.dumps(ready).encode())
    start_server(port=session["port"], address=HOST)


def load_dataset(session: dict[str, Any]) -> fo.Dataset:
    """A dataset of the queue with the labels that the journal gives now; one that lies there already is replaced."""
    if fo.dataset_exists(DATASET):
        fo.delete_dataset(DATASET)
    dataset = fo.Dataset(DATASET, persistent=True)  # others vanish with their client
    dataset.classes = {"label": list(VOCABULARY)}
    dataset.add_samples([_new_sample(row, session) for row in session["queue"]], progress=False)
    _write_states(dataset, session)
    dataset.create_index("path", unique=True)
    dataset.app_config.sidebar_groups = _sidebar_groups(dataset)
    dataset.save()
    panel = fo.Panel(type=PANEL)
    children = [fo.Panel(type="Samples", pinned=True), panel]
    dataset.save_workspace(LAYOUT, fo.Space(children=children, active_child=panel.component_id))
    return dataset


def _new_sample(row: dict[str, Any], session: dict[str, Any]) -> fo.Sample:
    """One image: the facts as fields to filter by, the label as the one thing to edit."""
    numbers = {"issue_rank": int, "self_confidence": float}
    values = {name: cast(row[name]) for name, cast in numbers.items() if row[name]}
    suggestion = fo.Classification(label=row["suggested_label"]) if row["suggested_label"] else None
    return fo.Sample(
        filepath=session["images"][row["path"]]["file"],
        path=row["path"],
        label=fo.Classification(label=row["given_label"]),
        given_label=fo.Classification(label=row["given_label"]),
        suggested_label=suggestion,
        probabilities=dict(zip(VOCABULARY, row["probs"], strict=True)) if row["probs"] else None,
        duplicate_group=row["duplicate_group"] or None,
        votes=json.loads(row["votes"]) if row["votes"] else None,
        written=row["given_label"],
        decision="",
        by="",
        batch="",
        **values,
    )


def _write_states(dataset: fo.Dataset, session: dict[str, Any]) -> None:
    """Bring the images up to the decisions that stand."""
    states = open_session_journal(session).states()
    samples = dataset._sample_collection
    for row in session["queue"]:
        if states[row["path"]].action:
            samples.update_one({"path": row["path"]}, {"$set": to_fields(states[row["path"]])})
    dataset.reload()


def _sidebar_groups(dataset: fo.Dataset) -> list[Any]:
    """The labels first; what the panel shows better, and what we keep for ourselves, is folded away."""
    groups = fo.DatasetAppConfig.default_sidebar_groups(dataset)
    for group in groups:
        group.expanded = group.name == "labels"
    return list(groups)


if __name__ == "__main__":
    main()
