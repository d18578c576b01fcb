"""Settle disagreements by the consensus of the reviewers, as one batch that `curate undo` voids.

In: the own verdicts of people and the out-of-fold predictions. Out: lines of the journal by
`consensus:<models>`. They are no reviewer's own verdicts, so neither agreement nor a later
consensus counts them. A consensus is always a verdict that some reviewer gave; where none is
probable enough, or a person has settled the image, nothing is recorded.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from curate.errors import JournalError
from curate.result import Result, format_counts
from curate.review.ballot import DROP, Ballot, fit_ballot, gather_ballot, read_believed
from curate.review.reviewers import disagreements
from curate.workspace.journal.decisions import (
    CONSENSUS,
    BatchHeader,
    Decision,
    count_equal_files,
    new_batch,
)
from curate.workspace.journal.order import set_seen
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.run import apply_journal, record_decisions
from curate.workspace.workspace import Workspace

AT_LEAST = 0.5


@dataclass(frozen=True)
class Settled:
    """A disputed image, the verdict that the consensus gives it, and its probability."""

    path: str
    verdict: str
    probability: float


def settle(workspace: Workspace, *, at_least: float, by: str, note: str, dry_run: bool) -> Result:
    """Give images in disagreement the verdict of the consensus.

    Parameters
    ----------
    at_least : the least probability of a verdict that is recorded, inclusive
    by : the person who runs the command, for the note

    Raises
    ------
    JournalError  if fewer than two reviewers judged one image, or two alone and there is no model
    """
    manifest, journal = workspace.read(), workspace.read_journal()
    manifest = derive_verdicts(manifest, journal)
    ballot = gather_ballot(manifest, journal)
    believed, models, notes = read_believed(workspace, manifest, ballot)
    consensus = fit_ballot(ballot, believed)
    if consensus is None:
        raise _too_few(ballot)
    disputed = disagreements(manifest, journal)
    found = _choose(ballot, consensus.probs, set(disputed))
    chosen = [each for each in found if each.probability >= at_least]
    name = CONSENSUS + ("+".join(models) or "votes")
    counts = {"by": name, "decisions": len(chosen), "left": len(disputed) - len(chosen)}
    if not chosen:
        if not dry_run:
            apply_journal(workspace)  # a batch whose command was killed may not be applied yet
        highest = max((each.probability for each in found), default=None)
        why = "no image is in disagreement" if highest is None else f"the highest is {highest:.3f}"
        summary = f"decide: no consensus has a probability of at least {at_least:g} ({why})"
        return Result(f"{summary}; nothing recorded", counts=counts, notes=notes)
    who = f"consensus of {', '.join(ballot.reviewers)}, at least {at_least:g}, recorded by {by}"
    header = new_batch(name, note="; ".join(text for text in (who, note) if text))
    # Not when they are appended: a verdict of that moment has not been counted.
    made = set_seen(_to_lines(manifest, chosen, header), journal)
    if not dry_run:
        record_decisions(workspace, made)
    return Result(
        _summarize(chosen, header, counts), counts={"batch": header.batch, **counts}, notes=notes
    )


def _too_few(ballot: Ballot) -> JournalError:
    if not ballot.paths:
        return JournalError(
            "no image has the verdicts of two reviewers: let others judge the images too "
            "(`curate relabel --by NAME --blind`), or `curate merge` their journals"
        )
    return JournalError(
        f"{len(ballot.reviewers)} reviewers alone show not who is right: let a third one judge "
        "the images, run `curate fold` and `train oof` for models, or decide yourself by "
        "`curate relabel --disagreements`"
    )


def _choose(ballot: Ballot, probs: np.ndarray, disputed: set[str]) -> list[Settled]:
    """The most probable verdict that a reviewer gave, of each disputed image of the ballot."""
    given = np.where(ballot.count_votes() > 0, probs, -1.0)
    best = given.argmax(axis=1)
    return [
        Settled(path, ballot.verdicts[verdict], float(probs[row, verdict]))
        for row, (path, verdict) in enumerate(zip(ballot.paths, best, strict=True))
        if path in disputed
    ]


def _to_lines(manifest: pd.DataFrame, chosen: list[Settled], header: BatchHeader) -> list[Decision]:
    rows = manifest.set_index("path")
    lines = []
    for each in chosen:
        is_drop, is_given = each.verdict == DROP, each.verdict == rows.at[each.path, "given_label"]
        lines.append(
            header.to_decision(
                "drop" if is_drop else "keep" if is_given else "relabel",
                path=each.path,
                sha256=str(rows.at[each.path, "sha256"]),
                label="" if is_drop else each.verdict,
                expected=str(rows.at[each.path, "label"]),
            )
        )
    return count_equal_files(lines, manifest)


def _summarize(chosen: list[Settled], header: BatchHeader, counts: dict[str, object]) -> str:
    verdicts = Counter(each.verdict for each in chosen)
    named = format_counts(dict(sorted(verdicts.items())))
    right = round(sum(each.probability for each in chosen))
    return (
        f"decide: {len(chosen):,} disagreements settled by {header.by} ({named}), about {right:,} "
        f"of them right; {counts['left']:,} are left to people (`curate relabel "
        f"--disagreements`); batch {header.batch}, `curate undo {header.batch}` takes it back"
    )
