"""flag: out-of-fold predictions -> how suspect each given label is, why, and how many are wrong.

Reads any predictions tables. The ranking uses one of the documented scores (`curate.label_issues.scores`); where people or the crowd
have judged enough labels, the score becomes a probability (`curate.label_issues.error_model`) and the ranking learns from them, without
training anything again. Where one other class is believed alone it is suggested; where several are the image is ambiguous and
nothing is. The most suspect are marked as an `issue`, `wrong` or `ambiguous`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.errors import PredictionsError
from curate.label_issues.error_model import (
    Calibration,
    calibrate,
    collect_verdicts,
    count_confidently,
    count_errors,
    is_enough,
    mark_at_precision,
)
from curate.label_issues.scores import (
    SCORES,
    Evidence,
    Labels,
    Probs,
    best_other,
    labels_of_copies,
    margin,
    pair_prior,
    self_confidence,
)
from curate.workspace.invariants import require_laws
from curate.workspace.predictions import MARGIN_AUC, PREFIX, class_names, read_predictions
from curate.workspace.receipts import StageResult

Flags = npt.NDArray[np.bool_]

# Verdicts among them: a person's decision or a vote calibrates the ranking.
INPUT_COLUMNS = ("given_label", "fold", "duplicate_group", "votes", "human")
PRECISION = 0.5
# A second class believed at least this much of the first leaves the expression open.
OPEN_SHARE = 0.5
NEXT_LOOKS = 100
ISSUE_COLUMNS = [
    "path", "issue_rank", "given_label", "suggested_label", "issue", "error_probability", "score", "margin",
    "members_against", "pair_prior", "copies", "copies_against", "margin_auc", "verdict",
]  # fmt: skip
COUNT_COLUMNS = ["given_label", "suggested_label", "low", "count", "high"]


@dataclass(frozen=True)
class Judgement:
    """What flag thinks of N rows.

    Attributes
    ----------
    score, rank : higher and first is more suspect
    other : the class believed most of those not given
    doubted : where it is believed more than the given one
    is_open : where further classes are plausible too
    marked : the issues
    probability : that the label is wrong; None without verdicts
    """

    score: Probs
    rank: Labels
    other: Labels
    doubted: Flags
    is_open: Flags
    marked: Flags
    probability: Probs | None


def flag_tables(
    manifest: pd.DataFrame, files: Sequence[Path], score: str, precision: float
) -> StageResult:
    """`flag` on predictions files, each checked against the manifest."""
    return flag(manifest, [read_predictions(file, manifest) for file in files], score, precision)


def flag(
    manifest: pd.DataFrame,
    predictions: Sequence[pd.DataFrame],
    score: str = "combined",
    precision: float = PRECISION,
) -> StageResult:
    """Rank every predicted row, most suspect first.

    Parameters
    ----------
    predictions : tables of `read_predictions`, one a member, all of the folded rows in their order
    score : a name of `SCORES`; ties are broken by the path
    precision : share of the marked labels that shall be wrong; without verdicts as many are marked as the models call wrong

    Raises
    ------
    PredictionsError  if there is no table, or the tables hold different classes
    ManifestError  if copies lie in different folds now, so that a model has seen a copy of what it judges
    """
    require_laws(manifest, "fold")
    classes = [
        name for name in _common_classes(predictions) if name in set(manifest["given_label"])
    ]
    folded = manifest[manifest["fold"] != ""].reset_index(drop=True)
    evidence = gather_evidence(folded, predictions, classes)
    if score == MARGIN_AUC and not np.isfinite(evidence.margin_auc).any():
        raise PredictionsError(
            f"--score {MARGIN_AUC}: no table tells how the rows were learned: choose another, or use networks of `train oof`"
        )
    verdicts = collect_verdicts(folded)
    suspicion = SCORES[score](evidence).round(9)
    other = best_other(evidence.labels, evidence.believed)
    pair = evidence.labels * len(classes) + other
    calibration = calibrate(suspicion, pair, verdicts) if is_enough(verdicts) else None
    judgement = _judge(evidence, other, suspicion, calibration, precision)
    counts, table = _count(folded, evidence, judgement, calibration, verdicts, classes)
    own = {
        "self_confidence": [
            f"{value:.6f}" for value in self_confidence(evidence.labels, evidence.probs)
        ],
        "issue_rank": judgement.rank.astype(str),
        "suggested_label": np.where(
            judgement.doubted & ~judgement.is_open, np.array(classes)[other], ""
        ),
        "issue": np.where(judgement.marked, np.where(judgement.is_open, "ambiguous", "wrong"), ""),
    }
    rows = manifest.index[manifest["fold"] != ""]
    columns = pd.DataFrame(own, index=rows, dtype=str).reindex(manifest.index, fill_value="")
    reasons = _explain(folded, evidence, judgement, verdicts, columns.loc[rows])
    return StageResult(
        _format_summary(counts, score, len(evidence.members), calibration, precision),
        columns=columns,
        tables={"issues.csv": reasons, "label_errors.csv": table},
        counts=counts,
    )


def gather_evidence(
    folded: pd.DataFrame, predictions: Sequence[pd.DataFrame], classes: Sequence[str]
) -> Evidence:
    """What tables and duplicate groups say of the folded rows.

    Parameters
    ----------
    predictions : tables of the folded rows in their order
    classes : those to look at, in the order of K
    """
    labels = (
        folded["given_label"]
        .map({name: k for k, name in enumerate(classes)})
        .to_numpy(dtype=np.int64)
    )
    members = tuple(_cut_to(classes, table) for table in predictions)
    groups, _ = pd.factorize(
        folded["duplicate_group"].where(folded["duplicate_group"] != "", folded["path"])
    )
    dynamics = [
        pd.to_numeric(table[MARGIN_AUC], errors="coerce").to_numpy()
        for table in predictions
        if MARGIN_AUC in table
    ]
    # The mean of the models that learned the row; no number where none did.
    margin_auc = pd.DataFrame(dynamics, columns=folded.index, dtype=np.float64).mean(axis=0)
    return Evidence(labels, members, groups.astype(np.int64), margin_auc.to_numpy())


def _cut_to(classes: Sequence[str], table: pd.DataFrame) -> Probs:
    """(N, K) the probabilities of these classes; where the model knows others too they sum to 1 again, or are all equal."""
    probs: Probs = table[[PREFIX + name for name in classes]].to_numpy(dtype=np.float64)
    if len(classes) == len(class_names(table)):
        return probs
    total = probs.sum(axis=1, keepdims=True)
    shares: Probs = np.divide(
        probs, total, out=np.full_like(probs, 1 / len(classes)), where=total > 0
    )
    return shares


def _judge(
    evidence: Evidence,
    other: Labels,
    suspicion: Probs,
    calibration: Calibration | None,
    precision: float,
) -> Judgement:
    labels, believed, rows = evidence.labels, evidence.believed, np.arange(len(evidence.labels))
    probability = None if calibration is None else calibration.probability
    rank = np.empty(len(rows), np.int64)
    rank[
        np.argsort(-(suspicion if probability is None else probability.round(9)), kind="stable")
    ] = rows + 1
    if probability is None:
        marked = rank <= count_confidently(labels, evidence.probs)[0]
    else:
        marked = mark_at_precision(probability, precision)
    doubted = believed[rows, other] > believed[rows, labels]
    rest = believed.copy()
    rest[rows, other] = 0
    is_open = rest.max(axis=1) >= OPEN_SHARE * believed[rows, other]
    return Judgement(suspicion, rank, other, doubted, is_open, marked & doubted, probability)


def _count(
    folded: pd.DataFrame,
    evidence: Evidence,
    judgement: Judgement,
    calibration: Calibration | None,
    verdicts: Probs,
    classes: Sequence[str],
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The numbers of the summary, and the errors per pair of given and suggested class."""
    counts: dict[str, Any] = {
        "ranked": len(folded),
        "suggested": int((judgement.doubted & ~judgement.is_open).sum()),
        "wrong": int((judgement.marked & ~judgement.is_open).sum()),
        "ambiguous": int((judgement.marked & judgement.is_open).sum()),
        "verdicts": int(np.isfinite(verdicts).sum()),
    }
    labels = evidence.labels
    if calibration is None:
        total, joint = count_confidently(labels, evidence.probs)
        pairs = [
            (classes[g], classes[s], "", str(joint[g, s]), "") for g, s in np.argwhere(joint > 0)
        ]
        return {**counts, "errors": {"count": total}}, pd.DataFrame(
            pairs, columns=COUNT_COLUMNS, dtype=str
        )
    every = np.ones(len(folded), bool)
    left = ((folded["status"] == "keep") & (folded["reason"] != "human")).to_numpy()
    queue = np.flatnonzero(left)[np.argsort(judgement.rank[left])][:NEXT_LOOKS]
    counts["errors"] = count_errors(calibration, verdicts, every)
    counts["errors_left"] = count_errors(calibration, verdicts, left)
    believed = np.where(
        np.isfinite(verdicts), verdicts, calibration.probability
    )  # the crowd may know, and nobody has decided
    counts["next_looks"] = {"looks": len(queue), "errors": round(float(believed[queue].sum()))}
    pairs = []
    for g, s in sorted(set(zip(labels.tolist(), judgement.other.tolist(), strict=True))):
        found = count_errors(calibration, verdicts, (labels == g) & (judgement.other == s))
        pairs.append(
            (classes[g], classes[s], *(str(found[name]) for name in ("low", "count", "high")))
        )
    return counts, pd.DataFrame(pairs, columns=COUNT_COLUMNS, dtype=str)


