"""log: the journal for people -> every decision about an image, oldest first, and whether it still stands."""

from collections.abc import Sequence

import pandas as pd

from curate.errors import JournalError
from curate.workspace.journal import Decision, current_decisions, drop_undone
from curate.workspace.workspace import Workspace

FIELDS = ("at", "by", "batch", "path", "action", "label", "expected", "state", "note")


def read_log(workspace: Workspace, path: str | None) -> list[dict[str, str]]:
    """One record per line of the journal; those about one image if `path` is given.

    Returns
    -------
    the fields of `FIELDS`; `state` is stands, superseded, undone, stale, or empty for an undo or a refusal

    Raises
    ------
    JournalError  if neither the manifest nor the journal knows the path
    """
    manifest, journal = workspace.read(), workspace.read_journal()
    standing = current_decisions(manifest, journal)
    states = _states(journal, list(standing.by_path.values()), list(standing.stale))
    paths = [standing.moved.get((line.path, line.sha256), line.path) for line in journal]
    lines = [
        _record(line, states.get(id(line), ""), now)
        for line, now in zip(journal, paths, strict=True)
    ]
    if path is None:
        return lines
    batches = {line["batch"] for line in lines if line["path"] == path}
    if not batches and path not in set(manifest["path"]):
        raise JournalError(
            f"no image '{path}' in the manifest or the journal: copy it from the path column"
        )
    return [
        record
        for record, line in zip(lines, journal, strict=True)
        if record["path"] == path or (line.action == "undo" and _undoes_any(line, batches))
    ]


def _undoes_any(line: Decision, batches: set[str]) -> bool:
    return line.undoes in batches or any(batch.startswith(line.undoes + ".") for batch in batches)


def _states(
    journal: Sequence[Decision], standing: Sequence[Decision], stale: Sequence[Decision]
) -> dict[int, str]:
    """The state of each verdict, by its identity: two equal lines are two lines."""
    states = {id(line): "undone" for line in journal if line.action not in ("undo", "refused")}
    states |= {id(line): "superseded" for line in drop_undone(journal)}
    return (
        states | {id(line): "stale" for line in stale} | {id(line): "stands" for line in standing}
    )


def _record(line: Decision, state: str, path: str) -> dict[str, str]:
    about = line.undoes if line.action in ("undo", "refused") else line.label
    values = {
        "at": line.at,
        "by": line.by,
        "batch": line.batch,
        "action": line.action,
        "note": line.note,
    }
    return {
        **values,
        "path": path,
        "label": about,
        "expected": line.expected,
        "state": state,
    }


def format_log(records: Sequence[dict[str, str]]) -> str:
    """A table for people; `label` of an undo or a refusal is the batch that it voids."""
    if not records:
        return "log: no decision yet"
    return str(pd.DataFrame(records, columns=list(FIELDS)).to_string(index=False, justify="left"))
