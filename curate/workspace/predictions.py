"""Predictions tables: from a model to `curate flag`, as a plain CSV that any model can write.

One row per predicted image: `path`, `model`, `fold` (the fold that was held out when the model was
trained), one column `p_<class>` per class (each row sums to 1), and any further columns, which are
kept. A table of `train oof --within train` has the column `within`.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from curate.errors import PredictionsError, amount, examples
from curate.files import seal, write_atomically
from curate.labels import VOCABULARY
from curate.workspace.manifest import table_bytes

PREFIX = "p_"
# Area under the margin: by how much the given class led while the model was trained; empty where
# the model did not learn from the row.
MARGIN_AUC = "margin_auc"
# The split from which alone the models learned, in its rows; empty in the rows of other splits. A
# table without this column is of models that learned from all splits.
WITHIN = "within"
# Six printed decimals of eight classes can be off by 4e-6; a softmax in bfloat16 by 4e-3.
SUM_TOLERANCE = 0.01


def class_names(predictions: pd.DataFrame) -> list[str]:
    """The classes of a predictions table, in the order of its columns."""
    return [name.removeprefix(PREFIX) for name in predictions.columns if name.startswith(PREFIX)]


def write_predictions(file: Path, predictions: pd.DataFrame, *, is_sealed: bool = False) -> bool:
    """Write whole or not at all, probabilities with six decimals, sorted by path.

    Parameters
    ----------
    is_sealed : with a checksum at the end, for a cache

    Returns
    -------
    whether a byte changed
    """
    rounded = round_probabilities(predictions)
    data = table_bytes(rounded.sort_values(["path", "model"], kind="stable"))
    return write_atomically(file, seal(data) if is_sealed else data)


def round_probabilities(predictions: pd.DataFrame) -> pd.DataFrame:
    """The table with each probability as text of six decimals."""
    columns = [PREFIX + name for name in class_names(predictions)]
    return predictions.assign(**{name: predictions[name].map("{:.6f}".format) for name in columns})


def read_predictions(file: Path, manifest: pd.DataFrame) -> pd.DataFrame:
    """One row per folded row of the manifest, in its order, with float probabilities.

    Raises
    ------
    PredictionsError  if rows are missing, foreign or repeated, a class is unknown or absent, a
        probability is not a number, a row does not sum to 1, or a row's fold is not the manifest's
        (its model may have learned from a copy of the image)
    """
    if not file.is_file():
        raise PredictionsError(
            f"{file}: no such predictions: run `train oof` or name the file with --predictions"
        )
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, index_col=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise PredictionsError(f"{file}: not a CSV table: run `train oof` again") from error
    where = file.name
    _check_columns(table, manifest, where)
    _check_paths(table, manifest, where)
    table = _check_probabilities(table, where)
    table["fold"] = table["fold"].str.replace(r"\.0+$", "", regex=True)  # a float, by pandas
    folded = manifest.loc[manifest["fold"] != "", ["path", "fold"]]
    table = folded[["path"]].merge(table, on="path", how="left", validate="one_to_one")
    other = table.loc[table["fold"].to_numpy() != folded["fold"].to_numpy(), "path"]
    if len(other):
        raise PredictionsError(
            f"{where}: {amount(len(other), 'row was', 'rows were')} predicted on other folds "
            f"(first: {other.iloc[0]}), by a model that may have seen a copy of them: run `train "
            "oof` again"
        )
    return table


def read_probabilities(file: Path, paths: "pd.Series[str]", remedy: str) -> pd.DataFrame:
    """One row per path, in its order, of a table that needs only `path` and p_<class>….

    Rows of further paths are left out, further columns kept.

    Parameters
    ----------
    paths : each needs a row
    remedy : the way out, to end a message

    Raises
    ------
    PredictionsError  if the file is missing or damaged, a path has no row or two, a class is
        unknown, a probability is not a number, or a row does not sum to 1
    """
    if not file.is_file():
        raise PredictionsError(f"{file}: no such table: {remedy}")
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, index_col=False)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise PredictionsError(f"{file}: not a CSV table: {remedy}") from error
    where = file.name
    if "path" not in table.columns or not class_names(table):
        raise PredictionsError(f"{where}: a table has path, p_<class>…: {remedy}")
    _check_classes(table, where)
    for noun, what, rows in (
        ("row", "listed twice", table.loc[table["path"].duplicated(), "path"]),
        ("row", "missing", paths[~paths.isin(table["path"])]),
    ):
        if len(rows):
            raise PredictionsError(
                f"{where}: {amount(len(rows), noun)} {what} (first: {rows.iloc[0]}): {remedy}"
            )
    chosen = paths.to_frame("path").merge(table, on="path", how="left", validate="one_to_one")
    return _check_probabilities(chosen, where)


def read_independent(file: Path, manifest: pd.DataFrame) -> pd.DataFrame:
    """The predictions of a model that was never trained on this data set, of `list_judged` rows.

    A table needs `path` and p_<class>… alone; classes that the model does not have may be missing.

    Raises
    ------
    PredictionsError  as `read_probabilities`, or if the table has folds: its model was trained here
    """
    remedy = "predict every image by a model that was never trained on this data set"
    table = read_probabilities(file, list_judged(manifest), remedy)
    if "fold" in table and (table["fold"] != "").any():
        raise PredictionsError(
            f"{file.name}: has folds, so its model was trained on this data set: name it with "
            "--predictions"
        )
    if not set(class_names(table)) & set(manifest["given_label"]):
        raise PredictionsError(
            f"{file.name}: predicts no class of this manifest ({examples(class_names(table))}): "
            f"{remedy}"
        )
    return table


def list_judged(manifest: pd.DataFrame) -> "pd.Series[str]":
    """The paths of the rows that predictions are about: the folded ones; without folds, all
    readable ones.
    """
    is_folded = manifest["fold"] != ""
    return manifest.loc[is_folded if is_folded.any() else manifest["pixel_hash"] != "", "path"]


def _check_classes(table: pd.DataFrame, where: str) -> None:
    unknown = [name for name in class_names(table) if name not in VOCABULARY]
    if unknown:
        raise PredictionsError(
            f"{where}: unknown classes ({examples(unknown)}): classes are {', '.join(VOCABULARY)}"
        )


def read_posterior(file: Path, manifest: pd.DataFrame) -> pd.DataFrame:
    """The class posterior that flag wrote: path and float p_<class>, one per row of `list_judged`.

    Raises
    ------
    PredictionsError  if there is none, or it does not fit the manifest
    """
    if not file.is_file():
        raise PredictionsError(
            f"{file}: there is no class posterior here: judge a random sample of 200 "
            "(`curate relabel --random 200`) and run `curate flag`, which prints why if it makes "
            "none"
        )
    remedy = "run `curate flag` again"
    table = read_probabilities(file, list_judged(manifest), remedy)
    if not set(manifest["given_label"]) <= set(class_names(table)):
        raise PredictionsError(f"{file}: lacks a class of the manifest: {remedy}")
    return table


def _check_columns(table: pd.DataFrame, manifest: pd.DataFrame, where: str) -> None:
    missing = [name for name in ("path", "model", "fold") if name not in table.columns]
    if missing:
        raise PredictionsError(
            f"{where}: columns missing ({examples(missing)}): "
            "a table has path, model, fold, p_<class>…"
        )
    _check_classes(table, where)
    absent = sorted(set(manifest["given_label"]) - set(class_names(table)))
    if absent:
        columns = [PREFIX + name for name in absent]
        raise PredictionsError(f"{where}: no column for {examples(columns)}: predict every class")


def _check_paths(table: pd.DataFrame, manifest: pd.DataFrame, where: str) -> None:
    folded = set(manifest.loc[manifest["fold"] != "", "path"])
    if not folded:
        raise PredictionsError(
            "manifest.csv: no row has a fold: run `curate fold`, then `train oof`"
        )
    predicted = set(table["path"])
    for noun, what, rows in (
        ("row", "listed twice", list(table.loc[table["path"].duplicated(), "path"])),
        ("row", "not in the folds of the manifest", sorted(predicted - folded)),
        ("folded row", "not predicted", sorted(folded - predicted)),
    ):
        if rows:
            raise PredictionsError(
                f"{where}: {amount(len(rows), noun)} {what} (first: {rows[0]}): "
                "run `train oof` again"
            )


def _check_probabilities(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """The table with float probabilities, each row divided by its sum."""
    columns = [PREFIX + name for name in class_names(table)]
    numbers = table[columns].apply(pd.to_numeric, errors="coerce")
    values = numbers.to_numpy(dtype=np.float64)
    bad = ~np.isfinite(values).all(axis=1) | (np.nan_to_num(values, nan=-1) < 0).any(axis=1)
    if bad.any():
        raise PredictionsError(
            f"{where}: {amount(bad.sum(), 'row holds', 'rows hold')} no probability "
            f"(first: {table['path'][bad].iloc[0]}): predict again"
        )
    total = values.sum(axis=1)
    off = np.abs(total - 1) > SUM_TOLERANCE
    if off.any():
        raise PredictionsError(
            f"{where}: {amount(off.sum(), 'row does', 'rows do')} not sum to 1 "
            f"(first: {table['path'][off].iloc[0]}, {total[off][0]:.3f}): "
            "write softmax outputs, not logits"
        )
    return table.assign(**{name: values[:, k] / total for k, name in enumerate(columns)})
