"""agreement: how far reviewers agree, and who changed what to what.

Compares what each reviewer decided on their own; a settled disagreement is nobody's own verdict.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from curate.review.reviewers import Verdicts, own_verdicts
from curate.workspace.workspace import Workspace


@dataclass(frozen=True)
class Agreement:
    """Two reviewers on the images that both decided; `kappa` is None where chance alone explains everything."""

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


def agreement(workspace: Workspace) -> tuple[list[Agreement], list[Change]]:
    """Every pair of reviewers, and every kind of change; ManifestError if there is no manifest."""
    manifest = workspace.read()
    verdicts = own_verdicts(manifest, workspace.read_journal())
    given = dict(zip(manifest["path"], manifest["given_label"], strict=True))
    changes = [
        Change(by, *kind, images)
        for by, of_reviewer in verdicts.items()
        for kind, images in sorted(
            Counter((given[path], v) for path, v in of_reviewer.items() if v != given[path]).items()
        )
    ]
    return [_compare(verdicts, *pair) for pair in combinations(verdicts, 2)], changes


def _compare(verdicts: Verdicts, first: str, second: str) -> Agreement:
    shared = sorted(verdicts[first].keys() & verdicts[second].keys())
    a, b = ([verdicts[name][path] for path in shared] for name in (first, second))
    return Agreement(
        first,
        second,
        len(shared),
        sum(x == y for x, y in zip(a, b, strict=True)),
        cohen_kappa(a, b),
    )


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Agreement beyond chance of two raters on the same images.

    Parameters
    ----------
    first, second : (N,) verdicts

    Returns
    -------
    1 for full agreement, 0 for what chance gives, negative for less; None if N is 0 or both gave one and the same verdict
    throughout, where chance agrees fully too

    References
    ----------
    Cohen, A coefficient of agreement for nominal scales, 1960
    """
    count = len(first)
    if count == 0:
        return None
    agreed = sum(a == b for a, b in zip(first, second, strict=True)) / count
    shares = Counter(first), Counter(second)
    by_chance = sum(shares[0][verdict] * shares[1][verdict] for verdict in shares[0]) / count**2
    return None if by_chance == 1 else (agreed - by_chance) / (1 - by_chance)


def format_agreement(pairs: Sequence[Agreement], changes: Sequence[Change]) -> str:
    """Tables for people."""
    lines = [f"{'reviewers':<24}{'images':>8}{'agreed':>8}{'kappa':>8}"] if pairs else []
    for pair in pairs:
        kappa = "-" if pair.kappa is None else f"{pair.kappa:.3f}"
        lines.append(
            f"{pair.first + ', ' + pair.second:<24}{pair.images:>8,}{pair.agreed:>8,}{kappa:>8}"
        )
    lines += ["", f"{'by':<16}{'given':<12}{'verdict':<12}{'images':>6}"] if changes else []
    lines += [
        f"{change.by:<16}{change.given:<12}{change.verdict:<12}{change.images:>6,}"
        for change in changes
    ]
    changed = sum(change.images for change in changes)
    return "\n".join(
        [
            *lines,
            f"agreement: {len(pairs)} pairs of reviewers, {changed:,} labels changed or images dropped",
        ]
    )


def agreement_as_dict(pairs: Sequence[Agreement], changes: Sequence[Change]) -> dict[str, Any]:
    """The same as a record, for JSON."""
    return {
        "pairs": [asdict(pair) for pair in pairs],
        "changes": [asdict(change) for change in changes],
    }
