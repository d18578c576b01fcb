"""flag: out-of-fold predictions -> how suspect each given label is, why, and how many are wrong.

The manifest and predictions tables of any models come in; the columns of flag, `issues.csv` and
`label_errors.csv` go out. Rows are ranked by a score of `curate.label_issues.scores`. Once people
or the crowd have judged enough labels, `curate.label_issues.error_model` turns the score into a
probability, and the ranking learns from the verdicts without training a model again. Where the
class posterior of `curate.label_issues.posterior` predicts held-out verdicts better than that, it
takes over: it is written to `predictions/posterior.csv`, and the suggestions, the error
probabilities and the counts are its.

A class is suggested if it is the only plausible one besides the given; with several plausible
classes the image is ambiguous and gets no suggestion. The most suspect rows are marked as an
`issue`, `wrong` or `ambiguous`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
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
    name_verdicts,
)
from curate.label_issues.independent import add_independent
from curate.label_issues.label_counts import count_labels
from curate.label_issues.posterior import (
    COVERED,
    FEWEST,
    NO_VERDICT,
    Clues,
    Posterior,
    fit_posterior,
    split_groups,
    spread_error,
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
from curate.labels import VOCABULARY
from curate.workspace.invariants import require_laws
from curate.workspace.predictions import (
    MARGIN_AUC,
    PREFIX,
    WITHIN,
    class_names,
    list_judged,
    read_independent,
    read_predictions,
    round_probabilities,
)
from curate.workspace.receipts import StageResult, note_changed_predictions
from curate.workspace.workspace import POSTERIOR

Flags = npt.NDArray[np.bool_]

# `votes` and `human` too: they are the verdicts that calibrate the ranking.
INPUT_COLUMNS = ("given_label", "fold", "duplicate_group", "votes", "human")
PRECISION = 0.5
# A row is ambiguous if a second class is believed at least this share of the first.
OPEN_SHARE = 0.5
NEXT_LOOKS = 100  # images at the head of the review queue whose errors are estimated
ISSUE_COLUMNS = [
    "path", "issue_rank", "given_label", "suggested_label", "issue", "error_probability", "score",
    "margin", "members_against", "pair_prior", "copies", "copies_against", "margin_auc", "verdict",
]  # fmt: skip
NO_TABLES: Mapping[str, pd.DataFrame] = MappingProxyType({})
COUNT_COLUMNS = ["given_label", "suggested_label", "low", "count", "high"]


@dataclass(frozen=True)
class Judgement:
    """What flag computes of N rows; all but `probability` are (N,).

    Attributes
    ----------
    score : higher is more suspect
    rank : 1 is the most suspect
    other : the class believed most besides the given one
    is_doubted : whether `other` is believed more than the given class
    is_open : whether further classes are plausible too
    is_marked : whether the row is an issue
    probability : (N,) that the given label is wrong; None without enough verdicts
    """

    score: Probs
    rank: Labels
    other: Labels
    is_doubted: Flags
    is_open: Flags
    is_marked: Flags
    probability: Probs | None

    @property
    def is_suggested(self) -> Flags:
        """Whether `other` is the suggested label: doubted, and no third class is plausible."""
        return self.is_doubted & ~self.is_open


def flag_tables(
    manifest: pd.DataFrame,
    root: Path,
    files: Sequence[Path],
    score: str,
    precision: float,
    independent: Sequence[Path] = (),
) -> StageResult:
    """`flag` on predictions files, each checked against the manifest.

    Parameters
    ----------
    root : of the workspace, whose receipts know what was written and read before
    """
    tables = [read_predictions(file, manifest) for file in files]
    outside = {file.name: read_independent(file, manifest) for file in independent}
    note_changed_predictions(root, [*files, *independent])
    return flag(manifest, tables, score, precision, outside)


def flag(
    manifest: pd.DataFrame,
    predictions: Sequence[pd.DataFrame],
    score: str = "combined",
    precision: float = PRECISION,
    independent: Mapping[str, pd.DataFrame] = NO_TABLES,
) -> StageResult:
    """Rank every predicted row, most suspect first.

    Parameters
    ----------
    predictions : tables of `read_predictions`, one per model, each of all folded rows in their
    order
    score : a name of `SCORES`; ties are broken by the path
    precision : share of the marked labels that should be wrong; without verdicts it has no effect,
        and as many rows are marked as the models call wrong
    independent : file name -> table of `read_independent`, of models never trained on these rows

    Raises
    ------
    PredictionsError  if there is no table, the tables hold different classes, `score` needs a
        column that none of them has, or an independent model evidently knows the given labels
    ManifestError  if copies are in different folds now, so that a row may be predicted by a model
        that learned from its copy
    """
    require_laws(manifest, "fold")
    given = set(manifest["given_label"])
    classes = [name for name in _common_classes(predictions, independent) if name in given]
    is_folded = manifest["fold"] != ""
    if not predictions:  # models from outside need no folds
        is_folded = manifest["path"].isin(list_judged(manifest))
    folded = manifest[is_folded].reset_index(drop=True)
    evidence = gather_evidence(folded, predictions, classes)
    verdicts = Verdicts.of(folded, classes)
    evidence, notes = add_independent(evidence, independent, classes, verdicts.is_wrong)
    if score == MARGIN_AUC and not np.isfinite(evidence.margin_auc).any():
        raise PredictionsError(
            f"--score {MARGIN_AUC}: no table has the column {MARGIN_AUC}: choose another score, or "
            "use networks of `train oof`"
        )
    suspicion = SCORES[score](evidence).round(9)
    other = best_other(evidence.labels, evidence.believed)
    pair = evidence.labels * len(classes) + other
    is_calibrated = is_enough(verdicts.is_wrong)
    calibration = calibrate(suspicion, pair, verdicts.is_wrong) if is_calibrated else None
    fitted = fit_beside_rule(evidence, suspicion, pair, verdicts, len(predictions))
    posterior = fitted if fitted and fitted.is_of_use else None
    judgement = _judge(evidence, suspicion, calibration, posterior, precision)
    counts, errors = _count(folded, evidence, judgement, calibration, verdicts, classes)
    if posterior:
        counted, errors = _count_by_posterior(folded, judgement, posterior, verdicts, classes)
        counts |= counted
    counts["posterior"] = _describe_posterior(fitted, verdicts)
    own = _to_columns(evidence, judgement, classes)
    issues = _explain(folded, evidence, judgement, verdicts.is_wrong, own)
    columns = own.set_index(manifest.index[is_folded]).reindex(manifest.index, fill_value="")
    tables = {"issues.csv": issues, "label_errors.csv": errors}
    if posterior:
        learned = _join_within(predictions)
        tables[POSTERIOR] = _to_table(folded, posterior.probs, classes).assign(**learned)
    return StageResult(
        _format_summary(counts, score, len(evidence.model_probs), precision),
        columns=columns,
        tables=tables,
        obsolete=() if posterior else (POSTERIOR,),
        counts=counts,
        notes=notes,
    )


@dataclass(frozen=True)
class Verdicts:
    """What people and the crowd gave N rows.

    Attributes
    ----------
    is_wrong : (N,) 1 where the given label is wrong, 0 where right, NaN without a verdict
    classes : (N,) class index of the verdict; K for a class that the data set does not have;
        `NO_VERDICT` for none
    """

    is_wrong: Probs
    classes: Labels

    @classmethod
    def of(cls, folded: pd.DataFrame, classes: Sequence[str]) -> "Verdicts":
        """The verdicts on the folded rows."""
        index_of = {"": NO_VERDICT, **{name: k for k, name in enumerate(classes)}}
        named = name_verdicts(folded)
        numbers = [index_of.get(name, len(classes)) for name in named]
        return cls(collect_verdicts(folded), np.array(numbers, np.int64))


def fit_beside_rule(
    evidence: Evidence,
    suspicion: Probs,
    pair: Labels,
    verdicts: Verdicts,
    members: int | None = None,
) -> Posterior | None:
    """The class posterior, compared with the error model as the rule of today.

    Parameters
    ----------
    suspicion : (N,) the score of the ranking
    pair : (N,) number of the pair of given and suggested class
    members : number of out-of-fold models; the independent ones that follow in the evidence are a
        clue each; None for no such models

    Returns
    -------
    None with too few verdicts, too few wrong labels among them, or one class alone
    """
    count = evidence.probs.shape[1]
    is_known = verdicts.classes < count  # a class of the data set, or none
    classes = np.where(is_known, verdicts.classes, NO_VERDICT)
    known = int((classes != NO_VERDICT).sum())
    if count < 2 or known < FEWEST or not is_enough(verdicts.is_wrong):
        return None
    outside = evidence.model_probs[members:] if members else ()
    clues = Clues(evidence.labels, (evidence.believed, *outside), evidence.groups, suspicion)
    return fit_posterior(clues, classes, _today(evidence, suspicion, pair, verdicts.is_wrong))


def _today(evidence: Evidence, suspicion: Probs, pair: Labels, is_wrong: Probs) -> Probs:
    """(N, K) what the error model makes of the beliefs, without a row's own verdict.

    Without enough verdicts it is the beliefs themselves.
    """
    rule = evidence.believed.copy()
    judged = np.flatnonzero(np.isfinite(is_wrong))
    folds = split_groups(evidence.groups[judged])
    for fold in np.unique(folds):
        out = judged[folds == fold]
        others = is_wrong[judged].copy()
        others[folds == fold] = np.nan
        if is_enough(others):
            error = calibrate(suspicion[judged], pair[judged], others).probability
            rule[out] = spread_error(
                evidence.believed[out], evidence.labels[out], error[folds == fold]
            )
    return rule


def gather_evidence(
    folded: pd.DataFrame, predictions: Sequence[pd.DataFrame], classes: Sequence[str]
) -> Evidence:
    """What predictions and duplicate groups show about the folded rows.

    Parameters
    ----------
    predictions : tables of the folded rows in their order
    classes : the K classes, in the order of the probabilities
    """
    index_of = {name: k for k, name in enumerate(classes)}
    labels = folded["given_label"].map(index_of).to_numpy(dtype=np.int64)
    probs = tuple(_select_classes(classes, table) for table in predictions)
    group = folded["duplicate_group"].where(folded["duplicate_group"] != "", folded["path"])
    groups, _ = pd.factorize(group)
    tables = [table for table in predictions if MARGIN_AUC in table]
    dynamics = [pd.to_numeric(table[MARGIN_AUC], errors="coerce").to_numpy() for table in tables]
    # The mean over the models that learned from the row; NaN if none did.
    margin_auc = pd.DataFrame(dynamics, columns=folded.index, dtype=np.float64).mean(axis=0)
    return Evidence(labels, probs, groups.astype(np.int64), margin_auc.to_numpy())


def _select_classes(classes: Sequence[str], table: pd.DataFrame) -> Probs:
    """(N, K) the probabilities of these classes.

    If the model predicts further classes, each row is divided by its sum; a row of zeros becomes
    equal shares.
    """
    probs: Probs = table[[PREFIX + name for name in classes]].to_numpy(dtype=np.float64)
    if len(classes) == len(class_names(table)):
        return probs
    total = probs.sum(axis=1, keepdims=True)
    equal = np.full_like(probs, 1 / len(classes))
    shares: Probs = np.divide(probs, total, out=equal, where=total > 0)
    return shares


def _judge(
    evidence: Evidence,
    suspicion: Probs,
    calibration: Calibration | None,
    posterior: Posterior | None,
    precision: float,
) -> Judgement:
    labels, rows = evidence.labels, np.arange(len(evidence.labels))
    believed = posterior.probs if posterior else evidence.believed
    other = best_other(labels, believed)
    probability = None
    if posterior:
        probability = 1 - believed[rows, labels]
    elif calibration:
        probability = calibration.probability
    if probability is None:
        rank = _rank(suspicion)
        is_marked = rank <= count_confidently(labels, evidence.probs)[0]
    else:
        rank = _rank(probability.round(9))
        is_marked = mark_at_precision(probability, precision)
    is_doubted = believed[rows, other] > believed[rows, labels]
    rest = believed.copy()
    rest[rows, other] = 0
    is_open = rest.max(axis=1) >= OPEN_SHARE * believed[rows, other]
    is_issue = is_marked & is_doubted
    return Judgement(suspicion, rank, other, is_doubted, is_open, is_issue, probability)


def _rank(suspicion: Probs) -> Labels:
    """(N,) 1 for the highest value; rows of equal value are ranked in their order."""
    rank = np.empty(len(suspicion), np.int64)
    rank[np.argsort(-suspicion, kind="stable")] = np.arange(1, len(suspicion) + 1)
    return rank


def _to_columns(evidence: Evidence, judgement: Judgement, classes: Sequence[str]) -> pd.DataFrame:
    """The columns that flag owns, of the folded rows."""
    confidence = self_confidence(evidence.labels, evidence.probs)
    suggested = np.array(classes)[judgement.other]
    issue = np.where(judgement.is_open, "ambiguous", "wrong")
    columns = {
        "self_confidence": [f"{value:.6f}" for value in confidence],
        "issue_rank": judgement.rank.astype(str),
        "suggested_label": np.where(judgement.is_suggested, suggested, ""),
        "issue": np.where(judgement.is_marked, issue, ""),
    }
    return pd.DataFrame(columns, dtype=str)


def _count(
    folded: pd.DataFrame,
    evidence: Evidence,
    judgement: Judgement,
    calibration: Calibration | None,
    verdicts: Verdicts,
    classes: Sequence[str],
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The numbers of the summary, and `label_errors.csv`: errors per given and suggested class."""
    is_marked, is_open, is_wrong = judgement.is_marked, judgement.is_open, verdicts.is_wrong
    counts: dict[str, Any] = {
        "ranked": len(folded),
        "suggested": int(judgement.is_suggested.sum()),
        "wrong": int((is_marked & ~is_open).sum()),
        "ambiguous": int((is_marked & is_open).sum()),
        "verdicts": int(np.isfinite(is_wrong).sum()),
    }
    labels, pairs = evidence.labels, []
    if calibration is None:
        total, joint = count_confidently(labels, evidence.probs)
        counts["errors"] = {"count": total}
        for g, s in np.argwhere(joint > 0):
            pairs.append((classes[g], classes[s], "", str(joint[g, s]), ""))
        return counts, pd.DataFrame(pairs, columns=COUNT_COLUMNS, dtype=str)
    every = np.ones(len(folded), bool)
    is_left = _find_undecided(folded)
    counts["errors"] = count_errors(calibration, is_wrong, every)
    counts["errors_left"] = count_errors(calibration, is_wrong, is_left)
    counts["next_looks"] = _expect_next(judgement, is_left, is_wrong)
    for g, s in sorted(set(zip(labels.tolist(), judgement.other.tolist(), strict=True))):
        found = count_errors(calibration, is_wrong, (labels == g) & (judgement.other == s))
        pairs.append((classes[g], classes[s], *_format_interval(found)))
    return counts, pd.DataFrame(pairs, columns=COUNT_COLUMNS, dtype=str)


