"""Decisions about a few images of a large workspace: into the journal, without reading the table.

In: a function that makes the lines. Out: the lines in the journal, and what has changed by them.
The next command that writes the manifest applies them; every reader counts them from now on.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import pandas as pd

from curate.files import ignore_sigint
from curate.workspace.explained import VERDICT_COLUMNS
from curate.workspace.journal.decisions import Decision
from curate.workspace.journal.file import append_locked, lock_journal
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.light.excerpt import Excerpt, excerpt_paths, excerpt_tail
from curate.workspace.light.index import (
    Index,
    answer_lightly,
    is_large,
    note_stamps,
    stamp_of,
)
from curate.workspace.manifest import kept_rows
from curate.workspace.workspace import Workspace

MOST_BEHIND = 1000  # lines that the manifest may lack: the next decision writes it

MakeLines = Callable[[pd.DataFrame, Sequence[Decision]], list[Decision]]


@dataclass(frozen=True)
class Recorded:
    """What a batch has changed.

    Attributes
    ----------
    made : its lines
    changed : rows with another verdict
    kept, rows : of the whole manifest, now
    """

    made: Sequence[Decision]
    changed: int
    kept: int
    rows: int


def record_lightly(
    workspace: Workspace,
    make: MakeLines,
    paths: Iterable[str],
    *,
    undoes: str = "",
    dry_run: bool = False,
) -> Recorded | None:
    """Append a batch to the journal of a large workspace.

    Parameters
    ----------
    make : the lines, given the rows and lines that they depend on
    paths : the images that are decided
    undoes : the batch that is undone

    Returns
    -------
    None if nothing was recorded: the workspace is small or has no index, the manifest would lack
    over `MOST_BEHIND` lines, or the batch is unknown

    Raises
    ------
    JournalError  whatever `make` raises, or if another program holds the journal
    WorkspaceError  if the lines could not be written
    """
    if not is_large(workspace):
        return None

    def record(index: Index) -> Recorded | None:
        part = excerpt_paths(index, paths, undoes=undoes)
        if undoes and not any(_is_voided(line, undoes) for line in part.lines):
            return None
        before = derive_verdicts(part.rows, part.lines)
        made = make(before, part.lines)
        if len(index.tail) + len(made) > MOST_BEHIND:
            return None
        after = derive_verdicts(part.rows, [*part.lines, *made])
        kept = _count_kept(index) - len(kept_rows(before)) + len(kept_rows(after))
        changed = int((before[VERDICT_COLUMNS] != after[VERDICT_COLUMNS]).any(axis=1).sum())
        if not dry_run:
            _append(workspace, index, part, made)
        return Recorded(made, changed, kept, index.record["tallies"]["totals"]["rows"])

    # Without the lock what was read would not hold for the append.
    with nullcontext() if dry_run else lock_journal(workspace.journal):
        return answer_lightly(workspace, record, dry_run=dry_run)


def _is_voided(line: Decision, batch: str) -> bool:
    return line.batch == batch or line.batch.partition(".")[0] == batch


def _count_kept(index: Index) -> int:
    """The kept rows of the whole manifest, the newest decisions applied."""
    kept = int(index.record["tallies"]["totals"].get("kept", 0))
    if not index.tail:
        return kept
    part = excerpt_tail(index)
    now = derive_verdicts(part.rows, part.lines)
    return kept - len(kept_rows(part.rows)) + len(kept_rows(now))


def _append(workspace: Workspace, index: Index, part: Excerpt, made: Sequence[Decision]) -> None:
    with ignore_sigint():
        append_locked(workspace.journal, made, known=part.lines, after=index.last_place())
        stamp = stamp_of(workspace.journal)
        note_stamps(workspace, index.stamps[0], stamp, made[-1].batch)
