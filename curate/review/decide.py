"""decide: a person's verdicts from the command line or a CSV -> one batch in the journal.

Two kinds of batches are no person's own verdicts: suggestions that are accepted without a look
(`curate.review.accept`), and a consensus of reviewers (`curate.review.consensus`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from curate.csv_text import read_cell, read_frame
from curate.errors import JournalError, UsageError, amount, examples, find_reason
from curate.result import Result
from curate.review.accept import AT_LEAST, accept
from curate.review.consensus import AT_LEAST as CONSENSUS_AT_LEAST
from curate.review.consensus import settle
from curate.review.light import MakeLines, Recorded, record_lightly
from curate.review.reviewers import require_person, require_plain_note
from curate.stderr import note_once
from curate.workspace.explained import derive_checked, require_explained
from curate.workspace.journal.decisions import Decision, new_decisions, undo_batch
from curate.workspace.journal.file import describe_cut
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.run import record_decisions
from curate.workspace.snapshots import (
    find_unfinished_undo,
    has_snapshot,
    require_snapshot,
    restore_facts,
    restore_snapshot,
)
from curate.workspace.workspace import Workspace

# Of a decision in a large workspace.
BEHIND = (
    "decide: every command counts this from now on, but manifest.csv does not hold it yet: the "
    "next stage writes it"
)


@dataclass(frozen=True)
class DecideOptions:
    """The options of `curate decide`; exactly one kind of decision must be set.

    `table` is a CSV with the columns path, action and label. `at_least` is of `accept` and
    `consensus`, `limit` of `accept` alone; they are None where they are not given.
    """

    paths: Sequence[str]
    label: str | None
    keep: bool
    drop: bool
    unsure: bool
    undo: str | None
    table: Path | None
    accept: bool = False
    consensus: bool = False
    at_least: float | None = None
    limit: int | None = None


def decide(
    workspace: Workspace, options: DecideOptions, *, by: str, note: str, dry_run: bool
) -> Result:
    """Append one batch to the journal and derive the verdicts.

    Raises
    ------
    UsageError  unless exactly one kind of decision is requested, by a person, with a note of one
    JournalError  if an image, class or batch is unknown, if the journal does not explain the
        manifest, or if nothing shows who is right about disagreements that are to be settled;
        nothing is recorded then
    PredictionsError  if suggestions are accepted and `flag` has made none of the present files
    """
    action = _read_action(options)
    require_person(by)
    require_plain_note(note)
    if action in ("accept", "consensus"):
        require_explained(workspace)
        return _decide_by_models(workspace, options, by=by, note=note, dry_run=dry_run)
    wanted = [] if action == "undo" else _read_wanted(options, action)

    def make(rows: pd.DataFrame, journal: Sequence[Decision]) -> list[Decision]:
        if action == "undo":
            return undo_batch(journal, options.undo or "", by=by, note=note)
        if options.table:
            _require_idle_labels(rows, wanted)
        return new_decisions(rows, wanted, note=note, by=by)

    notes = describe_cut(workspace.journal)
    paths, undoes = [path for path, _, _ in wanted], options.undo or ""
    found = None
    if not has_snapshot(workspace, undoes):
        found = record_lightly(workspace, make, paths, undoes=undoes, dry_run=dry_run)
    if found is None:
        result = _decide_whole(workspace, make, is_undo=action == "undo", dry_run=dry_run)
        return replace(result, notes=[*notes, *result.notes])
    return replace(_format(found), notes=notes if dry_run else [*notes, BEHIND])


def _decide_whole(workspace: Workspace, make: MakeLines, *, is_undo: bool, dry_run: bool) -> Result:
    """Record decisions after the whole table was read, and write it."""
    derived = derive_checked(workspace)
    before, journal = derived.after, derived.journal
    made = make(before, journal)
    if dry_run:
        facts = restore_facts(workspace, before, made[0].undoes)
        return _summarize(made, before, derive_verdicts(facts, [*journal, *made]))
    if not is_undo:
        return _summarize(made, before, record_decisions(workspace, made, is_explained=True))
    require_snapshot(workspace, made[0].undoes)
    begun = find_unfinished_undo(workspace, journal, made[0].undoes)
    if begun:  # a second undo of it could not be undone
        made = [begun]
    else:
        record_decisions(workspace, made, is_explained=True)
    notes = restore_snapshot(workspace, made[0].undoes, made[0].batch)
    return replace(_summarize(made, before, workspace.read()), notes=notes)


def _decide_by_models(
    workspace: Workspace, options: DecideOptions, *, by: str, note: str, dry_run: bool
) -> Result:
    at_least, limit = options.at_least, options.limit
    if options.consensus:
        at_least = CONSENSUS_AT_LEAST if at_least is None else at_least
        return settle(workspace, at_least=at_least, by=by, note=note, dry_run=dry_run)
    at_least = AT_LEAST if at_least is None else at_least
    return accept(workspace, at_least=at_least, limit=limit, by=by, note=note, dry_run=dry_run)


def _read_action(options: DecideOptions) -> str:
    is_requested = {
        "relabel": options.label is not None,
        "keep": options.keep,
        "drop": options.drop,
        "unsure": options.unsure,
        "undo": options.undo is not None,
        "table": options.table is not None,
        "accept": options.accept,
        "consensus": options.consensus,
    }
    actions = [name for name, requested in is_requested.items() if requested]
    if len(actions) != 1:
        raise UsageError(
            "decide: choose one of --label CLASS, --keep, --drop, --unsure, --undo BATCH, "
            "--from CSV, --accept-suggestions, --consensus"
        )
    needs_path = actions[0] not in ("undo", "table", "accept", "consensus")
    if bool(options.paths) != needs_path:
        raise UsageError(
            "decide: --undo, --from, --accept-suggestions and --consensus take no PATH, the others "
            "need at least one"
        )
    if options.limit is not None and not options.accept:
        raise UsageError("decide: --limit needs --accept-suggestions")
    if options.at_least is not None and not (options.accept or options.consensus):
        raise UsageError("decide: --at-least needs --accept-suggestions or --consensus")
    return actions[0]


def _read_wanted(options: DecideOptions, action: str) -> list[tuple[str, str, str]]:
    """(path, action, label) of each decision, each once."""
    if options.table:
        return _read_table(options.table)
    return [(path, action, options.label or "") for path in dict.fromkeys(options.paths)]


def _read_table(file: Path) -> list[tuple[str, str, str]]:
    try:
        table = read_frame(file)
    except (OSError, ValueError) as error:
        reason = find_reason(error)
        raise JournalError(
            f"{file}: cannot be read ({reason}): save it as CSV with the columns path, action, "
            "label"
        ) from error
    table = _clean(table)
    missing = [name for name in ("path", "action", "label") if name not in table.columns]
    if missing:
        raise JournalError(
            f"{file}: {amount(len(missing), 'column is', 'columns are')} missing "
            f"({examples(missing)}): save it with the columns path, action, label"
        )
    meant = [name for name in ("by", "note") if name in table and (table[name] != "").any()]
    if meant:
        note_once(
            f"{file}: its {examples(meant)} {'is' if len(meant) == 1 else 'are'} not read: the "
            "decisions are by --by, with --note: give the rows of each reviewer in a table of "
            "their own"
        )
    paths = table["path"].map(read_cell)
    wanted = list(dict.fromkeys(zip(paths, table["action"], table["label"], strict=True)))
    _require_one_verdict(wanted, file)
    return wanted


def _clean(table: pd.DataFrame) -> pd.DataFrame:
    """The table without blank rows and the case and spaces that people type; no label is none."""
    table = table.rename(columns=lambda name: str(name).strip().lower())
    table = table[(table != "").any(axis=1)].copy()
    for name in ("action", "label"):
        if name in table:
            table[name] = table[name].str.strip().str.lower()
    is_labelled = "label" in table or (table.get("action", pd.Series()) == "relabel").any()
    return table if is_labelled else table.assign(label="")


def _require_one_verdict(wanted: Sequence[tuple[str, str, str]], file: Path) -> None:
    """Raise JournalError if two rows decide differently about one image: which one is meant?"""
    times = Counter(path for path, _, _ in wanted)
    twice = [path for path, count in times.items() if count > 1]
    if twice:
        verdicts = [
            f"{action} {label}".strip() for path, action, label in wanted if path == twice[0]
        ]
        raise JournalError(
            f"{file}: {amount(len(twice), 'image has', 'images have')} rows that contradict each "
            f"other ({twice[0]}: {examples(verdicts)}): leave one row for each image"
        )


def _require_idle_labels(manifest: pd.DataFrame, wanted: Sequence[tuple[str, str, str]]) -> None:
    """Raise JournalError for a label beside an action that would not give it."""
    others = {path: label for path, action, label in wanted if label and action != "relabel"}
    if not others:
        return
    kept = {path for path, action, _ in wanted if action == "keep"}
    known = manifest[manifest["path"].isin(others)]
    present = dict(zip(known["path"], known["label"], strict=True))
    odd = [path for path in others if path not in kept or others[path] != present.get(path)]
    if odd:
        raise JournalError(
            f"{amount(len(odd), 'row has', 'rows have')} a label that the action does not give "
            f"({odd[0]}: {others[odd[0]]}): write relabel, or leave the label empty"
        )


def _summarize(made: Sequence[Decision], before: pd.DataFrame, after: pd.DataFrame) -> Result:
    verdicts = ["label", "status", "reason"]
    old, new = (table.set_index("path")[verdicts] for table in (before, after))
    both = old.index.intersection(new.index)  # a build may have changed the rows meanwhile
    changed = int((old.loc[both] != new.loc[both]).any(axis=1).sum())
    kept = int((after["status"] == "keep").sum())
    return _format(Recorded(made, changed, kept, len(after)))


def _format(found: Recorded) -> Result:
    made = found.made
    batch, action = made[0].batch, made[0].action
    what = f"undid {made[0].undoes}" if action == "undo" else f"{amount(len(made), 'decision')}"
    rows = f"{found.kept:,} of {found.rows:,} rows kept"
    return Result(
        f"decide: {what}, {amount(found.changed, 'verdict')} changed, {rows}; batch {batch}",
        counts={
            "batch": batch,
            "decisions": len(made),
            "changed": found.changed,
            "kept": found.kept,
        },
    )