def _count_by_posterior(
    folded: pd.DataFrame,
    judgement: Judgement,
    posterior: Posterior,
    verdicts: Verdicts,
    classes: Sequence[str],
) -> tuple[dict[str, Any], pd.DataFrame]:
    """As `_count`; also how many labels of kept rows are right, now and with all suggestions."""
    index_of = {name: k for k, name in enumerate(classes)}
    # Only a person gives a class that the posterior does not have.
    label = np.array([index_of.get(name, len(classes)) for name in folded["label"]])
    is_left, is_kept = _find_undecided(folded), (folded["status"] == "keep").to_numpy()
    keys = pd.DataFrame(
        {
            "given": [index_of[name] for name in folded["given_label"]],
            "label": label,
            "accepted": np.where(is_left & judgement.is_suggested, judgement.other, label),
            "is_kept": is_kept,
            "is_left": is_left,
        }
    )
    sums = count_labels(posterior, verdicts.classes, keys)
    counts = {
        "errors": sums.count_wrong("given"),
        "errors_left": sums.count_wrong("label", "is_left"),
        "next_looks": _expect_next(judgement, is_left, verdicts.is_wrong),
        "right": {
            "rows": int(is_kept.sum()),
            "now": sums.count_right("label", "is_kept"),
            "accepted": sums.count_right("accepted", "is_kept"),
        },
    }
    pairs = []
    for g, s in np.argwhere(~np.eye(len(classes), dtype=bool)):
        found = sums.count_pair("given", g, s)
        if found["high"]:
            pairs.append((classes[g], classes[s], *_format_interval(found)))
    return counts, pd.DataFrame(pairs, columns=COUNT_COLUMNS, dtype=str)


