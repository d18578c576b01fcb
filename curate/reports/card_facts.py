"""What a workspace knows about its data set: the facts of a card, none of them typed by hand.

In: the manifest, the journal, the receipts, the reads of test in `runs/`. Out: a `CardFacts`. A
stage that has not run leaves its facts None, and the card names the command.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pandas as pd

from curate.errors import ManifestError, first_line
from curate.files import load_record
from curate.labels import VOCABULARY
from curate.reports.audit import Leak, audit_workspace
from curate.reports.status import COMMANDS, Status, read_status
from curate.review.agreement import Comparison, compare_reviewers
from curate.review.reviewers import own_verdicts
from curate.sources.layout import LAYOUTS, load_layout
from curate.stderr import note_once
from curate.workspace.manifest import SPLITS, kept_rows, sources_of, subject_keys
from curate.workspace.receipts import is_stale, read_receipts
from curate.workspace.votes import choose_majority, votes_of
from curate.workspace.workspace import Workspace


@dataclass(frozen=True)
class Source:
    """One source: its layout and how that looks, empty if it is not known, and its images."""

    name: str
    layout: str
    looks_like: str
    rows: int
    kept: int


@dataclass(frozen=True)
class ClassShare:
    """Images given as a class and kept under it now, and their shares of all and of the kept."""

    name: str
    given: int
    given_share: float
    kept: int
    kept_share: float


@dataclass(frozen=True)
class Crowd:
    """The crowd's votes.

    Attributes
    ----------
    rows : images with votes
    fewest, median, most : votes of an image
    agreement : mean share of an image's votes for the answer that has most of them
    majority : share of the images whose given label is that answer
    """

    rows: int
    fewest: int
    median: float
    most: int
    agreement: float
    majority: float


@dataclass(frozen=True)
class Stage:
    """A stage: its command, done, stale or never, and when and by which version it ran last."""

    name: str
    command: str
    state: str
    at: str
    version: str
    options: dict[str, Any]


@dataclass(frozen=True)
class CardFacts:
    """What the card shows.

    Attributes
    ----------
    parts : (split, images of the dataset's own split, kept images of ours)
    sides : smallest and largest side of an image in pixels; None if none can be read
    subjects : persons that the sources name
    reviewers : people with verdicts of their own
    leaks : of all classes together, or `no_leaks`, why they are not known
    reads : (run, reads of test)
    """

    name: str
    status: Status
    sources: list[Source]
    classes: list[ClassShare]
    parts: list[tuple[str, int, int]]
    sides: tuple[int, int] | None
    subjects: int
    qualities: dict[str, int]
    conflicts: int
    crowd: Crowd | None
    reviewers: int
    comparison: Comparison
    leaks: list[Leak]
    no_leaks: str
    stages: list[Stage]
    reads: list[tuple[str, int]]

    def state_of(self, stage: str) -> str:
        """Done, stale or never."""
        return self.status.stages[stage]


def gather_facts(workspace: Workspace) -> CardFacts:
    """Read the tables and receipts of a workspace.

    Raises
    ------
    ManifestError  if there is no manifest
    WorkspaceError  if a receipt is damaged
    """
    manifest, status = workspace.read(), read_status(workspace)
    leaks, no_leaks = _audit(workspace)
    sources = _list_sources(workspace, manifest)
    return CardFacts(
        name=" + ".join(source.name for source in sources),
        status=status,
        sources=sources,
        classes=_share_classes(manifest),
        parts=_count_parts(manifest),
        sides=_measure_sides(manifest),
        subjects=len(set(subject_keys(manifest)) - {""}),
        qualities=dict(Counter(manifest["quality"][manifest["quality"] != ""])),
        conflicts=int((manifest["label_conflict"] == "true").sum()),
        crowd=_count_votes(manifest),
        reviewers=len(own_verdicts(manifest, workspace.read_journal())),
        comparison=compare_reviewers(workspace),
        leaks=leaks,
        no_leaks=no_leaks,
        stages=_list_stages(workspace.root, manifest, status),
        reads=read_test_reads(workspace.root / "runs"),
    )


def _audit(workspace: Workspace) -> tuple[list[Leak], str]:
    try:
        leaks = audit_workspace(workspace)
    except ManifestError as error:
        return [], str(error)
    return [leak for leak in leaks if leak.label == "all"], ""


def _list_sources(workspace: Workspace, manifest: pd.DataFrame) -> list[Source]:
    records, of_row = workspace.read_sources(), sources_of(manifest["path"])
    rows = Counter(of_row)
    kept = Counter(of_row[manifest["status"] == "keep"])
    found = []
    for name in sorted(rows):
        layout = records.get(name, {}).get("layout", "")
        looks_like = load_layout(layout).LOOKS_LIKE if layout in LAYOUTS else ""
        found.append(Source(name, layout, looks_like, rows[name], kept[name]))
    return found


def _share_classes(manifest: pd.DataFrame) -> list[ClassShare]:
    given, kept = Counter(manifest["given_label"]), Counter(kept_rows(manifest)["label"])
    found = []
    for name in VOCABULARY:
        if given[name] or kept[name]:
            shares = [counts[name] / max(counts.total(), 1) for counts in (given, kept)]
            found.append(ClassShare(name, given[name], shares[0], kept[name], shares[1]))
    return found


def _count_parts(manifest: pd.DataFrame) -> list[tuple[str, int, int]]:
    before, after = Counter(manifest["source_split"]), Counter(kept_rows(manifest)["split"])
    return [(part or "none", before[part], after[part]) for part in (*SPLITS, "")]


def _measure_sides(manifest: pd.DataFrame) -> tuple[int, int] | None:
    sides = pd.concat([manifest["width"], manifest["height"]])
    known = sides[sides != ""].astype(int)
    return (int(known.min()), int(known.max())) if len(known) else None


def _count_votes(manifest: pd.DataFrame) -> Crowd | None:
    voted = manifest[manifest["votes"] != ""]
    votes = [votes_of(text) for text in voted["votes"]]
    filled = [
        (each, given) for each, given in zip(votes, voted["given_label"], strict=True) if each
    ]
    if not filled:
        return None
    totals = np.array([sum(each.values()) for each, _ in filled])
    most = np.array([max(each.values()) for each, _ in filled])
    is_majority = [choose_majority(each, given) == given for each, given in filled]
    return Crowd(
        rows=len(filled),
        fewest=int(totals.min()),
        median=float(np.median(totals)),
        most=int(totals.max()),
        agreement=float(np.mean(most / totals)),
        majority=float(np.mean(is_majority)),
    )


def _list_stages(root: Path, manifest: pd.DataFrame, status: Status) -> list[Stage]:
    """The stages of the work in their order, then what else has a receipt: an applied curation."""
    receipts = read_receipts(root)
    found = []
    states = dict(status.stages)
    for name in sorted(receipts.keys() - states.keys()):
        states[name] = "stale" if is_stale(root, manifest, receipts[name]) else "done"
    for name, state in states.items():
        receipt = receipts.get(name, {})
        version = str(receipt.get("versions", {}).get("candid-fer", ""))
        options = {key: hide_folders(value) for key, value in receipt.get("options", {}).items()}
        command = COMMANDS.get(name, f"curate {name}").split(" -")[0]
        found.append(Stage(name, command, state, str(receipt.get("at", "")), version, options))
    return found


def hide_folders(value: Any) -> Any:
    """The value of an option without the folders of this machine: of a path the name alone."""
    if isinstance(value, dict):
        return {key: hide_folders(each) for key, each in value.items()}
    if isinstance(value, list):
        return [hide_folders(each) for each in value]
    return PureWindowsPath(value).name or value if isinstance(value, str) else value


def read_test_reads(runs: Path) -> list[tuple[str, int]]:
    """(run, how often it has read the test rows), by `reads.json` of each run."""
    found = []
    for file in sorted(runs.glob("*/reads.json")):
        try:
            found.append((file.parent.name, int(load_record(file)["test_reads"])))
        except (OSError, ValueError, LookupError, TypeError) as error:
            note_once(f"{file}: holds no count ({first_line(error)}), so the card is without it")
    return found


def count_dropped(facts: CardFacts, reasons: Sequence[str]) -> int:
    """Images dropped for any of these reasons."""
    return sum(facts.status.per_reason.get(reason, 0) for reason in reasons)
