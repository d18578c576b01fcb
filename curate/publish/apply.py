"""apply: a published curation -> the facts and decisions of this workspace, one undoable batch.

In: the folder of a curation, and a workspace of that data set in any form. Out: the manifest with
the curation's facts, its verdicts in the journal, pairs.csv, and the receipts of the stages whose
columns it holds. What was there before is kept for `curate undo`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curate.duplicates.pair_table import read_pairs
from curate.errors import WorkspaceError, amount, examples
from curate.files import ignore_sigint, write_atomically
from curate.publish.check import broken_laws as broken_curation_laws
from curate.publish.curation import Curation, read_curation
from curate.publish.descriptor import Floats, describe
from curate.publish.faces import load_faces
from curate.publish.facts import Replay, has_run, replay, require_split
from curate.publish.match import STATES, Match, Rows, match_images
from curate.publish.schema import OFFICIAL
from curate.publish.splits import NO_EXACT
from curate.result import Result
from curate.review.reviewers import require_person
from curate.stages import dedup, inspect, split
from curate.workspace.explained import Derived, derive_checked, write_derived
from curate.workspace.invariants import broken_laws, require_laws
from curate.workspace.journal.decisions import APPLY, BatchHeader, list_applied, new_batch
from curate.workspace.journal.file import append_locked, lock_journal, read_bytes
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.manifest import table_bytes
from curate.workspace.receipts import StageResult, knows_copies, new_receipt, write_receipt
from curate.workspace.snapshots import FACTS, finish_snapshot, is_unfinished, keep_snapshot
from curate.workspace.workspace import Workspace

LEAST_SHARE = 0.95  # of the readable images; with fewer it is another data set
PAIRS = "pairs.csv"
# The stages whose columns apply writes, with what they read.
_STAGES = {
    "inspect": inspect.INPUT_COLUMNS,
    "dedup": dedup.INPUT_COLUMNS,
    "split": split.INPUT_COLUMNS,
}


@dataclass(frozen=True)
class ApplyOptions:
    """The options of `curate apply`.

    Attributes
    ----------
    split : name of a split of the curation; None for its default
    allow_partial : also apply it where under `LEAST_SHARE` of the images are matched
    by : who applies it
    workers : processes that read the pictures
    """

    split: str | None
    allow_partial: bool
    by: str
    workers: int | None = None


@dataclass(frozen=True)
class _Plan:
    """What applying will do, from the manifest `before` to that `after`.

    Attributes
    ----------
    is_new : whether anything changes
    knows_copies : whether the copies of all images are known then, of those too that the curation
        does not hold
    """

    curation: Curation
    split: str
    match: Match
    made: Replay
    before: pd.DataFrame
    after: pd.DataFrame
    header: BatchHeader
    is_new: bool
    knows_copies: bool


def apply_curation(
    workspace: Workspace, folder: Path, options: ApplyOptions, *, dry_run: bool
) -> Result:
    """Replay a curation on the images of this workspace.

    Raises
    ------
    WorkspaceError  if the curation is damaged, edited or of another schema, has no such split, is
        of another data set, or another curation is applied already
    ManifestError  if there is no manifest
    JournalError  if the journal does not explain the manifest
    UsageError  if it would be applied by a machine's name
    """
    require_person(options.by)
    curation = _read(folder)
    name = options.split or str(curation.record["default_split"])
    require_split(curation, name)
    derived = derive_checked(workspace)
    match = _match(workspace, derived.after, curation, options.workers, dry_run=dry_run)
    _require_same_set(derived.after, curation, match, options)
    header = new_batch(options.by, note=f"{curation.title}, split {name}")
    own_pairs = None
    if knows_copies(workspace.root, derived.after):
        own_pairs = read_pairs(workspace.pairs, may_lack=True)
    plan = _plan(derived, curation, name, match, header, own_pairs)
    if plan.is_new and not dry_run:
        _require_unapplied(derived)
        _write(workspace, plan)
    elif not dry_run:
        _complete(workspace, plan)
    return _summarize(plan, rows=len(derived.after), dry_run=dry_run)


def _read(folder: Path) -> Curation:
    """The curation; WorkspaceError if a digest or a law does not hold."""
    curation = read_curation(folder)
    broken = broken_curation_laws(curation)
    if broken:
        raise WorkspaceError(
            f"{folder}: {amount(len(broken), 'law is', 'laws are')} broken ({broken[0]}): `curate "
            f"publish --check {folder}` lists them; take an untouched copy of the curation"
        )
    return curation


def _match(
    workspace: Workspace,
    manifest: pd.DataFrame,
    curation: Curation,
    workers: int | None,
    *,
    dry_run: bool,
) -> Match:
    """Match the images; the faces are decoded only if some have other pixels."""

    def describe_rows(rows: Rows) -> Floats:
        faces = load_faces(workspace, manifest, workers, dry_run=dry_run)
        return describe(faces[rows])

    return match_images(manifest, curation.images, curation.digits, describe_rows)


def _require_same_set(
    manifest: pd.DataFrame, curation: Curation, match: Match, options: ApplyOptions
) -> None:
    """Raise WorkspaceError if too few images are matched, or none."""
    readable = len(manifest) - match.count("unreadable")
    matched = int(match.is_matched.sum())
    if matched and (options.allow_partial or matched >= LEAST_SHARE * readable):
        return
    share = 100 * matched / max(1, readable)
    sources = ", ".join(sorted(curation.record["sources"]))
    raise WorkspaceError(
        f"apply: {matched:,} of {readable:,} images ({share:.1f} %) are in {curation.title}, a "
        f"curation of {sources}: this is another data set, or few of its images: build the right "
        "one" + ("" if not matched else ", or apply it to what is there with --allow-partial")
    )


def _require_unapplied(derived: Derived) -> None:
    """Raise WorkspaceError if another curation, or another split of it, is applied here."""
    applied = list_applied(derived.journal)
    if applied:
        last = applied[-1]
        raise WorkspaceError(
            f"apply: a curation is applied here already ({last.note}, batch {last.batch}), and "
            f"this one differs from what is here now: `curate undo {last.batch}` first"
        )


def _plan(
    derived: Derived,
    curation: Curation,
    name: str,
    match: Match,
    header: BatchHeader,
    own_pairs: pd.DataFrame | None,
) -> _Plan:
    made = replay(derived.after, derived.journal, curation, name, match, header, own_pairs)
    after = derive_verdicts(made.facts, [*derived.journal, *made.lines])
    for stage in ("dedup", "flag"):
        require_laws(after, stage)
    _require_whole_parts(after, curation, name)
    facts = list(FACTS)
    is_new = bool(made.lines) or not made.facts[facts].equals(derived.after[facts])
    is_whole = own_pairs is not None or not match.count("unmatched")
    return _Plan(curation, name, match, made, derived.after, after, header, is_new, is_whole)


def _require_whole_parts(after: pd.DataFrame, curation: Curation, name: str) -> None:
    """Raise WorkspaceError if the curation's split separates what belongs together here.

    It may know no subjects, or no sequences, where this data set has them.
    """
    broken = broken_laws(after, "split")
    if broken:
        others = [each for each in curation.splits if each not in (name, NO_EXACT)]
        way = f"choose another with --split ({', '.join(others)})" if others else ""
        without = "build the data set without its subjects and sequences to apply it"
        raise WorkspaceError(
            f"apply: split {name} of {curation.title} does not hold here: "
            f"{broken[0].partition('; run')[0]}: {' or '.join(filter(None, (way, without)))}"
        )


def _write(workspace: Workspace, plan: _Plan) -> None:
    """Keep what is replaced, record the batch, then write the facts; the receipts are last.

    A command that is killed before the batch is recorded has changed nothing. Killed after it, the
    verdicts count and the facts do not yet: `curate undo` of the batch takes them back.
    """
    with workspace.lock("`curate apply`"), lock_journal(workspace.journal):
        now = derive_checked(workspace)
        if not now.after.equals(plan.before):
            raise WorkspaceError(
                f"{workspace.manifest}: was changed by another program meanwhile: apply it again"
            )
        _require_unapplied(now)
        batch = plan.header.batch
        keep_snapshot(workspace, batch, now.after, plan.after)
        with ignore_sigint():
            append_locked(workspace.journal, [plan.header.to_decision(APPLY), *plan.made.lines])
            data = read_bytes(workspace.journal)
            write_atomically(workspace.root / PAIRS, table_bytes(plan.made.pairs))
            write_derived(workspace, now.before, plan.after, data=data)
            _write_receipts(workspace, plan, batch)


def _complete(workspace: Workspace, plan: _Plan) -> None:
    """Write the receipts of a command that was killed after it had written the manifest."""
    with workspace.lock("`curate apply`"):
        for line in list_applied(workspace.read_journal())[-1:]:
            if is_unfinished(workspace, line.batch):
                _write_receipts(workspace, plan, line.batch)


def _write_receipts(workspace: Workspace, plan: _Plan, batch: str) -> None:
    for stage in _STAGES:
        if has_run(plan.curation, stage) and (stage != "dedup" or plan.knows_copies):
            _write_receipt(workspace, plan, stage)
    finish_snapshot(workspace, batch)


def _write_receipt(workspace: Workspace, plan: _Plan, stage: str) -> None:
    """The receipt of a stage whose columns the curation holds, with the options that made them."""
    tables = {PAIRS: plan.made.pairs} if stage == "dedup" else {}
    options = plan.curation.record.get("stages", {}).get(stage, {})
    if stage == "split" and plan.split.startswith(OFFICIAL):
        options = {"from_source": True}
    receipt = new_receipt(
        workspace.root,
        stage,
        plan.after,
        input_columns=_STAGES[stage],
        inputs=(),
        options=options,
        result=StageResult("", counts={"applied": plan.header.note}, tables=tables),
    )
    write_receipt(workspace.root, receipt, seconds=0)


def _summarize(plan: _Plan, *, rows: int, dry_run: bool) -> Result:
    match, made = plan.match, plan.made
    matched = int(match.is_matched.sum())
    missing = len(plan.curation.images) - matched
    counts: dict[str, Any] = {
        "matched": matched,
        **{state: match.count(state) for state in STATES},
        "missing": missing,
        "other_label": made.other_label,
        "verdicts": len(made.lines) - made.left_out,
        "left_out": made.left_out,
        "own_verdicts": made.own,
        "split": plan.split,
        "batch": plan.header.batch if plan.is_new and not dry_run else "",
    }
    summary = (
        f"apply: {plan.header.note}: {matched:,} of {rows:,} images matched "
        f"({counts['exact']:,} by their pixels, "
        f"{amount(counts['lossy'], 'lossy copy', 'lossy copies')}), {counts['ambiguous']:,} "
        f"ambiguous, {counts['unmatched']:,} unmatched, {missing:,} of the curation not here; "
        f"{amount(counts['verdicts'], 'verdict')}, {amount(made.left_out, 'image')} left out"
    )
    batch = plan.header.batch
    end = "nothing changed"
    if plan.is_new and dry_run:
        end = "one batch"
    elif plan.is_new:
        end = f"batch {batch}, `curate undo {batch}` takes it back"
    return Result(f"{summary}; {end}", counts=counts, notes=_list_notes(plan))


def _list_notes(plan: _Plan) -> list[str]:
    """What the user should look at: images that several fit, other labels, own verdicts."""
    notes = []
    is_ambiguous = plan.match.state == "ambiguous"
    if is_ambiguous.any():
        paths = list(plan.before["path"][is_ambiguous])
        notes.append(
            f"apply: {amount(len(paths), 'image fits', 'images fit')} several of the curation, and "
            f"neither label nor split chooses ({examples(paths)}): they are left out"
        )
    if not plan.knows_copies:
        count = plan.match.count("unmatched")
        notes.append(
            f"apply: {amount(count, 'image is', 'images are')} not in the curation, and no copies "
            "of them are known: run `curate dedup` before you keep one"
        )
    if plan.made.other_label:
        notes.append(
            f"apply: {amount(plan.made.other_label, 'matched image has', 'matched images have')} "
            "another given label here than in the curation"
        )
    if plan.made.own_left_out:
        left_out = plan.made.own_left_out
        notes.append(
            f"apply: {amount(len(left_out), 'image')} that a person here has kept left out all the "
            f"same ({examples(left_out)}): split {plan.split} does not hold them, and a copy may "
            "be in another part of it"
        )
    if plan.made.own:
        notes.append(
            "apply: the curation contradicts "
            f"{amount(plan.made.own, 'verdict')} of this workspace, which count before it"
        )
    return notes