def _find_undecided(folded: pd.DataFrame) -> Flags:
    """(N,) True for kept rows that no person has decided."""
    return ((folded["status"] == "keep") & (folded["reason"] != "human")).to_numpy()


def _format_interval(found: Mapping[str, int]) -> list[str]:
    return [str(found[name]) for name in ("low", "count", "high")]


def _expect_next(judgement: Judgement, is_left: Flags, is_wrong: Probs) -> dict[str, int]:
    """How many of the next images of the review queue are expected to have a wrong label."""
    queue = np.flatnonzero(is_left)[np.argsort(judgement.rank[is_left])][:NEXT_LOOKS]
    assert judgement.probability is not None, "there are verdicts"
    # A row that no person has decided may still have a verdict of the crowd.
    expected = np.where(np.isfinite(is_wrong), is_wrong, judgement.probability)
    return {"looks": len(queue), "errors": round(float(expected[queue].sum()))}


def _describe_posterior(fitted: Posterior | None, verdicts: Verdicts) -> dict[str, Any]:
    """Whether the class posterior is used, its gain, and why not."""
    if fitted is None:
        known = int((verdicts.classes != NO_VERDICT).sum())
        return {"is_used": False, "verdicts": known, "needed": FEWEST}
    return {
        "is_used": fitted.is_of_use,
        "verdicts": fitted.verdicts,
        "gain": round(fitted.gain, 3),
        "agreement_gain": round(fitted.agreement_gain, 3),
        "covered": round(fitted.covered, 2),
    }


