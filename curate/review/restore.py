"""journal restore, journal discard: what to do with verdicts that the journal does not explain.

The journal was lost, or the manifest was edited by hand (`workspace/explained.py`). Restoring
records the manifest's verdicts in the journal, as one batch. Discarding records the batch and its
undo: the journal counts again, and it holds what was given up, so that even this can be undone.
"""

from collections.abc import Callable, Sequence

import pandas as pd

from curate.errors import JournalError, UsageError, amount, examples
from curate.files import ignore_sigint
from curate.result import Result
from curate.review.reviewers import GIVEN_UP, RESTORED
from curate.workspace.explained import BY_PEOPLE, find_unexplained, line_for, write_derived
from curate.workspace.journal.decisions import (
    BatchHeader,
    Decision,
    count_equal_files,
    name_kept_labels,
    new_batch,
)
from curate.workspace.journal.file import (
    append_locked,
    describe_cut,
    lock_journal,
    parse_journal,
    read_bytes,
)
from curate.workspace.journal.verdicts import current_decisions, derive_verdicts
from curate.workspace.workspace import Workspace


def restore(workspace: Workspace, *, by: str, dry_run: bool) -> Result:
    """Record the verdicts of the manifest that the journal does not explain, as one batch.

    Raises
    ------
    JournalError  if an image is kept that cannot be read; nothing is recorded then
    """
    return _settle(workspace, _restore_lines, "restore", by=by, dry_run=dry_run)


def discard(workspace: Workspace, count: int, *, by: str, dry_run: bool) -> Result:
    """Give the verdicts up that the journal does not explain: the journal counts.

    Parameters
    ----------
    count : how many they are, so that nobody gives up other ones than they have seen

    Raises
    ------
    UsageError  if there are not so many; nothing is recorded then
    """

    def lines_of(
        manifest: pd.DataFrame, journal: Sequence[Decision], paths: Sequence[str], by: str
    ) -> list[Decision]:
        if len(paths) != count:
            raise UsageError(
                f"discard: {amount(len(paths), 'verdict is', 'verdicts are')} not explained by the "
                f"journal, not {count:,} ({examples(paths) or 'none'}): look at them with `curate "
                "journal restore -n`"
            )
        header = new_batch(by, note=GIVEN_UP)
        lines = _lines_that_give(manifest, journal, paths, header)
        return [*lines, new_batch(by, note=header.note).to_decision("undo", undoes=header.batch)]

    return _settle(workspace, lines_of, "discard", by=by, dry_run=dry_run)


_LinesOf = Callable[[pd.DataFrame, Sequence[Decision], Sequence[str], str], list[Decision]]


def _settle(
    workspace: Workspace, lines_of: _LinesOf, command: str, *, by: str, dry_run: bool
) -> Result:
    """Record the lines and derive the verdicts; the table lists what each image has and will have.

    Parameters
    ----------
    lines_of : the lines to record, of the manifest, the journal, the paths and the reviewer
    """
    notes = describe_cut(workspace.journal)
    manifest = workspace.read_table()
    if dry_run:
        data = read_bytes(workspace.journal)
        journal = parse_journal(data, workspace.journal.name)
        paths = find_unexplained(workspace, data)
        lines = lines_of(manifest, journal, paths, by)
        after = derive_verdicts(manifest, [*journal, *lines])
    else:
        with workspace.lock(f"`curate journal {command}`"), lock_journal(workspace.journal):
            manifest = workspace.read_table()
            journal = workspace.read_journal()
            paths = find_unexplained(workspace)
            lines = lines_of(manifest, journal, paths, by)
            with ignore_sigint():
                if lines:
                    append_locked(workspace.journal, lines)
                data = read_bytes(workspace.journal)
                after = derive_verdicts(manifest, parse_journal(data, workspace.journal.name))
                write_derived(workspace, manifest, after, data=data)
    what = "recorded in the journal" if command == "restore" else "given up"
    batch = lines[0].batch if lines else ""
    summary = f"journal {command}: {amount(len(paths), 'verdict')} {what}"
    if batch:
        undo = batch if command == "restore" else lines[-1].batch
        summary += f"; batch {undo}, `curate undo {undo}` takes it back"
    if command == "restore":
        notes = [*notes, *_describe_void(journal, lines)]
    counts = {"verdicts": len(paths), "batch": batch, "lines": len(lines)}
    table = _format_rows(manifest, after, paths) if dry_run else ""
    return Result(summary, counts=counts, table=table, notes=notes)


