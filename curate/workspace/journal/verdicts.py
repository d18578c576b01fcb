"""The verdicts: label, status and reason of every row, derived from the facts and the journal.

The manifest and the lines of the journal come in, the manifest with its last columns goes out.
`derive_verdicts` is pure and replays the whole journal, so applying twice is applying once (law 2),
and the undo of a batch restores the table exactly (law 3).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from curate.errors import amount
from curate.workspace.journal.decisions import Decision, drop_undone, is_machine, name_kept_labels
from curate.workspace.manifest import split_face


@dataclass(frozen=True)
class CurrentDecisions:
    """The journal matched to one manifest.

    Attributes
    ----------
    by_path : path of the manifest -> the decision that counts (`choose_decision`)
    moved : (path, sha256) of a line of the journal -> the path of these bytes now, if it is another
    stale : decisions about bytes that are not in the manifest any more; they are not applied
    """

    by_path: dict[str, Decision]
    moved: dict[tuple[str, str], str]
    stale: tuple[Decision, ...]


def derive_verdicts(manifest: pd.DataFrame, journal: Sequence[Decision]) -> pd.DataFrame:
    """Derive `label`, `status` and `reason` of every row; the only function that computes them.

    The newest human decision that is not undone wins (`choose_decision`). Without one, a row is
    dropped if it is unreadable, degenerate or a redundant copy, else kept with the label that a
    machine's decision gives it (reason `machine`), else with the given label. A keep means the
    label that the person saw, so a given label that a source changes later does not replace it.

    A copy is redundant only while the row it points to is kept and agrees with its given label:
    once that row is dropped, its copies are kept again, so the image is not lost. A redundant copy
    has the label of the row it points to, because a relabelled image is relabelled in all its
    copies.

    Returns
    -------
    the manifest with the three columns replaced; pure, and the same when it is applied twice
    """
    decisions = current_decisions(manifest, name_kept_labels(journal)).by_path
    human = {
        path: made
        for path, made in decisions.items()
        if made.action != "unsure" and not is_machine(made.by)
    }
    chosen = {
        path: made.label for path, made in human.items() if made.action != "drop" and made.label
    }
    dropped = {path for path, made in human.items() if made.action == "drop"}

    path, given = manifest["path"], manifest["given_label"]
    is_human = path.isin(list(human))
    labels = [chosen.get(*pair) for pair in zip(path.tolist(), given.tolist(), strict=True)]
    label = pd.Series(labels, index=manifest.index, dtype=given.dtype)
    reason = pd.Series("", index=manifest.index, dtype=given.dtype)
    reason[manifest["quality"] != ""] = "degenerate"
    reason[manifest["pixel_hash"] == ""] = "unreadable"
    reason[is_human] = "human"
    by_machine = _machine_labels(manifest, decisions)
    is_machine_label = (reason == "") & (by_machine != "")
    label = label.mask(is_machine_label, by_machine)
    is_kept = (reason == "") | (is_human & ~path.isin(list(dropped)))

    kept = pd.DataFrame({"given": given, "label": label})[is_kept].set_index(path[is_kept])
    original = kept.reindex(manifest["duplicate_of"]).set_index(manifest.index)
    is_redundant = (reason == "") & ((original["given"] == given) | (original["label"] == given))
    reason[is_redundant] = manifest.loc[is_redundant, "duplicate_kind"] + "_copy"
    label[is_redundant] = original.loc[is_redundant, "label"]
    reason[is_machine_label & ~is_redundant] = "machine"
    status = (is_kept & ~is_redundant).map({True: "keep", False: "drop"}).astype(given.dtype)
    return manifest.assign(label=label, status=status, reason=reason)


def _machine_labels(manifest: pd.DataFrame, decisions: Mapping[str, Decision]) -> "pd.Series[str]":
    """The label that a machine's decision gives each row; empty for none.

    It holds while the given label is the one that the models judged.
    """
    chosen = {
        (path, made.expected): made.label
        for path, made in decisions.items()
        if is_machine(made.by) and made.action == "relabel"
    }
    pairs = zip(manifest["path"].tolist(), manifest["given_label"].tolist(), strict=True)
    labels = [chosen.get(pair, "") for pair in pairs]
    return pd.Series(labels, manifest.index, dtype=manifest["given_label"].dtype)


def current_decisions(manifest: pd.DataFrame, journal: Sequence[Decision]) -> CurrentDecisions:
    """The decision that counts about each image, of those that are not undone.

    A decision follows the bytes. If its path is gone or has other bytes now, and its sha256 (with
    its face number) is found exactly once elsewhere, the file was moved and the decision goes with
    it. Otherwise the decision is stale: listed and not applied. So is one about an image whose
    bytes had other paths too: what is found elsewhere may be its copy, with another label.
    """
    sha256_at = dict(zip(manifest["path"].tolist(), manifest["sha256"].tolist(), strict=True))
    moved = _find_moved(sha256_at, journal)
    lines_at: dict[str, list[Decision]] = {}
    stale: dict[str, Decision] = {}
    for decision in drop_undone(journal):
        is_here = sha256_at.get(decision.path) == decision.sha256
        here = decision.path if is_here else moved.get((decision.path, decision.sha256))
        if here is None:
            stale[decision.path] = decision
            continue
        lines = lines_at.setdefault(here, [])
        if not is_machine(decision.by) or all(is_machine(line.by) for line in lines):
            lines.append(decision)
            stale.pop(here, None)  # decided again, about the present bytes
    by_path = {path: choose_decision(lines) for path, lines in lines_at.items()}
    return CurrentDecisions(by_path, moved, tuple(stale.values()))


def choose_decision(lines: Sequence[Decision]) -> Decision:
    """The newest decision of people about an image, of machines only where no person has decided.

    Unsure is no verdict: it withdraws the earlier ones of its own reviewer, and none of others.

    Parameters
    ----------
    lines : those about one image that are not undone, oldest first, one or more
    """
    people = [line for line in lines if not is_machine(line.by)] or lines
    newest = {line.by: number for number, line in enumerate(people)}
    standing = [people[number] for number in sorted(newest.values())]
    return ([line for line in standing if line.action != "unsure"] or standing)[-1]


def list_decided(manifest: pd.DataFrame, journal: Sequence[Decision]) -> frozenset[str]:
    """The paths of the images with a current decision of a person; unsure is none."""
    by_path = current_decisions(manifest, journal).by_path
    return frozenset(
        path
        for path, made in by_path.items()
        if made.action != "unsure" and not is_machine(made.by)
    )


def _find_moved(
    sha256_at: Mapping[str, str], journal: Sequence[Decision]
) -> dict[tuple[str, str], str]:
    """`CurrentDecisions.moved`, given path -> sha256 of the manifest."""
    gone = [line for line in journal if line.sha256 and sha256_at.get(line.path) != line.sha256]
    if not gone:
        return {}
    paths_of: dict[tuple[str, str], list[str]] = {}
    for path, sha256 in sha256_at.items():
        # The faces of one picture share its bytes and differ in their number.
        paths_of.setdefault((sha256, split_face(path)[1]), []).append(path)
    moved = {}
    for line in gone:
        paths = paths_of.get((line.sha256, split_face(line.path)[1]), [])
        if len(paths) == 1 and not line.equal_files:
            moved[line.path, line.sha256] = paths[0]
    return moved


def describe_stale(stale: Sequence[Decision]) -> str:
    """One line about decisions whose image is gone or has changed since, and what to do."""
    return (
        f"{amount(len(stale), 'decision is', 'decisions are')} stale, their images gone or changed "
        f"(first: {stale[0].path}, batch {stale[0].batch}); undo the batch or bring the images back"
    )