def _join_within(predictions: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """The column `within`: train for a row from which a model of `--within train` learned.

    Nothing if a table lacks the column, since its models learned from the rows of all splits.
    Independent models alone learned from none of them.
    """
    if not predictions:
        return {WITHIN: ""}
    if not all(WITHIN in table for table in predictions):
        return {}
    within = predictions[0][WITHIN]
    for table in predictions[1:]:
        within = within.where(within != "", table[WITHIN])
    return {WITHIN: within}


def _to_table(folded: pd.DataFrame, probs: Probs, classes: Sequence[str]) -> pd.DataFrame:
    """`predictions/posterior.csv`: path and p_<class>, one row per folded row."""
    columns = pd.DataFrame(probs, columns=[PREFIX + name for name in classes])
    return folded[["path"]].join(round_probabilities(columns))


def _explain(
    folded: pd.DataFrame,
    evidence: Evidence,
    judgement: Judgement,
    verdicts: Probs,
    columns: pd.DataFrame,
) -> pd.DataFrame:
    """`issues.csv`: why each row has its rank (`ISSUE_COLUMNS`), most suspect first."""
    labels, rows = evidence.labels, np.arange(len(folded))
    against = np.sum([probs.argmax(axis=1) != labels for probs in evidence.model_probs], axis=0)
    copies = np.bincount(evidence.groups)[evidence.groups] - 1
    agree = labels_of_copies(labels, evidence.groups, evidence.probs.shape[1])[rows, labels]
    prior = pair_prior(labels, evidence.probs)[labels, judgement.other]
    numbers = {
        "error_probability": judgement.probability,
        "score": judgement.score,
        "margin": margin(labels, evidence.probs),
        "pair_prior": prior,
        "margin_auc": evidence.margin_auc,
    }
    table = folded[["path", "given_label"]].join(columns)
    for name, values in numbers.items():
        table[name] = _format_numbers(values, len(rows))
    table["members_against"] = [f"{count} of {len(evidence.model_probs)}" for count in against]
    table["copies"] = copies
    table["copies_against"] = np.rint(copies * (1 - agree)).astype(int)
    table["verdict"] = pd.Series(verdicts, table.index).map({1.0: "wrong", 0.0: "right"}).fillna("")
    return table.iloc[np.argsort(judgement.rank)][ISSUE_COLUMNS].astype(str)


def _format_numbers(values: Probs | None, count: int) -> list[str]:
    """Four decimals, empty for NaN; all empty without values."""
    if values is None:
        return [""] * count
    return ["" if np.isnan(value) else f"{value:.4f}" for value in values]


def _format_summary(counts: Mapping[str, Any], score: str, models: int, precision: float) -> str:
    errors, plural = counts["errors"], "s" * (models > 1)
    ranked = f"flag: {counts['ranked']:,} rows ranked by {score} over {models} model{plural}"
    marked = (
        f"{counts['suggested']:,} suggestions; "
        f"{counts['wrong']:,} marked wrong and {counts['ambiguous']:,} ambiguous"
    )
    if "low" not in errors:
        return (
            f"{ranked}; the models call {errors['count']:,} labels wrong, {marked} "
            "(not calibrated: judge a random sample of 200, and run flag again)"
        )
    return (
        f"{ranked}; about {errors['count']:,} labels are wrong "
        f"({errors['low']:,} to {errors['high']:,}, 95 %, "
        f"from {counts['verdicts']:,} verdicts); {marked} at a precision of {100 * precision:g} %"
        f"{_format_posterior(counts['posterior'])}"
    )


def _format_posterior(posterior: Mapping[str, Any]) -> str:
    """Whether the class posterior is in use, for the summary."""
    if "gain" not in posterior:
        return ""
    gain = f"{posterior['gain']:+.2f} nats a held-out verdict"
    if posterior["is_used"]:
        return f"; by the class posterior ({gain})"
    if posterior["gain"] > 0 and posterior["covered"] < COVERED:
        return (
            "; no class posterior, since the verdicts are of the most suspect images alone: "
            "judge a random sample of 200"
        )
    if posterior["gain"] > 0:
        return "; no class posterior, since held-out verdicts agree more with the given labels"
    return f"; the class posterior is no better than today's rule ({gain}), which is kept"


def _common_classes(
    predictions: Sequence[pd.DataFrame], independent: Mapping[str, pd.DataFrame]
) -> list[str]:
    """The classes of all tables; PredictionsError if they differ or there is no table.

    Independent models alone are about every class.
    """
    if independent and not predictions:
        return list(VOCABULARY)
    if not predictions:
        raise PredictionsError(
            "predictions: none found: run `train oof`, or name a file with --predictions"
        )
    lists = [class_names(table) for table in predictions]
    if any(names != lists[0] for names in lists):
        raise PredictionsError(
            f"predictions: the tables hold different classes ({lists[0]} and others): "
            "use models of one class list"
        )
    return lists[0]
