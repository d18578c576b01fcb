"""log: the journal -> every decision about an image, oldest first, and whether it still counts.

For reading: nothing is written but the index of a large workspace, in its cache.
"""

from collections.abc import Sequence

import pandas as pd

from curate.errors import JournalError, printable_cell
from curate.review.reviewers import concurrent_decisions
from curate.stderr import note_once
from curate.workspace.explained import describe_unexplained, survey
from curate.workspace.journal.decisions import ABOUT_NO_IMAGE, Decision, drop_undone
from curate.workspace.journal.verdicts import CurrentDecisions, current_decisions
from curate.workspace.light.build import keep_index
from curate.workspace.light.excerpt import excerpt_paths
from curate.workspace.light.index import Index, answer_lightly
from curate.workspace.workspace import Workspace

# The columns of the table; `_to_record` fills them.
FIELDS = ("at", "by", "batch", "path", "action", "label", "expected", "state", "note")


def read_log(workspace: Workspace, path: str | None) -> list[dict[str, str]]:
    """One record per line of the journal; those about one image if `path` is given.

    A note is kept if the manifest holds verdicts that the log cannot list.

    Returns
    -------
    the fields of `FIELDS`; `state` is `stands` for the current decision, `concurrent` for one that
    the current one had not seen, `superseded`, `undone`, `stale`, or empty for an undo or a refusal

    Raises
    ------
    JournalError  if neither the manifest nor the journal holds the path
    """
    if path is not None:
        found = answer_lightly(workspace, lambda index: _read_of_index(index, path))
        if found is not None:
            return found
    derived, unexplained = survey(workspace)
    if unexplained:
        note_once(f"log: {describe_unexplained(workspace, unexplained)}")
    else:
        keep_index(workspace, derived)
    return _list_records(derived.before, derived.journal, path)


def _read_of_index(index: Index, path: str) -> list[dict[str, str]]:
    part = excerpt_paths(index, [path])
    return _list_records(part.rows, part.lines, path)


def _list_records(
    manifest: pd.DataFrame, journal: Sequence[Decision], path: str | None
) -> list[dict[str, str]]:
    decisions = current_decisions(manifest, journal)
    states = _states(journal, decisions, _name_concurrent(manifest, journal))
    records = []
    for line in journal:
        path_now = decisions.moved.get((line.path, line.sha256), line.path)
        records.append(_to_record(line, states.get(id(line), ""), path_now))
    if path is None:
        return records
    batches = {record["batch"] for record in records if record["path"] == path}
    if not batches and path not in set(manifest["path"]):
        raise JournalError(
            f"no image '{path}' in the manifest or the journal: copy it from the path column"
        )
    return [
        record
        for record, line in zip(records, journal, strict=True)
        if record["path"] == path or (line.action == "undo" and _undoes_any(line, batches))
    ]


def _undoes_any(line: Decision, batches: set[str]) -> bool:
    """Whether an undo voids one of the batches, by its name or by that of its session."""
    return line.undoes in batches or any(batch.startswith(line.undoes + ".") for batch in batches)


def _name_concurrent(manifest: pd.DataFrame, journal: Sequence[Decision]) -> set[tuple[str, str]]:
    """(path, batch) of the decisions that had not seen each other."""
    found = concurrent_decisions(manifest, journal)
    return {(path, line.batch) for path, lines in found.items() for line in lines}


def _states(
    journal: Sequence[Decision], decisions: CurrentDecisions, concurrent: set[tuple[str, str]]
) -> dict[int, str]:
    """The state of each decision, by the identity of its line: two equal lines are two lines."""
    states = {id(line): "undone" for line in journal if line.action not in ABOUT_NO_IMAGE}
    for line in drop_undone(journal):
        path = decisions.moved.get((line.path, line.sha256), line.path)
        states[id(line)] = "concurrent" if (path, line.batch) in concurrent else "superseded"
    states |= {id(line): "stale" for line in decisions.stale}
    return states | {id(line): "stands" for line in decisions.by_path.values()}


def _to_record(line: Decision, state: str, path: str) -> dict[str, str]:
    return {
        "at": line.at,
        "by": line.by,
        "batch": line.batch,
        "action": line.action,
        "note": line.note,
        "path": path,
        "label": line.undoes if line.action in ABOUT_NO_IMAGE else line.label,
        "expected": line.expected,
        "state": state,
    }


def format_log(records: Sequence[dict[str, str]]) -> str:
    """A table; `label` of an undo or a refusal is the batch that it voids."""
    if not records:
        return "log: no decision yet"
    shown = [{name: printable_cell(value) for name, value in each.items()} for each in records]
    return str(pd.DataFrame(shown, columns=list(FIELDS)).to_string(index=False, justify="left"))
