"""agreement: how far reviewers agree, and who changed which label to which verdict.

Each reviewer counts with their own verdicts; the settlement of a disagreement is nobody's own. What
a machine relabelled is counted apart: it agrees with nobody.
"""

import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import pandas as pd

from curate.errors import printable_cell
from curate.review.reviewers import Verdicts, disagreements, own_verdicts
from curate.workspace.journal import Decision, current_decisions, is_machine
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


def agreement(
    workspace: Workspace,
) -> tuple[list[Agreement], list[Change], list[MachineLabels], Verdicts]:
    """Each pair of reviewers, each kind of change, what machines relabelled, the disagreements.

    Raises
    ------
    ManifestError  if there is no manifest
    """
    manifest, journal = workspace.read(), workspace.read_journal()
    verdicts = own_verdicts(manifest, journal)
    given = dict(zip(manifest["path"], manifest["given_label"], strict=True))
    pairs = [_compare(verdicts, first, second) for first, second in combinations(verdicts, 2)]
    changes: list[Change] = []
    for by, verdict_at in verdicts.items():
        changes += _count_changes(by, verdict_at, given)
    machines = count_machine_labels(manifest, journal)
    return pairs, changes, machines, disagreements(manifest, journal)


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


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Agreement beyond chance of two raters on the same images.

    Parameters
    ----------
    first, second : (N,) verdicts

    Returns
    -------
    1 for full agreement, 0 for as much as by chance, negative for less; None if N is 0, or if both
    gave the same one verdict throughout, where chance would agree fully too

    References
    ----------
    Cohen, A coefficient of agreement for nominal scales, 1960
    """
    count = len(first)
    if count == 0:
        return None
    agreed = sum(a == b for a, b in zip(first, second, strict=True)) / count
    counts, others = Counter(first), Counter(second)
    by_chance = sum(counts[verdict] * others[verdict] for verdict in counts) / count**2
    return None if by_chance == 1 else (agreed - by_chance) / (1 - by_chance)


def list_disputed(disputed: Verdicts) -> list[str]:
    """The first images in disagreement with the verdict of each reviewer, one a line."""
    lines = [
        printable_cell(f"  {path}: " + ", ".join(f"{by} {each}" for by, each in verdicts.items()))
        for path, verdicts in list(disputed.items())[:MOST_SHOWN]
    ]
    rest = len(disputed) - MOST_SHOWN
    return [*lines, f"  and {rest:,} more"] if rest > 0 else lines


def format_agreement(
    pairs: Sequence[Agreement],
    changes: Sequence[Change],
    machines: Sequence[MachineLabels] = (),
    disputed: Verdicts | None = None,
) -> str:
    """A table of the pairs, one of the changes, a line per machine, and the summary line.

    Parameters
    ----------
    disputed : path -> reviewer -> verdict, of the images in disagreement; the first are listed
    """
    lines = []
    if pairs:
        lines.append(f"{'reviewers':<24}{'images':>8}{'agreed':>8}{'kappa':>8}")
    for pair in pairs:
        names = printable_cell(f"{pair.first}, {pair.second}")
        kappa = "-" if pair.kappa is None else f"{pair.kappa:.3f}"
        lines.append(f"{names:<24}{pair.images:>8,}{pair.agreed:>8,}{kappa:>8}")
    if changes:
        lines += ["", f"{'by':<16}{'given':<12}{'verdict':<12}{'images':>6}"]
    for change in changes:
        label = f"{printable_cell(change.by):<16}{change.given:<12}{change.verdict:<12}"
        lines.append(f"{label}{change.images:>6,}")
    lines += [
        printable_cell(f"{machine.by}: {machine.images:,} labels, compared with nobody")
        for machine in machines
    ]
    if disputed:
        lines += ["", f"{len(disputed):,} images in disagreement", *list_disputed(disputed)]
    count = sum(change.images for change in changes)
    changed = f"{count:,} labels changed or images dropped"
    lines.append(f"agreement: {len(pairs)} pairs of reviewers, {changed}")
    return "\n".join(lines)


def agreement_as_dict(
    pairs: Sequence[Agreement],
    changes: Sequence[Change],
    machines: Sequence[MachineLabels],
    disputed: Verdicts,
) -> dict[str, Any]:
    """Pairs, changes, machines and the images in disagreement as one record, for JSON."""
    return {
        "pairs": [asdict(pair) for pair in pairs],
        "changes": [asdict(change) for change in changes],
        "machines": [asdict(machine) for machine in machines],
        "disagreements": {path: dict(verdicts) for path, verdicts in disputed.items()},
    }
