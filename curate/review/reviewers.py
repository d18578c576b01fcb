"""Several reviewers: the own verdicts of each, and the images on which they disagree.

A decision with the note `ADJUDICATED` was made with a disagreement on the screen (`curate relabel
--disagreements`): it settles the disagreement and is nobody's own verdict. One with the note
`RESTORED` (`curate journal restore`) was made by somebody whose line is lost, so it is nobody's own
verdict either, and neither is one that was given up (`curate journal discard`), nor an image that
the split of an applied curation leaves out. A machine is no reviewer: its labels agree or disagree
with nobody. Nor is a consensus (`curate decide --consensus`), which settles a disagreement until
somebody decides again.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from curate.errors import UsageError, shorten
from curate.workspace.journal.decisions import (
    CONSENSUS,
    LEFT_OUT,
    MACHINE,
    NO_FIT,
    NOT_HELD,
    Decision,
    drop_undone,
    is_consensus,
    is_left_out,
    is_machine,
    name_kept_labels,
)
from curate.workspace.journal.order import group_by_bytes, image_of, known_batches
from curate.workspace.journal.verdicts import current_decisions

ADJUDICATED = "adjudicated"
RESTORED = "restored from the manifest"
GIVEN_UP = "given up: not explained by the journal"

Verdicts = Mapping[str, Mapping[str, str]]


def require_person(by: str) -> None:
    """Raise UsageError if a person decides under the name of a machine or of a consensus."""
    if is_machine(by):
        raise UsageError(
            f"--by {by}: names that begin with '{MACHINE}' are for accepted suggestions, which are "
            "no verdicts: choose another name"
        )
    if is_consensus(by):
        raise UsageError(
            f"--by {by}: names that begin with '{CONSENSUS}' are for `curate decide --consensus`, "
            "which is no reviewer: choose another name"
        )


def require_plain_note(note: str) -> None:
    """Raise UsageError if a person's note is one by which a line is nobody's own verdict."""
    if note in (ADJUDICATED, RESTORED, GIVEN_UP, NO_FIT, NOT_HELD) or note.startswith(LEFT_OUT):
        raise UsageError(
            f"--note '{shorten(note)}': such a note marks lines that are nobody's own verdict: "
            "word it otherwise"
        )


def verdict_of(decision: Decision, given_label: str) -> str:
    """The verdict of a decision: a class, or `drop`; empty for unsure.

    `decision` is one of `name_kept_labels`; a keep that names no label is one of the given label.
    """
    kept = decision.label or given_label
    return {"keep": kept, "relabel": decision.label, "drop": "drop"}.get(decision.action, "")


def own_verdicts(manifest: pd.DataFrame, journal: Sequence[Decision]) -> Verdicts:
    """Reviewer -> path -> verdict of their current decision; unsure is no verdict."""
    given = dict(zip(manifest["path"], manifest["given_label"], strict=True))
    reviewers = {line.by for line in journal if line.path and line.action != "refused"}
    reviewers = {by for by in reviewers if not is_machine(by) and not is_consensus(by)}
    named = name_kept_labels(journal)  # before the lines of the others, which explain some, are out
    found = {}
    for reviewer in sorted(reviewers):
        decisions = current_decisions(manifest, lines_of(named, reviewer)).by_path
        verdicts = {
            path: verdict_of(decision, given[path]) for path, decision in sorted(decisions.items())
        }
        decided = {path: verdict for path, verdict in verdicts.items() if verdict}
        if decided:
            found[reviewer] = decided
    return found


def lines_of(journal: Sequence[Decision], reviewer: str) -> list[Decision]:
    """The journal with one reviewer alone: their own decisions, and every undo and refusal."""
    voiding = ("undo", "refused")
    return [
        line for line in journal if line.action in voiding or (line.by == reviewer and is_own(line))
    ]


def is_own(line: Decision) -> bool:
    """Whether a line holds the verdict of the one by whom it is, formed alone."""
    return line.note not in (ADJUDICATED, RESTORED, GIVEN_UP) and not is_left_out(line)


def disagreements(manifest: pd.DataFrame, journal: Sequence[Decision]) -> dict[str, dict[str, str]]:
    """Path -> reviewer -> verdict, of images with several verdicts that nothing has settled since.

    An adjudication settles them, or a consensus.

    Decisions that had not seen each other disagree too, even of one reviewer, who may have decided
    on two machines: the one that does not count is listed as `REVIEWER (BATCH)`.
    """
    by_path: dict[str, dict[str, str]] = {}
    for reviewer, verdicts in own_verdicts(manifest, journal).items():
        for path, verdict in verdicts.items():
            by_path.setdefault(path, {})[reviewer] = verdict
    newest = current_decisions(manifest, journal).by_path
    given = dict(zip(manifest["path"], manifest["given_label"], strict=True))
    concurrent = concurrent_decisions(manifest, journal)
    found = {
        path: verdicts
        for path, verdicts in by_path.items()
        if len(set(verdicts.values())) > 1 and not _settles(newest[path])
    }
    for path, decisions in concurrent.items():
        verdicts = found.setdefault(path, by_path.get(path, {}))
        for made in decisions:
            verdict = verdict_of(made, given[path])
            if verdicts.get(made.by) != verdict:
                verdicts[f"{made.by} ({made.batch})"] = verdict
    return dict(sorted(found.items()))


def _settles(decision: Decision) -> bool:
    return decision.note == ADJUDICATED or is_consensus(decision.by)


def concurrent_decisions(
    manifest: pd.DataFrame, journal: Sequence[Decision]
) -> dict[str, list[Decision]]:
    """Path -> the decisions of people that count and had not seen each other, if they differ.

    They are lines of `name_kept_labels`.
    """
    named = name_kept_labels(journal)
    about = group_by_bytes(named)
    given = dict(zip(manifest["path"], manifest["given_label"], strict=True))
    counting = {id(line) for line in drop_undone(named)}
    found = {}
    for path, lines in _group_by_path(manifest, named).items():
        verdict_by = {id(line): verdict_of(line, given[path]) for line in lines}
        decided = [
            line
            for line in lines
            if id(line) in counting and verdict_by[id(line)] and not is_left_out(line)
        ]
        newest = _leave_out_seen(decided, about)
        if len({verdict_by[id(line)] for line in newest}) > 1:
            found[path] = newest
    return found


def _group_by_path(
    manifest: pd.DataFrame, journal: Sequence[Decision]
) -> dict[str, list[Decision]]:
    """Path -> the lines of people about the image that lies there now, in their order."""
    moved = current_decisions(manifest, journal).moved
    sha256_at = dict(zip(manifest["path"], manifest["sha256"], strict=True))
    lines_at: dict[str, list[Decision]] = {}
    for line in journal:
        is_here = sha256_at.get(line.path) == line.sha256
        path = line.path if is_here else moved.get((line.path, line.sha256))
        if path is not None and line.action != "refused" and not is_machine(line.by):
            lines_at.setdefault(path, []).append(line)
    return lines_at


def _leave_out_seen(
    decided: Sequence[Decision], about: Mapping[tuple[str, str], Sequence[Decision]]
) -> list[Decision]:
    """Those of the decisions about an image that no other of them has seen.

    Parameters
    ----------
    about : as `group_by_bytes` returns it
    """
    if len(decided) < 2:
        return []
    known = known_batches(about[image_of(decided[0])])
    seen = set().union(*(known[line.batch] for line in decided))
    return [line for line in decided if line.batch not in seen]
