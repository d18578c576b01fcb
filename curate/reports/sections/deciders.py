"""Who decided what, and how far reviewers agree."""

from collections import Counter
from dataclasses import dataclass

from curate.review.agreement import Change, Comparison, compare_reviewers
from curate.workspace.journal.verdicts import current_decisions
from curate.workspace.workspace import Workspace

ACTIONS = ("keep", "relabel", "drop", "unsure")
SHOWN_CHANGES = 12


@dataclass(frozen=True)
class Decider:
    """The current decisions of one person or machine: images per action of `ACTIONS`."""

    by: str
    counts: list[int]
    newest: str


@dataclass(frozen=True)
class Deciders:
    """What the section shows.

    Attributes
    ----------
    found : the comparison of the reviewers
    changes : the most frequent changes of given labels by people
    stale : decisions whose image is gone or changed
    """

    actions: tuple[str, ...]
    people: list[Decider]
    found: Comparison
    changes: list[Change]
    stale: int


def count_deciders(workspace: Workspace) -> Deciders:
    """The current decisions per person and machine, and the agreement of people."""
    current = current_decisions(workspace.read(), workspace.read_journal())
    counts = Counter((line.by, line.action) for line in current.by_path.values())
    newest: dict[str, str] = {}
    for line in current.by_path.values():
        newest[line.by] = max(newest.get(line.by, ""), line.at)
    people = [Decider(by, [counts[by, each] for each in ACTIONS], newest[by]) for by in newest]
    people.sort(key=lambda each: (-sum(each.counts), each.by))
    found = compare_reviewers(workspace)
    changes = sorted(
        found.changes, key=lambda each: (-each.images, each.by, each.given, each.verdict)
    )
    return Deciders(ACTIONS, people, found, changes[:SHOWN_CHANGES], len(current.stale))
