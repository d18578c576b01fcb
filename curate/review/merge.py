"""merge: another workspace's journal -> ours, each line after those that its own journal had.

Lines stay as they are, and their order follows from the lines alone (`journal/order.py`), not
from the clocks or from who merges whom: merging A into B gives the same journal as merging B into
A, merging twice changes nothing. The only writer of the journal that does not append: it replaces
the whole file.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from curate.errors import JournalError, amount, examples
from curate.files import ignore_sigint, write_atomically
from curate.result import Result
from curate.review.agreement import list_disputed
from curate.review.reviewers import disagreements
from curate.workspace.explained import expect_journal, require_explained, survey
from curate.workspace.journal.decisions import Decision, is_machine
from curate.workspace.journal.file import (
    append_locked,
    describe_cut,
    lock_journal,
    read_bytes,
    read_journal,
    to_line,
)
from curate.workspace.journal.order import unite
from curate.workspace.journal.verdicts import (
    current_decisions,
    describe_stale,
    list_decided,
)
from curate.workspace.light.index import find_lost
from curate.workspace.run import apply_locked
from curate.workspace.workspace import Workspace


def merge(workspace: Workspace, other: Path, *, dry_run: bool) -> Result:
    """Add the decisions of another journal and derive the verdicts (nothing with `dry_run`).

    Raises
    ------
    JournalError  if the other file is missing or is no journal, or if both journals together do not
        explain the manifest
    """
    if not other.is_file():
        raise JournalError(
            f"{other}: no such journal: name the decisions.jsonl of the other workspace"
        )
    workspace.read()  # without a manifest make no folder and no lock
    theirs = read_journal(other)
    notes = [*describe_cut(workspace.journal), *describe_cut(other)]
    if dry_run:
        ours, merged = _unite(workspace, theirs)
    else:
        with workspace.lock("`curate merge`"), lock_journal(workspace.journal):
            ours, merged = _unite(workspace, theirs)
            with ignore_sigint():
                _write(workspace, ours, merged)
                apply_locked(workspace)
    return _summarize(workspace, ours, theirs, merged, notes)


def _unite(
    workspace: Workspace, theirs: Sequence[Decision]
) -> tuple[list[Decision], list[Decision]]:
    """Our lines, and the lines of both; JournalError if they do not explain the manifest."""
    ours = workspace.read_journal()
    merged = unite(ours, theirs)
    derived, paths = survey(workspace)
    if paths or find_lost(workspace, derived.journal):
        # Their journal may be the copy that brings back what ours has lost.
        require_explained(workspace, b"".join(map(to_line, merged)))
    return ours, merged


def _write(workspace: Workspace, ours: Sequence[Decision], merged: Sequence[Decision]) -> None:
    """Replace the journal; a link to it stays a link."""
    data = b"".join(map(to_line, merged))
    if data == read_bytes(workspace.journal):
        return
    file = workspace.journal.resolve()
    if file.is_file() and file.stat().st_nlink > 1:
        # A new file would leave the other names with the old one. The order of the lines in the
        # file does not matter where each has its own.
        known = set(ours)
        append_locked(file, [line for line in merged if line not in known])
        return
    expect_journal(workspace, data)
    write_atomically(file, data)


def _summarize(
    workspace: Workspace,
    ours: Sequence[Decision],
    theirs: Sequence[Decision],
    merged: Sequence[Decision],
    notes: Sequence[str],
) -> Result:
    manifest = workspace.read()
    disputed = disagreements(manifest, merged)
    added = {(line.batch, line.path) for line in set(merged) - set(ours)}
    stale = [
        line
        for line in current_decisions(manifest, merged).stale
        if (line.batch, line.path) in added
    ]
    taken, queue = len(merged) - len(ours), len(disputed)
    machines = sum(is_machine(line.by) for line in set(merged) - set(ours))
    lines = f"{taken:,} of {len(theirs):,} lines added, {len(merged):,} in all"
    summary = f"merge: {lines}; {amount(queue, 'image')} in disagreement"
    if machines:
        summary += f"; {machines:,} of the added lines are by machines and disagree with nobody"
    if queue:
        summary += "; review them with `curate relabel --disagreements`"
    counts = {"taken": taken, "lines": len(merged), "disagreements": queue, "by_machines": machines}
    counts["stale"] = len(stale)
    undone = sorted(list_decided(manifest, ours) - list_decided(manifest, merged))
    counts["undone"] = len(undone)
    if undone:
        images = amount(len(undone), "image has", "images have")
        notes = [
            *notes,
            f"merge: {images} no verdict any more, as the added lines undo it "
            f"({examples(undone)}): `curate log PATH` lists who did",
        ]
    if stale:
        summary += f"; {len(stale):,} of the added lines do not count here"
        notes = [*notes, _explain_stale(stale, manifest)]
    return Result(summary, counts=counts, notes=[*notes, *list_disputed(disputed)])


def _explain_stale(stale: Sequence[Decision], manifest: pd.DataFrame) -> str:
    """Which of the added decisions do not count here, and why."""
    several = set(manifest["sha256"][manifest["sha256"].duplicated()])
    twice = sum(line.sha256 in several for line in stale)
    note = f"merge: {describe_stale(stale)}"
    if not twice:
        return note
    return (
        f"{note}; {amount(twice, 'is', 'are')} about a picture that is here several times under "
        "other paths: build it under the source name of the other workspace"
    )