def _describe_void(journal: Sequence[Decision], made: Sequence[Decision]) -> list[str]:
    """A note on the decisions of the journal that the manifest does not show and that give way."""
    refused = {(line.undoes, line.path) for line in made if line.action == "refused"}
    void = [line for line in journal if (line.batch, line.path) in refused]
    if not void:
        return []
    many = amount(len(void), "decision of the journal counts", "decisions of the journal count")
    first = f"{void[0].action} of {void[0].path} by {void[0].by}"
    return [
        f"restore: {many} no longer, as the manifest does not show them (first: {first}): if they "
        "should, undo this batch and bring the journal back"
    ]


def _restore_lines(
    manifest: pd.DataFrame, journal: Sequence[Decision], paths: Sequence[str], by: str
) -> list[Decision]:
    rows = manifest[manifest["path"].isin(paths)]
    is_useless = (rows["pixel_hash"] == "") & (rows["status"] == "keep")
    useless = list(rows.loc[is_useless, "path"])
    if useless:
        raise JournalError(
            f"{amount(len(useless), 'image')} cannot be read, so no model can learn from them "
            f"({examples(useless)}): set their status to drop and their reason to unreadable in "
            f"the manifest, or `curate journal discard --verdicts {len(paths)}`"
        )
    return _lines_that_give(manifest, journal, paths, new_batch(by, note=RESTORED))


def _lines_that_give(
    manifest: pd.DataFrame,
    journal: Sequence[Decision],
    paths: Sequence[str],
    header: BatchHeader,
) -> list[Decision]:
    """The lines after which these rows have the verdicts that the manifest shows.

    A verdict of a person becomes a decision. Where the manifest shows none and the journal has one,
    an undo was lost: the decisions about the image are voided. What is then still another label or
    status was edited by hand, and becomes a decision too.
    """
    rows = manifest[manifest["path"].isin(paths)]
    by_people = rows["reason"].isin(BY_PEOPLE)
    values = {"batch": header.batch, "by": header.by, "at": header.at, "note": header.note}
    lines = [line_for(row, **values) for row in rows[by_people].to_dict("records")]
    lines += _void(manifest, journal, set(rows.loc[~by_people, "path"]), header)
    for _ in range(2):  # a copy follows its original, which may be among them
        derived = derive_verdicts(manifest, [*journal, *lines])
        differs = (derived[["label", "status"]] != manifest[["label", "status"]]).any(axis=1)
        is_copy = differs & (manifest["duplicate_of"] != "")
        wrong = differs & ~is_copy if (differs & ~is_copy).any() else differs
        left = manifest[wrong & manifest["path"].isin(paths)]
        decided = left.assign(reason="human").to_dict("records")
        lines += [line_for(row, **values) for row in decided]
    return count_equal_files(lines, manifest)


def _void(
    manifest: pd.DataFrame, journal: Sequence[Decision], paths: set[str], header: BatchHeader
) -> list[Decision]:
    """The lines that void every decision about these images that counts."""
    lines: list[Decision] = []
    while True:
        current = current_decisions(manifest, name_kept_labels([*journal, *lines])).by_path
        found = [(path, made) for path, made in current.items() if path in paths]
        found = [(path, made) for path, made in found if made.note != RESTORED]
        if not found:
            return lines
        lines += [
            header.to_decision("refused", path=made.path, sha256=made.sha256, undoes=made.batch)
            for _, made in found
        ]


def _format_rows(manifest: pd.DataFrame, after: pd.DataFrame, paths: Sequence[str]) -> str:
    """Each image with its verdict in the manifest and the one that it will have."""
    verdicts = ["label", "status", "reason"]
    shown, then = (
        table.set_index("path").loc[list(paths), verdicts].to_numpy().tolist()
        for table in (manifest, after)
    )
    lines = [
        f"{path}: {' '.join(old).strip()} -> {' '.join(new).strip()}"
        for path, old, new in zip(paths, shown, then, strict=True)
    ]
    return "\n".join(lines)
