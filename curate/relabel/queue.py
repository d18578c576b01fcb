"""The queue of a session: which images a person reviews, in which order, with which facts.

Pure: a manifest, the journal and predictions in, rows out. The order is fixed at the start, most
suspect first. Decided images stay in the queue, so that a person can go back; the session opens at
the first undecided one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from curate.errors import ManifestError, UsageError
from curate.labels import VOCABULARY
from curate.relabel.filters import match_rows
from curate.review.reviewers import disagreements
from curate.workspace.journal.decisions import Decision
from curate.workspace.manifest import find_contradictions
from curate.workspace.predictions import PREFIX, class_names

TOP = 500  # about a quarter of an hour at two seconds an image
# The columns with opinions of the model and the crowd: a blind reviewer does not see them.
OPINIONS = ("suggested_label", "self_confidence", "issue_rank", "votes")


@dataclass(frozen=True)
class Selection:
    """The options that choose the queue; all of them must hold.

    Without any, the queue is the `TOP` most suspect images with a suggested label.
    """

    top: int | None = None
    issues: bool = False
    random: int | None = None
    conflicts: bool = False
    disagreements: bool = False
    group: str | None = None
    where: str | None = None


@dataclass(frozen=True)
class QueueRow:
    """The facts about one image of the queue, as the App and the panel get them.

    Attributes
    ----------
    path, given_label, duplicate_group, suggested_label, self_confidence, issue_rank, votes :
        cells of the manifest; those in `OPINIONS` are empty in a blind review
    probs : (8,) probabilities in the order of the vocabulary; empty if unknown or in a blind review
    verdicts : reviewer -> verdict, of an image in disagreement
    copies : paths of the other readable images in its duplicate group
    """

    path: str
    given_label: str
    duplicate_group: str
    suggested_label: str
    self_confidence: str
    issue_rank: str
    votes: str
    probs: Sequence[float] = ()
    verdicts: Mapping[str, str] = field(default_factory=dict)
    copies: Sequence[str] = ()


def choose_rows(
    manifest: pd.DataFrame, journal: Sequence[Decision], selection: Selection
) -> pd.DataFrame:
    """The rows of the queue in their order.

    Raises
    ------
    UsageError  if two kinds of queue are requested at once
    ManifestError  if no image is left to review; the message names the stage that would find some
    """
    _require_one_kind(selection)
    rows, advice = _choose_kind(manifest, journal, selection)
    if selection.where:
        rows = rows[match_rows(rows, selection.where)]
    rows = rows[rows["pixel_hash"] != ""]  # nobody can see an unreadable image
    if rows.empty:
        raise ManifestError(f"manifest.csv: no image to review: {advice}")
    if selection.random is not None:
        # In the order of the hashes: the same images for every reviewer, spread over the ranks.
        return rows.sort_values("sha256", kind="stable").head(selection.random)
    ordered = _order(rows, by_group=selection.conflicts)
    top = selection.top or (None if _is_narrowed(selection) else TOP)
    return ordered.head(top) if top else ordered


def _require_one_kind(selection: Selection) -> None:
    is_requested = [
        selection.issues,
        selection.conflicts,
        selection.disagreements,
        selection.random is not None,
        selection.group is not None,
    ]
    if sum(is_requested) > 1:
        raise UsageError(
            "relabel: choose one of --issues, --random, --conflicts, --disagreements, --group"
        )
    if selection.random is not None and selection.top is not None:
        raise UsageError(
            "relabel: --random N and --top N both say how many images: leave --top out"
        )


def _is_narrowed(selection: Selection) -> bool:
    has_kind = selection.issues or selection.conflicts or selection.disagreements
    return bool(has_kind or selection.group or selection.where)


def _choose_kind(
    manifest: pd.DataFrame, journal: Sequence[Decision], selection: Selection
) -> tuple[pd.DataFrame, str]:
    """The rows of the requested kind of queue, and the advice for when there are none."""
    offered = manifest[(manifest["status"] == "keep") | (manifest["reason"] == "human")]
    if selection.conflicts:
        advice = "no label conflicts here; `curate dedup` finds them"
        is_conflict = (offered["label_conflict"] == "true") | find_contradictions(offered)
        return offered[is_conflict], advice
    if selection.disagreements:
        merge = "`curate merge OTHER/decisions.jsonl` takes in another's decisions"
        is_disputed = manifest["path"].isin(list(disagreements(manifest, journal)))
        return manifest[is_disputed], f"the reviewers agree; {merge}"
    if selection.group is not None:
        group = _group_of(manifest, selection.group)
        advice = f"no duplicate group '{group}': see the column duplicate_group"
        return manifest[manifest["duplicate_group"] == group], advice
    if selection.random is not None:
        return offered, "no image is kept"
    # A machine has relabelled these already: look at them by --where reason==machine.
    suspects = offered[offered["reason"] != "machine"]
    if selection.issues:
        advice = "nothing is marked; run `curate flag`, perhaps with a lower --precision"
        return suspects[suspects["issue"] != ""], advice
    if selection.where:
        return offered, f"no kept image fulfils '{selection.where}'"
    advice = "no image has a suggested label; run `train oof` and `curate flag` first"
    if (offered["issue_rank"] != "").any():
        advice = (
            "`curate flag` suggests no label that nobody has decided about; `curate relabel "
            "--issues` shows what it marks, and `--random 200` any images"
        )
    return suspects[suspects["suggested_label"] != ""], advice


def _group_of(manifest: pd.DataFrame, path: str) -> str:
    """The duplicate group of an image, or the path itself if it has none."""
    groups = manifest.loc[manifest["path"] == path, "duplicate_group"]
    return next((str(group) for group in groups if group), path)


def _order(rows: pd.DataFrame, *, by_group: bool) -> pd.DataFrame:
    """Most suspect first, unranked last.

    With `by_group` the images of a duplicate group stay together, where its most suspect image is.
    """
    last = rows["issue_rank"].replace("", "0").astype(int).max() + len(rows) + 1
    rank = pd.to_numeric(rows["issue_rank"]).fillna(last)
    group = rows["duplicate_group"] if by_group else pd.Series("", index=rows.index)
    first = rank.groupby(group).transform("min") if by_group else rank
    keys = pd.DataFrame({"first": first, "group": group, "rank": rank, "path": rows["path"]})
    return rows.loc[keys.sort_values(["first", "group", "rank", "path"]).index]


def average_predictions(tables: Sequence[pd.DataFrame]) -> dict[str, list[float]]:
    """The mean probabilities of the models.

    Returns
    -------
    path -> (8,) probabilities in the order of the vocabulary; 0 for a class that no model predicts
    """
    if not tables:
        return {}
    assert all(name in VOCABULARY for table in tables for name in class_names(table))
    columns = ["path", *(PREFIX + name for name in VOCABULARY)]
    probs = [table.reindex(columns=columns, fill_value=0.0).set_index("path") for table in tables]
    mean = (sum(probs[1:], start=probs[0]) / len(probs)).round(4)
    return dict(zip(mean.index, mean.to_numpy().tolist(), strict=True))


def describe_rows(
    rows: pd.DataFrame,
    manifest: pd.DataFrame,
    probs: Mapping[str, list[float]],
    verdicts: Mapping[str, Mapping[str, str]],
    *,
    blind: bool,
) -> list[QueueRow]:
    """The rows of the queue with all that the App shows of them.

    Parameters
    ----------
    rows : the rows of the queue, in its order
    probs : path -> (8,) probabilities in the order of the vocabulary; a path may be missing
    verdicts : path -> reviewer -> verdict, of the images in disagreement
    blind : leave out the opinions of the model, the crowd and the reviewers
    """
    readable = manifest[(manifest["duplicate_group"] != "") & (manifest["pixel_hash"] != "")]
    paths_of = {
        str(group): list(paths) for group, paths in readable.groupby("duplicate_group")["path"]
    }
    described = []
    for row in rows.to_dict("records"):
        path, group = row["path"], row["duplicate_group"]
        opinions = {name: "" if blind else row[name] for name in OPINIONS}
        described.append(
            QueueRow(
                path,
                row["given_label"],
                group,
                **opinions,
                probs=[] if blind else probs.get(path, []),
                verdicts={} if blind else verdicts.get(path, {}),
                copies=[copy for copy in paths_of.get(group, []) if copy != path],
            )
        )
    return described
