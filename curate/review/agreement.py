"""agreement: how far reviewers agree, how far each is right, and who changed which label to what.

Each reviewer counts with their own verdicts; the settlement of a disagreement is nobody's own. What
a machine relabelled, or a consensus settled, is counted apart: it agrees with nobody.
"""

import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import pandas as pd

from curate.errors import amount, printable_cell
from curate.label_issues.consensus import NO_VOTE
from curate.review.ballot import Ballot, fit_ballot, gather_ballot, read_believed
from curate.review.reliability import cohen_kappa, fleiss_kappa, krippendorff_alpha
from curate.review.reviewers import Verdicts, disagreements, own_verdicts
from curate.workspace.journal.decisions import Decision, is_consensus, is_machine
from curate.workspace.journal.verdicts import current_decisions
from curate.workspace.workspace import Workspace

MOST_SHOWN = 3  # images in disagreement that are named


@dataclass(frozen=True)
class Agreement:
    """Two reviewers on the images that both decided; `kappa` as in `cohen_kappa`."""

    first: str
    second: str
    images: int
    agreed: int
    kappa: float | None


@dataclass(frozen=True)
class Group:
    """Three reviewers or more.

    Attributes
    ----------
    images_of_all, fleiss_kappa : the images that all of them judged, their agreement
    images_of_two, krippendorff_alpha : the images that at least two judged, their agreement
    """

    reviewers: int
    images_of_all: int
    fleiss_kappa: float | None
    images_of_two: int
    krippendorff_alpha: float | None


@dataclass(frozen=True)
class Reviewer:
    """One reviewer on the images that another judged too.

    Attributes
    ----------
    with_consensus : how many verdicts are the most probable class
    quality : expected share of the verdicts that are right, 0 to 1
    """

    by: str
    images: int
    with_consensus: int
    quality: float


@dataclass(frozen=True)
class Change:
    """How often a reviewer turned one given label into a verdict (a class, or drop)."""

    by: str
    given: str
    verdict: str
    images: int


@dataclass(frozen=True)
class MachineLabels:
    """How many images have a label by a machine now, and the name of the machine."""

    by: str
    images: int


@dataclass(frozen=True)
class Comparison:
    """What `curate agreement` shows.

    Attributes
    ----------
    pairs : each pair of reviewers
    group : all reviewers together; None for fewer than three
    reviewers : each of them; empty where nothing shows who is right
    judged_by : the models that `reviewers` rests on beside the verdicts
    changes : each kind of change
    machines : what machines relabelled
    settled : images whose verdict is that of a consensus
    disagreements : path -> reviewer -> verdict
    """

    pairs: Sequence[Agreement]
    group: Group | None
    reviewers: Sequence[Reviewer]
    judged_by: Sequence[str]
    changes: Sequence[Change]
    machines: Sequence[MachineLabels]
    settled: int
    disagreements: Verdicts


def compare_reviewers(workspace: Workspace) -> Comparison:
    """Each pair of reviewers, all of them, each kind of change, machines, the disagreements.

    Raises
    ------
    ManifestError  if there is no manifest
    """
    manifest, journal = workspace.read(), workspace.read_journal()
    verdicts = own_verdicts(manifest, journal)
    given = dict(zip(manifest["path"], manifest["given_label"], strict=True))
    changes: list[Change] = []
    for by, verdict_at in verdicts.items():
        changes += _count_changes(by, verdict_at, given)
    ballot = gather_ballot(manifest, journal)
    reviewers, judged_by = _judge_reviewers(workspace, manifest, ballot)
    current = current_decisions(manifest, journal).by_path.values()
    return Comparison(
        pairs=[_compare(verdicts, first, second) for first, second in combinations(verdicts, 2)],
        group=_compare_all(ballot),
        reviewers=reviewers,
        judged_by=judged_by,
        changes=changes,
        machines=count_machine_labels(manifest, journal),
        settled=sum(is_consensus(made.by) for made in current),
        disagreements=disagreements(manifest, journal),
    )


def _compare_all(ballot: Ballot) -> Group | None:
    count = len(ballot.reviewers)
    if count < 3:
        return None
    counts = ballot.count_votes()
    of_all = counts[counts.sum(axis=1) == count]
    alpha = krippendorff_alpha(counts)
    return Group(count, len(of_all), fleiss_kappa(of_all), len(counts), alpha)


def _judge_reviewers(
    workspace: Workspace, manifest: pd.DataFrame, ballot: Ballot
) -> tuple[list[Reviewer], list[str]]:
    """The quality of each reviewer, and the names of the models that it rests on."""
    believed, models, _ = read_believed(workspace, manifest, ballot)
    consensus = fit_ballot(ballot, believed)
    if consensus is None:
        return [], []
    best = consensus.probs.argmax(axis=1)[:, None]
    images = (ballot.votes != NO_VOTE).sum(axis=0).tolist()
    with_best = (ballot.votes == best).sum(axis=0).tolist()
    columns = zip(ballot.reviewers, images, with_best, consensus.quality.tolist(), strict=True)
    return [Reviewer(*column) for column in columns], models


