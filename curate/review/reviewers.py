"""Several reviewers: what each of them decided on their own, and the images on which they disagree.

A decision whose note is `ADJUDICATED` was made in front of a disagreement (`curate relabel --disagreements`): it settles it
and is nobody's own verdict.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from curate.workspace.journal import Decision, current_decisions

ADJUDICATED = "adjudicated"

Verdicts = Mapping[str, Mapping[str, str]]


def verdict_of(decision: Decision, given_label: str) -> str:
    """What a decision makes of an image: a class, or `drop`; empty for unsure."""
    return {"keep": given_label, "relabel": decision.label, "drop": "drop"}.get(decision.action, "")


def own_verdicts(manifest: pd.DataFrame, journal: Sequence[Decision]) -> Verdicts:
    """Reviewer -> path -> verdict of their newest standing decision; unsure is no verdict."""
    given = dict(zip(manifest["path"], manifest["given_label"], strict=True))
    found = {}
    for reviewer in sorted(
        {decision.by for decision in journal if decision.path and decision.action != "refused"}
    ):
        standing = current_decisions(manifest, lines_of(journal, reviewer)).by_path
        verdicts = {
            path: verdict_of(decision, given[path]) for path, decision in sorted(standing.items())
        }
        found[reviewer] = {path: verdict for path, verdict in verdicts.items() if verdict}
    return {reviewer: verdicts for reviewer, verdicts in found.items() if verdicts}


def lines_of(journal: Sequence[Decision], reviewer: str) -> list[Decision]:
    """The journal as if this reviewer had been alone: their own decisions, and every undo."""
    voiding = ("undo", "refused")
    return [
        line
        for line in journal
        if line.action in voiding or (line.by == reviewer and line.note != ADJUDICATED)
    ]


def disagreements(manifest: pd.DataFrame, journal: Sequence[Decision]) -> dict[str, dict[str, str]]:
    """Path -> reviewer -> verdict of the images with two verdicts that no adjudication has settled since."""
    by_path: dict[str, dict[str, str]] = {}
    for reviewer, verdicts in own_verdicts(manifest, journal).items():
        for path, verdict in verdicts.items():
            by_path.setdefault(path, {})[reviewer] = verdict
    newest = current_decisions(manifest, journal).by_path
    return {
        path: verdicts
        for path, verdicts in sorted(by_path.items())
        if len(set(verdicts.values())) > 1 and newest[path].note != ADJUDICATED
    }