def _explain(
    folded: pd.DataFrame,
    evidence: Evidence,
    judgement: Judgement,
    verdicts: Probs,
    columns: pd.DataFrame,
) -> pd.DataFrame:
    """Why each row stands where it does (`ISSUE_COLUMNS`), most suspect first."""
    labels, rows = evidence.labels, np.arange(len(folded))
    against = np.sum([probs.argmax(axis=1) != labels for probs in evidence.members], axis=0)
    copies = np.bincount(evidence.groups)[evidence.groups] - 1
    agree = labels_of_copies(labels, evidence.groups, evidence.probs.shape[1])[rows, labels]
    prior = pair_prior(labels, evidence.probs)[labels, judgement.other]
    probability = (
        np.full(len(rows), np.nan) if judgement.probability is None else judgement.probability
    )
    numbers = {
        "error_probability": probability,
        "score": judgement.score,
        "margin": margin(labels, evidence.probs),
        "pair_prior": prior,
        "margin_auc": evidence.margin_auc,
        "verdict": verdicts,
    }
    table = pd.DataFrame(
        {
            "path": folded["path"].to_numpy(),
            "given_label": folded["given_label"].to_numpy(),
            **{name: columns[name].to_numpy() for name in ("issue_rank", "suggested_label", "issue")},
            **{name: ["" if np.isnan(value) else f"{value:.4f}" for value in values] for name, values in numbers.items()},
            "members_against": [f"{count} of {len(evidence.members)}" for count in against],
            "copies": copies.astype(str),
            "copies_against": np.rint(copies * (1 - agree)).astype(int).astype(str),
        }
    )  # fmt: skip
    table["verdict"] = table["verdict"].map({"1.0000": "wrong", "0.0000": "right"}).fillna("")
    return table.iloc[np.argsort(judgement.rank)][ISSUE_COLUMNS].astype(str)


