"""What the loss aims at in place of the label alone: votes, a posterior, or what models believe.

Input: a workspace and rows with their labels. Output: (N, K) probabilities, the soft targets.

A table of beliefs is used only if the models that made it learned from split train alone. What a
model believes of a train row else holds labels of val and test: of copies, of the same faces, of
the confusions that it learned there.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.errors import ManifestError, PredictionsError, amount
from curate.files import sha256_of
from curate.stderr import note_once
from curate.workspace.class_views import ClassView
from curate.workspace.manifest import kept_rows
from curate.workspace.predictions import (
    PREFIX,
    WITHIN,
    class_names,
    read_predictions,
    read_probabilities,
)
from curate.workspace.receipts import (
    digest_column,
    is_of_other_pictures,
    is_stale,
    note_changed_predictions,
    read_receipts,
)
from curate.workspace.votes import share_votes, votes_of
from curate.workspace.workspace import Workspace

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
POSTERIOR = "posterior"
# Targets -> the labels by which val is scored, where they are not those after decisions.
VAL_LABELS = {"given": "the given labels", POSTERIOR: "the most probable classes"}
AGAIN = {
    POSTERIOR: "run `train oof --within train`, then `curate flag`",
    "oof": "run `train oof --within train`",
}


@dataclass(frozen=True)
class Beliefs:
    """What models believe of the rows that they did not learn from.

    Attributes
    ----------
    table : path -> one column of probabilities per class; each row sums to 1
    files : path inside the workspace -> SHA-256, of the tables that were read
    again : the commands that make them again
    """

    table: pd.DataFrame
    files: Mapping[str, str]
    again: str


def read_beliefs(workspace: Workspace, manifest: pd.DataFrame, targets: str) -> Beliefs:
    """The posterior of `curate flag`, or the mean of the tables of `train oof --within train`.

    Parameters
    ----------
    targets : posterior or oof

    Raises
    ------
    PredictionsError  if there is no such table, it is damaged or lacks rows of train or val, or a
        model that made it learned from rows that are in val or test
    """
    files = [file for file in workspace.find_predictions() if file.stem != POSTERIOR]
    if targets == POSTERIOR:
        files = [workspace.predictions / f"{POSTERIOR}.csv"]
    if not files:
        raise PredictionsError(
            f"--targets oof: {workspace.predictions} has no table of predictions: {AGAIN['oof']}"
        )
    tables, digests = [], {}
    for file in files:
        if file.is_file():
            digests[f"{file.parent.name}/{file.name}"] = sha256_of(file)
        tables.append(_read_table(file, manifest, targets))
    classes = class_names(tables[0])
    if any(set(class_names(table)) != set(classes) for table in tables):
        raise PredictionsError(
            "--targets oof: the tables of predictions hold different classes: "
            f"remove those of other models, and {AGAIN['oof']}"
        )
    columns = [PREFIX + name for name in classes]
    mean = np.mean([table[columns].to_numpy(np.float64) for table in tables], axis=0)
    table = pd.DataFrame(mean, pd.Index(tables[0]["path"]), classes)
    return Beliefs(table, digests, AGAIN[targets])


def _read_table(file: Path, manifest: pd.DataFrame, targets: str) -> pd.DataFrame:
    if targets == POSTERIOR:
        if not file.is_file():
            raise PredictionsError(
                f"{file}: there is no posterior: `curate flag` writes it once enough verdicts make "
                f"it better than the models: {AGAIN['oof']}, `curate relabel --random 200`, then "
                "`curate flag`"
            )
        _require_present(file, manifest)
        # The rows of test too: they show whether the split has changed since.
        is_kept = (manifest["status"] == "keep") & (manifest["split"] != "")
        paths = manifest.loc[is_kept | (manifest["fold"] != ""), "path"]
        table = read_probabilities(file, paths, AGAIN[POSTERIOR])
    else:
        table = read_predictions(file, manifest)
        _require_same_pictures(file, manifest, AGAIN["oof"])
        note_changed_predictions(file.parent.parent, manifest, [file])
    require_unseen(table, manifest, file.name, AGAIN[targets])
    return table


def _require_present(file: Path, manifest: pd.DataFrame) -> None:
    """Raise PredictionsError for a posterior of other given labels; note other changes since."""
    root = file.parent.parent
    receipt = read_receipts(root).get("flag")
    if receipt is None:
        return
    label = receipt["reads"].get("given_label")
    if label not in (None, digest_column(manifest, "given_label")):
        raise PredictionsError(
            f"{file}: the given labels have changed since `curate flag` wrote it: run `curate "
            "flag` again"
        )
    _require_same_pictures(file, manifest, AGAIN[POSTERIOR])
    if is_stale(root, manifest, receipt):
        note_once(f"{file}: is of before later changes or verdicts; `curate flag` makes it anew")


def _require_same_pictures(file: Path, manifest: pd.DataFrame, remedy: str) -> None:
    """Raise PredictionsError if pictures were exchanged or added since a table was written."""
    if is_of_other_pictures(file.parent.parent, manifest, file):
        raise PredictionsError(
            f"{file}: pictures were changed or added since it was written: {remedy}"
        )


def require_unseen(table: pd.DataFrame, manifest: pd.DataFrame, where: str, remedy: str) -> None:
    """Raise PredictionsError unless the models learned from no row of val and test, nor a copy.

    Parameters
    ----------
    table : with the column `within`: train in the rows from which the models learned
    """
    if WITHIN not in table or not table[WITHIN].isin(["train", ""]).all():
        raise PredictionsError(
            f"{where}: its models learned from the rows of all splits, so targets made of it would "
            f"carry what val and test are scored by: {remedy}"
        )
    learned = manifest[manifest["path"].isin(table.loc[table[WITHIN] != "", "path"])]
    held_out = kept_rows(manifest)
    held_out = held_out[held_out["split"].isin(["val", "test"])]
    groups = set(held_out["duplicate_group"]) - {""}
    is_seen = learned["path"].isin(held_out["path"]) | learned["duplicate_group"].isin(groups)
    if is_seen.any():
        raise PredictionsError(
            f"{where}: its models learned from "
            f"{amount(is_seen.sum(), 'row that is', 'rows that are')} in val or test now, or "
            f"copied there (first: {learned['path'][is_seen].iloc[0]}): the split has changed "
            f"since: {remedy}"
        )


def share_beliefs(
    beliefs: Beliefs, paths: "pd.Series[str]", classes: Sequence[str], class_view: ClassView
) -> npt.NDArray[np.float64]:
    """(N, K) what is believed of each row, over the classes of the model.

    Classes are merged as by the class view. Classes that the model does not have are left out, and
    the rest is divided by its sum; a row of which nothing is left is zero.

    Raises
    ------
    PredictionsError  if a row is missing
    """
    missing = paths[~paths.isin(beliefs.table.index)]
    if len(missing):
        raise PredictionsError(
            f"{', '.join(beliefs.files)}: {amount(len(missing), 'row')} of train or val missing "
            f"(first: {missing.iloc[0]}): {beliefs.again}"
        )
    index = {name: k for k, name in enumerate(classes)}
    shares = np.zeros((len(paths), len(classes)))
    for name in beliefs.table.columns:
        seen_as = class_view.class_of.get(name)
        if seen_as in index:
            shares[:, index[seen_as]] += paths.map(beliefs.table[name]).to_numpy(np.float64)
    total = shares.sum(axis=1, keepdims=True)
    shares /= np.where(total > 0, total, 1.0)
    return shares


def mix_beliefs(
    shares: npt.NDArray[np.float64], targets: Rows, is_human: npt.NDArray[np.bool_], weight: float
) -> Floats:
    """The targets: label and belief, mixed; the label alone where a person decided it.

    Parameters
    ----------
    shares : (N, K) of `share_beliefs`
    targets : (N,) class indices of the labels
    is_human : (N,) whether a person decided the label
    weight : share of the belief: 1 for a posterior, which has the given label in it already

    Returns
    -------
    (N, K) rows that sum to 1

    References
    ----------
    S. Reed et al., Training Deep Neural Networks on Noisy Labels with Bootstrapping, ICLR workshop
    2015, section 3.2 (soft bootstrapping: a share of the label, the rest the model's own belief).
    Here the belief is that of models that never saw the row, as a model that has learned a wrong
    label by heart believes it; H. Song et al., SELFIE, ICML 2019, and J. Li et al., DivideMix, ICLR
    2020, section 3.2 (co-refinement), avoid the same by early predictions and by a second network.
    """
    onehot = np.eye(shares.shape[1])[targets]
    has_belief = (shares.sum(axis=1) > 0) & ~is_human
    share = np.where(has_belief, weight, 0.0)[:, None]
    return ((1 - share) * onehot + share * shares).astype(np.float32)


def weigh_targets(soft: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Targets and row weights with which each class counts by its weight, whatever its share.

    The loss of a row is the sum over the classes of weight * share * -log(probability): that of
    targets in proportion to weight * share, times their sum.

    Parameters
    ----------
    soft : (N, K) rows that sum to 1
    weights : (K,) of the classes

    Returns
    -------
    (N, K) targets that sum to 1, and (N,) factors of the rows
    """
    tilted = soft * weights
    factors = tilted.sum(axis=1)
    return (tilted / factors[:, None]).astype(np.float32), factors.astype(np.float32)


def soften_labels(
    votes: "pd.Series[str]",
    targets: Rows,
    classes: Sequence[str],
    class_view: ClassView,
    is_human: Sequence[bool],
) -> Floats:
    """The share of the crowd's votes for each class, by the rule of `votes.share_votes`.

    Parameters
    ----------
    votes : (N,) JSON of answer -> count, empty for a row without votes; answers that are no class
        do not count
    targets : (N,) class indices of the labels
    class_view : applies to the answers as to the labels
    is_human : (N,) whether a person decided the label; the crowd does not overrule a person

    Returns
    -------
    (N, K) rows that sum to 1

    Raises
    ------
    ManifestError  if no row has votes

    References
    ----------
    E. Barsoum et al., Training Deep Networks for Facial Expression Recognition with Crowd-Sourced
    Label Distribution, ICMI 2016, section 4.4 (cross-entropy against the distribution)
    """
    if not (votes != "").any():
        raise ManifestError(
            "manifest.csv: no row of split train has votes: "
            "give them with `curate build --votes FILE`"
        )
    index = {name: k for k, name in enumerate(classes)}
    shares = np.zeros((len(votes), len(classes)))
    for row, (text, target, human) in enumerate(zip(votes, targets, is_human, strict=True)):
        counts = Counter[str]()
        for answer, count in votes_of(text).items():
            name = class_view.class_of.get(answer)
            if name in index:
                counts[name] += count
        for name, share in share_votes(counts, classes[target], is_human=human).items():
            shares[row, index[name]] = share
    return shares.astype(np.float32)
