"""What changes a workspace: a stage, a build, a decision; each in one straight way.

A function comes in, its result is written and returned. `run_stage` is the same for every stage:
read and check the manifest and whether the journal explains it, run the stage, join its columns,
derive the verdicts, check again, then write the tables, the manifest and, last, the receipt.
`run_build` does the same for build, which alone adds and removes rows. Both hold the workspace's
lock all the while.
"""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pandas as pd

from curate.errors import EXIT_INTERRUPTED, CandidError, WorkspaceError
from curate.files import ignore_sigint, write_atomically, write_watched
from curate.stderr import note_recorded
from curate.workspace.explained import (
    Derived,
    derive_checked,
    require_explained,
    write_derived,
)
from curate.workspace.invariants import require_laws
from curate.workspace.journal.decisions import Decision
from curate.workspace.journal.file import append_locked, lock_journal, parse_journal, read_bytes
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.light.build import keep_written
from curate.workspace.manifest import empty_manifest, owned_by, table_bytes
from curate.workspace.places import remember_named
from curate.workspace.receipts import BuildResult, StageResult, new_receipt, write_receipt
from curate.workspace.workspace import Workspace


def run_stage(
    workspace: Workspace,
    stage: str,
    compute: Callable[[pd.DataFrame], StageResult],
    *,
    input_columns: Sequence[str],
    inputs: Sequence[Path] = (),
    options: Mapping[str, object] | None = None,
    dry_run: bool = False,
) -> StageResult:
    """Run a stage on the manifest and, unless `dry_run`, write its result.

    Parameters
    ----------
    stage : its name: owner of the columns, and name of the receipt
    compute : the stage's function from the manifest to its result, with its options bound
    input_columns : the columns it reads, `human` for the human verdicts; the receipt keeps a digest
        of each, and the stage is stale once one of them changes
    inputs : further files it reads, for the receipt too
    options : as the user gave them, for the receipt; JSON values

    Returns
    -------
    the stage's result, the rows kept added to its summary and counts

    Raises
    ------
    CandidError  whatever the stage raises; nothing is written then
    JournalError  if the journal does not explain a verdict of the manifest
    """
    # Without a manifest the stage fails: then too, make no folder and no lock.
    if dry_run or not workspace.manifest.is_file():
        return _compute(workspace, stage, compute)[0]
    with workspace.lock(f"`curate {stage}`"):
        start = time.perf_counter()
        result, after, derived = _compute(workspace, stage, compute)
        with ignore_sigint():
            for name, table in result.tables.items():
                write_atomically(workspace.root / name, table_bytes(table))
            for name in result.obsolete:
                (workspace.root / name).unlink(missing_ok=True)
            write_derived(workspace, derived.before, after, data=derived.data)
            receipt = new_receipt(
                workspace.root,
                stage,
                after,
                input_columns=input_columns,
                inputs=inputs,
                options=options or {},
                result=result,
            )
            write_receipt(workspace.root, receipt, seconds=time.perf_counter() - start)
            keep_written(workspace, derived, after)
    return result


def apply_result(
    before: pd.DataFrame, result: StageResult, stage: str, journal: Sequence[Decision]
) -> pd.DataFrame:
    """The manifest after a stage: its columns joined, the verdicts derived, its laws checked."""
    joined = before if result.columns is None else _join(before, result.columns, stage)
    after = derive_verdicts(joined, journal)
    require_laws(after, stage)
    return after


def _compute(
    workspace: Workspace, stage: str, compute: Callable[[pd.DataFrame], StageResult]
) -> tuple[StageResult, pd.DataFrame, Derived]:
    # The journal may be ahead of the manifest: a command was killed after it had recorded a
    # decision, or a decision was made while another stage held the lock.
    derived = derive_checked(workspace)
    result = compute(derived.after)
    after = apply_result(derived.after, result, stage, derived.journal)
    kept = int((after["status"] == "keep").sum())
    summary = f"{result.summary}; {kept:,} of {len(after):,} rows kept"
    counted = replace(result, summary=summary, counts={**result.counts, "kept": kept})
    return counted, after, derived


def _join(before: pd.DataFrame, columns: pd.DataFrame, stage: str) -> pd.DataFrame:
    assert tuple(columns.columns) == owned_by(stage), f"{stage} wrote columns that it does not own"
    assert len(columns) == len(before), f"{stage} changed the number of rows"
    return before.assign(**{name: columns[name].to_numpy() for name in owned_by(stage)})