def _format_summary(
    counts: Mapping[str, Any],
    score: str,
    members: int,
    calibration: Calibration | None,
    precision: float,
) -> str:
    errors = counts["errors"]
    summary = f"flag: {counts['ranked']:,} rows ranked by {score} over {members} member{'s' * (members > 1)}; "
    marked = f"{counts['suggested']:,} suggestions; {counts['wrong']:,} marked wrong and {counts['ambiguous']:,} ambiguous"
    if calibration is None:
        return (
            f"{summary}the models call {errors['count']:,} labels wrong, {marked} (not calibrated: "
            f"judge a random sample of 200, and run flag again)"
        )
    return (
        f"{summary}about {errors['count']:,} labels are wrong ({errors['low']:,} to {errors['high']:,}, 95 %, from "
        f"{calibration.verdicts:,} verdicts); {marked} at a precision of {100 * precision:g} %"
    )


def _common_classes(predictions: Sequence[pd.DataFrame]) -> list[str]:
    if not predictions:
        raise PredictionsError(
            "predictions: none found: run `train oof`, or name a file with --predictions"
        )
    lists = [class_names(table) for table in predictions]
    if any(names != lists[0] for names in lists):
        raise PredictionsError(
            f"predictions: the tables hold different classes ({lists[0]} and others): use models of one class list"
        )
    return lists[0]