def count_machine_labels(
    manifest: pd.DataFrame, journal: Sequence[Decision]
) -> list[MachineLabels]:
    """The kept images whose label is a machine's, per machine."""
    by_path = current_decisions(manifest, journal).by_path
    labelled = manifest.loc[manifest["reason"] == "machine", "path"]
    counts = Counter(by_path[path].by for path in labelled if path in by_path)
    return [MachineLabels(by, images) for by, images in sorted(counts.items()) if is_machine(by)]


def _count_changes(
    by: str, verdict_at: Mapping[str, str], given: Mapping[str, str]
) -> list[Change]:
    """The changes of one reviewer, sorted by the given label and the verdict."""
    kinds = Counter((given[path], verdict) for path, verdict in verdict_at.items())
    return [
        Change(by, label, verdict, images)
        for (label, verdict), images in sorted(kinds.items())
        if label != verdict
    ]


def _compare(verdicts: Verdicts, first: str, second: str) -> Agreement:
    shared = sorted(verdicts[first].keys() & verdicts[second].keys())
    of_first = [verdicts[first][path] for path in shared]
    of_second = [verdicts[second][path] for path in shared]
    agreed = sum(map(operator.eq, of_first, of_second))
    return Agreement(first, second, len(shared), agreed, cohen_kappa(of_first, of_second))


def list_disputed(disputed: Verdicts) -> list[str]:
    """The first images in disagreement with the verdict of each reviewer, one a line."""
    lines = [
        printable_cell(f"  {path}: " + ", ".join(f"{by} {each}" for by, each in verdicts.items()))
        for path, verdicts in list(disputed.items())[:MOST_SHOWN]
    ]
    rest = len(disputed) - MOST_SHOWN
    return [*lines, f"  and {rest:,} more"] if rest > 0 else lines


def format_agreement(found: Comparison) -> str:
    """A table of the pairs, of the reviewers, of the changes, a line per machine, and the summary.

    The first images in disagreement are listed.
    """
    lines = [*_format_pairs(found.pairs), *_format_reviewers(found)]
    if found.changes:
        lines += ["", f"{'by':<16}{'given':<12}{'verdict':<12}{'images':>6}"]
    for change in found.changes:
        label = f"{printable_cell(change.by):<16}{change.given:<12}{change.verdict:<12}"
        lines.append(f"{label}{change.images:>6,}")
    lines += [
        printable_cell(f"{machine.by}: {amount(machine.images, 'label')}, compared with nobody")
        for machine in found.machines
    ]
    if found.settled:
        lines += ["", f"{amount(found.settled, 'image')} settled by consensus"]
    if found.disagreements:
        count = len(found.disagreements)
        lines += [
            "",
            f"{amount(count, 'image')} in disagreement",
            *list_disputed(found.disagreements),
        ]
    count = sum(change.images for change in found.changes)
    changed = f"{amount(count, 'label')} changed or images dropped"
    lines.append(f"agreement: {amount(len(found.pairs), 'pair')} of reviewers, {changed}")
    return "\n".join(lines)


def _format_pairs(pairs: Sequence[Agreement]) -> list[str]:
    if not pairs:
        return []
    lines = [f"{'reviewers':<24}{'images':>8}{'agreed':>8}{'kappa':>8}"]
    for pair in pairs:
        names = printable_cell(f"{pair.first}, {pair.second}")
        lines.append(f"{names:<24}{pair.images:>8,}{pair.agreed:>8,}{_number(pair.kappa):>8}")
    return lines


def _format_reviewers(found: Comparison) -> list[str]:
    lines = []
    if found.group:
        group = found.group
        lines += [
            "",
            f"{amount(group.reviewers, 'reviewer')}: Fleiss' kappa {_number(group.fleiss_kappa)} "
            f"on the {amount(group.images_of_all, 'image')} that all judged, Krippendorff's alpha "
            f"{_number(group.krippendorff_alpha)} on the {group.images_of_two:,} that two judged",
        ]
    if found.reviewers:
        lines += ["", f"{'reviewer':<24}{'images':>8}{'with consensus':>16}{'quality':>9}"]
    for each in found.reviewers:
        share = f"{each.with_consensus:,}"
        name = printable_cell(each.by)
        lines.append(f"{name:<24}{each.images:>8,}{share:>16}{each.quality:>9.3f}")
    if found.reviewers:
        by = ", ".join(["verdicts", *found.judged_by])
        lines.append(printable_cell(f"quality: expected share of right verdicts, by {by}"))
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def agreement_as_dict(found: Comparison) -> dict[str, Any]:
    """The comparison as one record, for JSON."""
    return {
        **asdict(replace(found, disagreements={})),
        "disagreements": {path: dict(verdicts) for path, verdicts in found.disagreements.items()},
    }
