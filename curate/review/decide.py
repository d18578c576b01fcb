"""decide: a person's verdict from the command line -> lines in the journal."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from curate.errors import JournalError, UsageError, examples
from curate.result import Result
from curate.workspace.journal import Decision, derive_verdicts, new_decisions, undo_batch
from curate.workspace.workspace import Workspace, record_decisions


@dataclass(frozen=True)
class DecideOptions:
    """What the command line asked for; exactly one kind of decision."""

    paths: Sequence[str]
    label: str | None
    keep: bool
    drop: bool
    unsure: bool
    undo: str | None
    table: Path | None


def decide(
    workspace: Workspace, options: DecideOptions, *, by: str, note: str, dry_run: bool
) -> Result:
    """Append one batch to the journal and derive the verdicts.

    Raises
    ------
    UsageError  unless exactly one kind of decision is asked for
    JournalError  if an image, class or batch is unknown; nothing is recorded then
    """
    action = _read_action(options)
    before, journal = workspace.read(), workspace.read_journal()
    if action == "undo":
        made = undo_batch(journal, options.undo or "", by=by, note=note)
    else:
        wanted = (
            _read_table(options.table)
            if options.table
            else [(path, action, options.label or "") for path in options.paths]
        )
        made = new_decisions(before, wanted, note=note, by=by)
    after = (
        derive_verdicts(before, [*journal, *made]) if dry_run else record_decisions(workspace, made)
    )
    return _summarise(made, before, after)


def _read_action(options: DecideOptions) -> str:
    asked = {
        "relabel": options.label is not None,
        "keep": options.keep,
        "drop": options.drop,
        "unsure": options.unsure,
        "undo": options.undo is not None,
        "table": options.table is not None,
    }
    chosen = [name for name, is_asked in asked.items() if is_asked]
    if len(chosen) != 1:
        raise UsageError(
            "decide: say one of --label CLASS, --keep, --drop, --unsure, --undo BATCH, --from CSV"
        )
    if bool(options.paths) == (chosen[0] in ("undo", "table")):
        raise UsageError("decide: --undo and --from take no PATH, the others need at least one")
    return chosen[0]


def _read_table(file: Path) -> list[tuple[str, str, str]]:
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise JournalError(
            f"{file}: cannot be read as a CSV with the columns path, action, label"
        ) from error
    missing = [name for name in ("path", "action", "label") if name not in table.columns]
    if missing:
        raise JournalError(f"{file}: columns missing ({examples(missing)}): path, action, label")
    return list(zip(table["path"], table["action"], table["label"], strict=True))


def _summarise(made: Sequence[Decision], before: pd.DataFrame, after: pd.DataFrame) -> Result:
    verdicts = ["label", "status", "reason"]
    old, new = (table.set_index("path")[verdicts] for table in (before, after))
    both = old.index.intersection(new.index)  # a build may have come between
    changed = int((old.loc[both] != new.loc[both]).any(axis=1).sum())
    kept = int((after["status"] == "keep").sum())
    batch, action = made[0].batch, made[0].action
    what = f"undid {made[0].undoes}" if action == "undo" else f"{len(made):,} decisions"
    return Result(
        f"decide: {what}, {changed:,} verdicts changed, {kept:,} of {len(after):,} rows kept; batch {batch}",
        counts={"batch": batch, "decisions": len(made), "changed": changed, "kept": kept},
    )
