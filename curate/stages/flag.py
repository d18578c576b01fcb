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
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from curate.errors import PredictionsError, amount
from curate.label_issues.error_model import (
    calibrate,
    describe_lack,
    is_enough,
)
from curate.label_issues.evidence import Verdicts, common_classes, gather_evidence
from curate.label_issues.independent import add_independent
from curate.label_issues.judgement import Judgement, judge
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
    agree,
    best_other,
    labels_of_copies,
    margin,
    pair_prior,
    self_confidence,
)
from curate.stages.flag_counts import count_by_posterior, count_by_score
from curate.workspace.invariants import require_laws
from curate.workspace.predictions import (
    MARGIN_AUC,
    PREFIX,
    WITHIN,
    list_judged,
    read_independent,
    read_predictions,
    round_probabilities,
)
from curate.workspace.receipts import StageResult, note_changed_predictions
from curate.workspace.workspace import POSTERIOR

# `votes` and `human` too: they are the verdicts that calibrate the ranking; `pixel_hash`, since a
# prediction is about a picture, whatever lies at its path later.
INPUT_COLUMNS = ("pixel_hash", "given_label", "fold", "duplicate_group", "votes", "human")
PRECISION = 0.5
ISSUE_COLUMNS = [
    "path", "issue_rank", "given_label", "suggested_label", "issue", "error_probability", "score",
    "margin", "members_against", "pair_prior", "copies", "copies_against", "margin_auc", "verdict",
]  # fmt: skip
NO_TABLES: Mapping[str, pd.DataFrame] = MappingProxyType({})


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
    note_changed_predictions(root, manifest, [*files, *independent])
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
    classes = [name for name in common_classes(predictions, independent) if name in given]
    is_folded = manifest["fold"] != ""
    if not predictions:  # models from outside need no folds
        is_folded = manifest["path"].isin(list_judged(manifest))
    folded = manifest[is_folded].reset_index(drop=True)
    evidence = gather_evidence(folded, predictions, classes)
    verdicts = Verdicts.of(folded, classes)
    guesses = _warn_of_guesses(evidence, classes)
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
    learned = _join_within(predictions)
    # A posterior that may become targets learns from no verdict on val and test.
    held_out = folded["split"].isin(["val", "test"]).to_numpy() & bool(learned)
    used = verdicts.leave_out(held_out)
    fitted = fit_beside_rule(evidence, suspicion, pair, used, len(predictions))
    posterior = fitted if fitted and fitted.is_of_use else None
    judgement = judge(evidence, suspicion, calibration, posterior, precision)
    counts, errors = count_by_score(folded, evidence, judgement, calibration, verdicts, classes)
    if posterior:
        counted, errors = count_by_posterior(folded, judgement, posterior, verdicts, classes)
        counts |= counted
    counts["posterior"] = _describe_posterior(fitted, verdicts)
    own = _to_columns(evidence, judgement, classes)
    issues = _explain(folded, evidence, judgement, verdicts.is_wrong, own)
    columns = own.set_index(manifest.index[is_folded]).reindex(manifest.index, fill_value="")
    tables = {"issues.csv": issues, "label_errors.csv": errors}
    if posterior:
        table = _to_table(folded, posterior.probs, classes)
        tables[POSTERIOR] = table.assign(**_mark_used(learned, used))
    return StageResult(
        _format_summary(counts, score, len(evidence.model_probs), precision),
        columns=columns,
        tables=tables,
        obsolete=() if posterior else (POSTERIOR,),
        counts=counts,
        notes=[*guesses, *notes],
    )


def _warn_of_guesses(evidence: Evidence, classes: Sequence[str]) -> list[str]:
    """A note if the models have hardly learned the labels that they are to judge."""
    counts = np.bincount(evidence.labels, minlength=len(classes))
    most, rows = int(counts.argmax()), max(len(evidence.labels), 1)
    if not evidence.model_probs:
        return []
    best = max(agree(probs, evidence.labels) for probs in evidence.model_probs)
    if best > counts[most] / rows + 1 / np.sqrt(rows):  # two standard errors of a share, at most
        return []
    return [
        f"the best model agrees with {100 * best:.1f} % of the given labels, a constant "
        f"{classes[most]} with {100 * counts[most] / rows:.1f} %: it has learned too little to "
        "judge labels: train on more images, or longer"
    ]


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


def _mark_used(learned: Mapping[str, Any], used: Verdicts) -> dict[str, Any]:
    """The column `within` with the rows whose verdicts the posterior learned from, if there is one.

    Parameters
    ----------
    learned : of `_join_within`
    """
    is_used = used.classes != NO_VERDICT
    return {name: np.where(is_used, "train", values) for name, values in learned.items()}


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
    ranked = (
        f"flag: {amount(counts['ranked'], 'row')} ranked by {score} over {models} model{plural}"
    )
    marked = (
        f"{counts['suggested']:,} suggestions; "
        f"{counts['wrong']:,} marked wrong and {counts['ambiguous']:,} ambiguous"
    )
    if "low" not in errors:
        return (
            f"{ranked}; the models call {errors['count']:,} labels wrong, {marked} "
            f"(not calibrated: {describe_lack(counts['verdicts'], counts['wrong_verdicts'])}, and "
            "run flag again)"
        )
    return (
        f"{ranked}; about {amount(errors['count'], 'label is', 'labels are')} wrong "
        f"({errors['low']:,} to {errors['high']:,}, 95 %, from "
        f"{amount(counts['verdicts'], 'verdict')}); {marked} at a precision of {100 * precision:g} "
        f"%{_format_posterior(counts['posterior'])}"
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
    return f"; the class posterior predicts no better than the error model ({gain}), which is kept"
