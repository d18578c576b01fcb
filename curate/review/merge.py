"""merge: another workspace's journal -> ours, both in the order of time.

Lines stay as they are, and the lines of one journal keep their order among themselves. So merging A
into B gives the same decisions as merging B into A, and merging twice changes nothing. The only
writer of the journal that does not append: it replaces the whole file.
"""

import heapq
from collections.abc import Sequence
from pathlib import Path

from curate.errors import JournalError
from curate.files import write_atomically
from curate.result import Result
from curate.review.reviewers import disagreements
from curate.workspace.journal import Decision, is_machine, lock_journal, read_journal, to_line
from curate.workspace.run import apply_journal
from curate.workspace.workspace import Workspace


def merge(workspace: Workspace, other: Path, *, dry_run: bool) -> Result:
    """Add the decisions of another journal and derive the verdicts (nothing with `dry_run`).

    Raises
    ------
    JournalError  if the other file is missing or is no journal
    """
    if not other.is_file():
        raise JournalError(
            f"{other}: no such journal: name the decisions.jsonl of the other workspace"
        )
    manifest, theirs = workspace.read(), read_journal(other)
    with lock_journal(workspace.journal):
        ours = workspace.read_journal()
        merged = interleave(ours, theirs)
        if not dry_run and len(merged) > len(ours):
            write_atomically(workspace.journal, b"".join(map(to_line, merged)))
    if not dry_run:
        apply_journal(workspace)
    taken, queue = len(merged) - len(ours), len(disagreements(manifest, merged))
    machines = sum(is_machine(line.by) for line in set(merged) - set(ours))
    lines = f"{taken:,} of {len(theirs):,} lines added, {len(merged):,} in all"
    summary = f"merge: {lines}; {queue:,} images in disagreement"
    if machines:
        summary += f"; {machines:,} of the added lines are by machines and disagree with nobody"
    if queue:
        summary += "; review them with `curate relabel --disagreements`"
    counts = {"taken": taken, "lines": len(merged), "disagreements": queue, "by_machines": machines}
    return Result(summary, counts=counts)


def interleave(ours: Sequence[Decision], theirs: Sequence[Decision]) -> list[Decision]:
    """Both journals in the order of time; each keeps its order, a line of both comes once."""
    known = set(ours)
    return list(heapq.merge(ours, [line for line in theirs if line not in known], key=_rank))


def _rank(line: Decision) -> tuple[str, str]:
    return line.at, line.batch
