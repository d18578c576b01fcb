"""The end of a session: edits of the App go to the journal, the verdicts to the manifest.

Also here: the summary of the session, from its lines in the journal.
"""

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from curate.errors import WorkspaceError, amount
from curate.labels import VOCABULARY
from curate.relabel.app_labels import AppLabels
from curate.relabel.session import Session
from curate.relabel.session_journal import DecisionRequest, open_session_journal
from curate.result import Result
from curate.workspace.explained import derive_checked, write_derived
from curate.workspace.journal.decisions import Decision, drop_undone, new_batch, session_of
from curate.workspace.journal.verdicts import current_decisions
from curate.workspace.manifest import owned_by
from curate.workspace.workspace import Workspace

EDITED = "edited in the App"


def record_app_edits(app_labels: AppLabels, session: Session) -> tuple[int, int]:
    """Journal the labels that were edited in the App's own tabs.

    A later decision wins over an edit.

    Returns
    -------
    how many were journaled, and how many were not: no class, or somebody decided since
    """
    session_journal, edits = open_session_journal(session), app_labels.edits()
    states = session_journal.states()
    requests = [
        DecisionRequest(path, "relabel", label, states[path].label, batch)
        for path, (label, batch) in sorted(edits.items())
        if label in VOCABULARY and path in states
    ]
    name = f"{session.batch}.app-{secrets.token_hex(3)}"
    header = new_batch(session.by, name=name, note=session.note or EDITED)
    outdated = session_journal.decide(header, requests) if requests else []
    recorded = len(requests) - len(outdated)
    return recorded, len(edits) - recorded


def write_verdicts(workspace: Workspace, at_start: pd.DataFrame) -> None:
    """Derive the verdicts into the manifest, unless another program has changed it.

    Parameters
    ----------
    at_start : the manifest when the session began; verdicts that the journal explains may have
        changed since

    Raises
    ------
    JournalError  if the journal does not explain a verdict of the manifest
    WorkspaceError  if another program has changed it meanwhile; it is left as it is
    """
    with workspace.lock("`curate relabel`"):
        derived = derive_checked(workspace)
        if _is_changed_elsewhere(derived.before, at_start, derived.journal):
            raise WorkspaceError(
                f"{workspace.manifest}: was changed by another program during the session and is "
                "not overwritten; your decisions are safe in the journal: run the stage that comes "
                "next (see `curate status`) to apply them"
            )
        write_derived(workspace, derived.before, derived.after, data=derived.data)


def _is_changed_elsewhere(
    now: pd.DataFrame, at_start: pd.DataFrame, journal: Sequence[Decision]
) -> bool:
    """Whether a fact has changed since the start, or the verdict of an image without a decision.

    Another command may have derived the verdicts of decided images and of their copies meanwhile:
    they follow from the journal.
    """
    verdicts = list(owned_by("verdicts"))
    facts = [name for name in at_start.columns if name not in verdicts]
    if not now[facts].equals(at_start[facts]):
        return True
    decided = {line.path for line in journal if line.path}
    decided |= set(current_decisions(now, journal).moved.values())
    is_explained = now["path"].isin(decided) | now["duplicate_of"].isin(decided)
    is_changed = (now[verdicts] != at_start[verdicts]).any(axis=1)
    return bool((is_changed & ~is_explained).any())


def summarize_session(
    journal: Sequence[Decision], batch: str, seconds: float, missed_edits: int
) -> Result:
    """The summary of a session, from its lines in the journal.

    Parameters
    ----------
    batch : the session's batch
    seconds : how long the session took
    missed_edits : edits of the App that were not recorded
    """
    lines = [line for line in journal if session_of(line.batch) == batch]
    current = [line for line in drop_undone(journal) if session_of(line.batch) == batch]
    action_of = {line.path: line.action for line in current}
    decided = Counter(action_of.values())
    written = Counter(line.action for line in lines)
    counts = {
        "batch": batch,
        "decisions": len(action_of),
        **{action: decided[action] for action in ("relabel", "keep", "drop", "unsure")},
        "undone": written["undo"],
        "refused": written["refused"],
        "edited_in_app": sum(line.note == EDITED for line in lines),
        "edits_not_taken": missed_edits,
        "seconds": round(seconds),
    }
    summary = _format_counts(counts, seconds)
    if lines:
        summary += f"; batch {batch}, `curate undo {batch}` takes it back"
    return Result(summary, counts=counts)


def _format_counts(counts: Mapping[str, Any], seconds: float) -> str:
    summary = (
        f"relabel: {amount(counts['decisions'], 'image')} decided in {seconds:.0f} s "
        f"({counts['relabel']:,} relabelled, {counts['keep']:,} kept, {counts['drop']:,} dropped, "
        f"{counts['unsure']:,} unsure)"
    )
    if counts["undone"] or counts["refused"]:
        summary += f"; {counts['undone']:,} undone, {counts['refused']:,} refused"
    missed = counts["edits_not_taken"]
    if missed:
        summary += f"; {missed:,} edits of the App not recorded (no class, or decided since)"
    return summary
