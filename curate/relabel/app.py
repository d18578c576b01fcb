"""The App's process: the queue as a FiftyOne dataset, and the server of the App with our plugin.

`services` starts it as `python -m curate.relabel.app SESSION.json LISTENER`, with the number of the
socket to serve, in an environment of its own. One process imports FiftyOne once, loads the images
and serves: half of the start of `fo.launch_app`, which uses two processes.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fiftyone as fo
from fiftyone.plugins.context import PluginContext
from fiftyone.server.app import app as fiftyone_app
from fiftyone.server.events import set_port
from hypercorn.asyncio import serve
from hypercorn.config import Config

from curate.files import write_atomically
from curate.labels import VOCABULARY
from curate.relabel.app_labels import to_fields
from curate.relabel.guard import OPERATORS, Guard, Pass
from curate.relabel.prepare import list_files
from curate.relabel.queue import QueueRow
from curate.relabel.session import Session, SessionFiles, read_session
from curate.relabel.session_journal import open_session_journal

DATASET = "relabel"
LAYOUT = "review"  # the saved arrangement of panels that the address names
PANEL = "CandidReview"


def main() -> None:
    """Load the images, write the session's `ready` file, serve until ended."""
    record, listener = Path(sys.argv[1]), int(sys.argv[2])
    session, key = read_session(record), SessionFiles(record.parent).key.read_text()
    keep_operators(OPERATORS)
    dataset = load_dataset(session)
    # A private name: FiftyOne itself has no compare-and-set, so we write to its collection.
    ready = {"collection": dataset._sample_collection_name}
    write_atomically(session.ready, json.dumps(ready).encode())
    guard = Guard(fiftyone_app, Pass(key, session.port, list_files(session.images)), _log)
    set_port(session.port)
    config = Config()
    config.bind = [f"fd://{listener}"]
    asyncio.run(serve(guard, config))  # type: ignore[arg-type]


def keep_operators(names: frozenset[str]) -> None:
    """Keep FiftyOne from loading any other operator: what is not there cannot be called.

    The guard refuses the others too; this holds also if the two read a request differently.
    """
    can_register = PluginContext.can_register

    def can_register_kept(context: Any, operator: Any) -> bool:
        return f"{context.name}/{operator.name}" in names and can_register(context, operator)

    PluginContext.can_register = can_register_kept


def _log(line: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}\n")
    sys.stderr.flush()


def load_dataset(session: Session) -> fo.Dataset:
    """A new dataset of the queue, with the labels that the journal gives now."""
    if fo.dataset_exists(DATASET):
        fo.delete_dataset(DATASET)
    dataset = fo.Dataset(DATASET, persistent=True)  # others are deleted with their client
    dataset.classes = {"label": list(VOCABULARY)}
    samples = [_new_sample(row, session.images[row.path].file) for row in session.queue]
    dataset.add_samples(samples, progress=False)
    _write_states(dataset, session)
    dataset.create_index("path", unique=True)
    dataset.app_config.sidebar_groups = _sidebar_groups(dataset)
    dataset.save()
    panel = fo.Panel(type=PANEL)
    children = [fo.Panel(type="Samples", pinned=True), panel]
    dataset.save_workspace(LAYOUT, fo.Space(children=children, active_child=panel.component_id))
    return dataset


def _new_sample(row: QueueRow, file: str) -> fo.Sample:
    """One image: its facts as fields to filter by, its label as the only field to edit."""
    suggestion = fo.Classification(label=row.suggested_label) if row.suggested_label else None
    return fo.Sample(
        filepath=file,
        path=row.path,
        label=fo.Classification(label=row.given_label),
        given_label=fo.Classification(label=row.given_label),
        suggested_label=suggestion,
        probabilities=dict(zip(VOCABULARY, row.probs, strict=True)) if row.probs else None,
        duplicate_group=row.duplicate_group or None,
        votes=json.loads(row.votes) if row.votes else None,
        written=row.given_label,
        decision="",
        by="",
        batch="",
        **_numbers(row),
    )


def _numbers(row: QueueRow) -> dict[str, float]:
    """The numbers that the image has; FiftyOne infers the type of a field from its first value."""
    numbers: dict[str, float] = {}
    if row.issue_rank:
        numbers["issue_rank"] = int(row.issue_rank)
    if row.self_confidence:
        numbers["self_confidence"] = float(row.self_confidence)
    return numbers


def _write_states(dataset: fo.Dataset, session: Session) -> None:
    """Write the current decisions to the images."""
    states = open_session_journal(session).states()
    samples = dataset._sample_collection
    for row in session.queue:
        if states[row.path].action:
            samples.update_one({"path": row.path}, {"$set": to_fields(states[row.path])})
    dataset.reload()


def _sidebar_groups(dataset: fo.Dataset) -> list[Any]:
    """The labels open; the other groups, which the panel shows better, are folded away."""
    groups = fo.DatasetAppConfig.default_sidebar_groups(dataset)
    for group in groups:
        group.expanded = group.name == "labels"
    return list(groups)


if __name__ == "__main__":
    main()
