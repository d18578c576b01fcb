"""The end of a session: edits made around the panel are journaled, the verdicts derived, the summary told."""

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from curate.errors import WorkspaceError
from curate.labels import VOCABULARY
from curate.relabel.app_labels import Database
from curate.relabel.save import open_session_journal
from curate.relabel.session_journal import DecisionRequest
from curate.result import Result
from curate.workspace.journal import (
    Decision,
    current_decisions,
    derive_verdicts,
    drop_undone,
    new_batch,
    session_of,
)
from curate.workspace.manifest import owned_by, write_manifest
from curate.workspace.workspace import Workspace

EDITED = "edited in the App"


def take_in_edits(database: Database, session: dict[str, Any]) -> tuple[int, int]:
    """Journal the labels that were edited in the App's own tabs; one edited before a later decision gives way to it.

    Returns
    -------
    how many were journaled, and how many could not be: no class, or somebody decided since
    """
    session_journal, edits = open_session_journal(session), database.edits()
    states = session_journal.states()
    requests = [
        DecisionRequest(path, "relabel", label, states[path].label, batch)
        for path, (label, batch) in sorted(edits.items())
        if label in VOCABULARY and path in states
    ]
    token = f"{session['batch']}.app-{secrets.token_hex(3)}"
    blank = replace(new_batch(session["by"]), batch=token, note=session["note"] or EDITED)
    late = session_journal.decide(blank, requests) if requests else []
    return len(requests) - len(late), len(edits) - len(requests) + len(late)


def write_verdicts(workspace: Workspace, launch: pd.DataFrame) -> None:
    """Derive the verdicts into the manifest, if it still is the one that the session began with.

    Parameters
    ----------
    launch : the manifest as it was when the session began; verdicts that the journal explains may have changed since

    Raises
    ------
    WorkspaceError  if another program has changed it meanwhile; it is left as it is
    """
    with workspace.lock():
        now = workspace.read()
        journal = workspace.read_journal()
        if _is_foreign(now, launch, journal):
            raise WorkspaceError(
                f"{workspace.manifest}: was changed by another program during the session and is not overwritten; your "
                "decisions are safe in the journal: run the stage that comes next (see `curate status`) to apply them"
            )
        write_manifest(workspace.manifest, derive_verdicts(now, journal))


def _is_foreign(now: pd.DataFrame, launch: pd.DataFrame, journal: Sequence[Decision]) -> bool:
    """Whether a fact differs from the launch, or the verdict of an image that no decision is about.

    The verdicts of decided images, and of their copies, may have been written by other commands meanwhile: they follow from
    the journal, now as then.
    """
    verdicts = list(owned_by("apply"))
    facts = [name for name in launch.columns if name not in verdicts]
    if not now[facts].equals(launch[facts]):
        return True
    decided = {line.path for line in journal if line.path}
    decided |= set(current_decisions(now, journal).moved.values())
    follows = now["path"].isin(decided) | now["duplicate_of"].isin(decided)
    return bool(((now[verdicts] != launch[verdicts]).any(axis=1) & ~follows).any())


def summarize_session(
    journal: Sequence[Decision], batch: str, seconds: float, missed_edits: int
) -> Result:
    """The summary of a session, from its lines in the journal."""
    lines = [line for line in journal if session_of(line.batch) == batch]
    standing = {
        line.path: line.action for line in drop_undone(journal) if session_of(line.batch) == batch
    }
    done = Counter(standing.values())
    other = Counter(line.action for line in lines)
    edited = sum(line.note == EDITED for line in lines)
    counts = {
        "batch": batch,
        "decisions": len(standing),
        **{action: done[action] for action in ("relabel", "keep", "drop", "unsure")},
        "undone": other["undo"],
        "refused": other["refused"],
        "edited_in_app": edited,
        "edits_not_taken": missed_edits,
        "seconds": round(seconds),
    }
    parts = f"{done['relabel']:,} relabelled, {done['keep']:,} kept, {done['drop']:,} dropped, {done['unsure']:,} unsure"
    extra = (
        f"; {other['undo']:,} undone, {other['refused']:,} refused"
        if other["undo"] or other["refused"]
        else ""
    )
    missed = (
        f"; {missed_edits:,} edits of the App not taken in (no class, or decided since)"
        if missed_edits
        else ""
    )
    summary = (
        f"relabel: {len(standing):,} images decided in {seconds:.0f} s ({parts}){extra}{missed}"
    )
    undo = f"; batch {batch}, `curate undo {batch}` takes it back" if lines else ""
    return Result(summary + undo, counts=counts)