def run_build(
    workspace: Workspace, build: Callable[[], BuildResult], *, dry_run: bool = False
) -> BuildResult:
    """Run a build and, unless `dry_run`, replace the rows of the manifest by its rows.

    What later stages know of the rows is kept while it still holds. The lock is held from before
    the build reads the workspace, so a second build begins where this one ended. Decisions need no
    lock to be recorded: those made during the build are applied at its end.

    Parameters
    ----------
    build : the build, with its options bound

    Raises
    ------
    CandidError  whatever the build raises; the manifest stays as it was then
    JournalError  if the journal does not explain a verdict of the manifest
    """
    require_explained(workspace)
    if dry_run:
        return build()
    with workspace.lock("`curate build`"):
        start = time.perf_counter()
        require_explained(workspace)
        result = build()
        require_explained(workspace)  # it takes minutes
        before = workspace.read_table() if workspace.manifest.is_file() else None
        data = read_bytes(workspace.journal)
        journal = parse_journal(data, workspace.journal.name)
        known = empty_manifest([]) if before is None else before
        after = derive_verdicts(carry_facts(known, result.rows), journal)
        listing = json.dumps(result.sources, indent=1, sort_keys=True) + "\n"
        with ignore_sigint():
            write_watched(workspace.sources, listing.encode())
            write_derived(workspace, before, after, data=data)
            receipt = new_receipt(
                workspace.root,
                "build",
                after,
                input_columns=(),
                inputs=(),
                options={},
                result=result,
            )
            write_receipt(workspace.root, receipt, seconds=time.perf_counter() - start)
            keep_written(workspace, Derived(after, after, journal, data), after)
        for name in result.read:  # the manifest now holds what these shards hold
            _remove_shards(workspace.shards / name)
    forgotten = remember_named(workspace, result.named)
    return replace(result, notes=[*result.notes, *forgotten]) if forgotten else result


def _remove_shards(folder: Path) -> None:
    """Remove the shards of a source, and no other file: the folder may be a stranger's link."""
    with suppress(OSError):
        for shard in folder.iterdir():
            if re.fullmatch(r"[0-9a-f]{32}\.(json|npy)", shard.name):
                shard.unlink(missing_ok=True)
        folder.rmdir()


def record_decisions(
    workspace: Workspace, made: Sequence[Decision], *, is_explained: bool = False
) -> pd.DataFrame:
    """Append decisions to the journal, then derive the verdicts again; returns the manifest.

    The journal has a lock of its own, so a long build or stage does not delay the append. Once it
    is done the decisions are safe, even if the manifest cannot be written now: the next command
    that writes it applies them.

    Parameters
    ----------
    is_explained : whether the caller has just seen that the journal explains the manifest

    Raises
    ------
    JournalError  if the journal does not explain the manifest, or another program holds it
    WorkspaceError  if they could not be recorded, or were recorded but not applied yet
    """
    if not is_explained:
        require_explained(workspace)
    recorded = ""
    try:
        with lock_journal(workspace.journal), ignore_sigint():
            append_locked(workspace.journal, made)
            recorded = note_recorded(made[0].batch)
        return apply_journal(workspace)
    except (CandidError, KeyboardInterrupt) as error:
        if not recorded or recorded in str(error):
            raise
        later = WorkspaceError(f"{recorded}: {str(error) or 'interrupted'}")
        if isinstance(error, KeyboardInterrupt):
            later.exit_code = EXIT_INTERRUPTED
        raise later from error


def apply_journal(workspace: Workspace) -> pd.DataFrame:
    """Derive the verdicts from the facts and the journal and write them; returns the manifest.

    Raises
    ------
    JournalError  if the journal does not explain a verdict of the manifest
    """
    with workspace.lock("a decision"), ignore_sigint():
        return apply_locked(workspace)


def apply_locked(workspace: Workspace) -> pd.DataFrame:
    """`apply_journal` for a caller that holds the workspace's lock."""
    derived = derive_checked(workspace)
    write_derived(workspace, derived.before, derived.after, data=derived.data)
    keep_written(workspace, derived, derived.after)
    return derived.after


def carry_facts(before: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The new rows of build with the facts of the later stages that are still true.

    Those stages compare rows with each other, so their columns survive only if no row was added,
    removed or changed. `quality` describes one image alone and stays with its pixels.
    """
    new = empty_manifest(list(rows["path"]))
    build = list(owned_by("build"))
    new[build] = rows.sort_values("path", kind="stable")[build].to_numpy()
    compared = [name for name in build if name != "votes"]  # no stage reads the crowd's votes
    if before[compared].to_numpy().tolist() == new[compared].to_numpy().tolist():
        return before.assign(votes=new["votes"])
    known = dict(zip(before["pixel_hash"], before["quality"], strict=True))
    quality = [known.get(pixels, "") for pixels in new["pixel_hash"]]
    return new.assign(quality=pd.Series(quality, dtype=str))
