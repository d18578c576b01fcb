"""The queue of a session: which images a person is shown, in which order, and what is known of each.

Pure: a manifest, the journal and predictions in, rows out. The order is frozen at the start, most suspect first; decided
images stay in the queue, so that a person can go back, and the session opens at the first undecided one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from curate.errors import ManifestError, UsageError
from curate.labels import VOCABULARY
from curate.relabel.filters import match_rows
from curate.review.reviewers import disagreements
from curate.workspace.journal import Decision
from curate.workspace.predictions import PREFIX, class_names

TOP = 500  # about a quarter of an hour at two seconds an image
OPINIONS = (
    "suggested_label",
    "self_confidence",
    "issue_rank",
    "votes",
)  # what a blind reviewer is not told


@dataclass(frozen=True)
class Selection:
    """What the command line asked for; the conditions hold together, and nothing asked means the `TOP` with a suggested label."""

    top: int | None = None
    issues: bool = False
    random: int | None = None
    conflicts: bool = False
    disagreements: bool = False
    group: str | None = None
    where: str | None = None


def choose_rows(
    manifest: pd.DataFrame, journal: Sequence[Decision], selection: Selection
) -> pd.DataFrame:
    """The rows of the queue in their order.

    Raises
    ------
    UsageError  if two kinds of queue are asked for at once
    ManifestError  if no image is left to look at; the message names the stage that would find some
    """
    rows, advice = _choose_kind(manifest, journal, selection)
    if selection.where:
        rows = rows[match_rows(rows, selection.where)]
    rows = rows[rows["pixel_hash"] != ""]  # nobody can see an unreadable image
    if rows.empty:
        raise ManifestError(f"manifest.csv: no image to look at: {advice}")
    ordered = _order(rows, by_group=selection.conflicts)
    if (
        selection.random is not None
    ):  # hashes of the bytes: the same images for every reviewer, spread over the ranks
        return rows.sort_values("sha256", kind="stable").head(selection.random)
    is_bare = not (
        selection.issues or selection.conflicts or selection.disagreements or selection.group
    )
    top = selection.top or (TOP if is_bare and not selection.where else None)
    return ordered.head(top) if top else ordered


def _choose_kind(
    manifest: pd.DataFrame, journal: Sequence[Decision], selection: Selection
) -> tuple[pd.DataFrame, str]:
    is_random, is_group = selection.random is not None, selection.group is not None
    if (
        sum([selection.issues, selection.conflicts, selection.disagreements, is_random, is_group])
        > 1
    ):
        raise UsageError(
            "relabel: say one of --issues, --random, --conflicts, --disagreements, --group"
        )
    offered = manifest[(manifest["status"] == "keep") | (manifest["reason"] == "human")]
    if selection.conflicts:
        return offered[
            offered["label_conflict"] == "true"
        ], "no label conflicts here; `curate dedup` finds them"
    if selection.disagreements:
        disputed = manifest["path"].isin(list(disagreements(manifest, journal)))
        return manifest[
            disputed
        ], "the reviewers agree; `curate merge OTHER/decisions.jsonl` takes in another's decisions"
    if selection.group is not None:
        member = manifest.loc[manifest["path"] == selection.group, "duplicate_group"]
        group = member.iloc[0] if len(member) and member.iloc[0] else selection.group
        return manifest[
            manifest["duplicate_group"] == group
        ], f"no duplicate group '{group}': see the column duplicate_group"
    if is_random:
        return offered, "no image is kept"
    if selection.issues:
        return offered[
            offered["issue"] != ""
        ], "nothing is marked; run `curate flag`, perhaps with a lower --precision"
    if selection.where:
        return offered, f"no kept image fulfils '{selection.where}'"
    return offered[
        offered["suggested_label"] != ""
    ], "no image has a suggested label; run `train oof` and `curate flag` first"


def _order(rows: pd.DataFrame, *, by_group: bool) -> pd.DataFrame:
    """Most suspect first, unranked last; in conflicts a group stays together, at its most suspect member."""
    rank = pd.to_numeric(rows["issue_rank"]).fillna(
        len(rows) + rows["issue_rank"].replace("", "0").astype(int).max() + 1
    )
    first = rank.groupby(rows["duplicate_group"]).transform("min") if by_group else rank
    keys = pd.DataFrame(
        {"first": first, "group": rows["duplicate_group"] if by_group else "", "rank": rank}
    )
    return rows.loc[
        keys.assign(path=rows["path"]).sort_values(["first", "group", "rank", "path"]).index
    ]


def average_predictions(tables: Sequence[pd.DataFrame]) -> dict[str, list[float]]:
    """Path -> (8,) probabilities in the order of the vocabulary, the mean over the models; 0 for a class no model knows."""
    if not tables:
        return {}
    columns = [PREFIX + name for name in VOCABULARY]
    known = [
        table.reindex(columns=["path", *columns], fill_value=0.0).set_index("path")
        for table in tables
    ]
    mean = (sum(known[1:], start=known[0]) / len(known)).round(4)
    assert all(name in VOCABULARY for table in tables for name in class_names(table))
    return dict(zip(mean.index, mean.to_numpy().tolist(), strict=True))


def describe_rows(
    rows: pd.DataFrame,
    manifest: pd.DataFrame,
    probs: Mapping[str, list[float]],
    verdicts: Mapping[str, Mapping[str, str]],
    *,
    blind: bool,
) -> list[dict[str, Any]]:
    """What the App is told of each image of the queue.

    Parameters
    ----------
    probs : path -> (8,) probabilities in the order of the vocabulary; a path may be missing
    verdicts : path -> reviewer -> verdict, of the images in disagreement
    blind : leave out what others think: the model, the crowd, the reviewers
    """
    grouped = manifest[(manifest["duplicate_group"] != "") & (manifest["pixel_hash"] != "")]
    members = {
        str(group): list(of_group["path"]) for group, of_group in grouped.groupby("duplicate_group")
    }
    described = []
    for row in rows.to_dict("records"):
        path, group = row["path"], row["duplicate_group"]
        facts = {"path": path, "given_label": row["given_label"], "duplicate_group": group}
        opinions = {name: "" if blind else row[name] for name in OPINIONS}
        opinions |= {
            "probs": [] if blind else probs.get(path, []),
            "verdicts": {} if blind else verdicts.get(path, {}),
        }
        copies = [member for member in members.get(group, []) if member != path]
        described.append({**facts, **opinions, "copies": copies})
    return described
