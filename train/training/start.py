"""What a training starts from: the run whose weights `--weights` names.

What that run had learned this one knows too: the rows are recorded with the run, and rows of val
that are among them are counted before the training. Input: the recipe and the dataset. Output: the
rows, notes.
"""

from pathlib import Path

import pandas as pd

from curate.errors import UsageError, amount
from curate.stderr import print_line
from train.data.copies import has_copy_in_train
from train.data.dataset import Dataset
from train.recipes.recipe import Recipe
from train.runs.folder import RECIPE, START_ROWS, VAL_ROWS
from train.runs.record import RunRecord, read_run_record


def list_start_tables(recipe: Recipe, val: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """File of the run -> its rows: what the run of `--weights` had learned, and the rows of val.

    Val includes that run's own, by whose scores its epoch was chosen. Nothing, if that run is not
    known.

    Parameters
    ----------
    val : path and pixel_hash of the rows of val
    """
    record = _read_start(recipe)
    if record is None:
        return {}
    chosen = pd.concat([val, record.read_val_rows()]).drop_duplicates(ignore_index=True)
    return {START_ROWS: record.read_learned_rows(), VAL_ROWS: chosen}


def is_start_unknown(recipe: Recipe) -> bool:
    """Whether the file of `--weights` has learned rows that no run beside it lists."""
    record = _read_start(recipe)
    return record is None or not record.knows_learned


def _read_start(recipe: Recipe) -> RunRecord | None:
    """The record of the run beside its weights; None if there is none."""
    folder = Path(recipe.weights).parent
    return read_run_record(folder) if (folder / RECIPE).is_file() else None


def check_start(recipe: Recipe, dataset: Dataset) -> None:
    """Print a line if val holds what the run of `--weights` had learned, or if that is not known.

    Raises
    ------
    UsageError  if that run has other classes
    """
    record = _read_start(recipe)
    if not Path(recipe.weights).is_file():  # the network that is built from it refuses it
        return
    if is_start_unknown(recipe):
        run = "its run is not beside it" if record is None else "its run began with such weights"
        print_line(
            f"run: what {recipe.weights} has learned is not known, as {run}: accuracy on val and "
            "without copies in train may be too good"
        )
    if record is None:
        return
    if record.classes != dataset.classes:
        raise UsageError(
            f"--weights {recipe.weights}: its run has the classes {', '.join(record.classes)}, and "
            f"this one {', '.join(dataset.classes)}: name a run of the same classes, or --weights "
            "none"
        )
    is_val = ((dataset.viewed["split"] == "val") & (dataset.viewed["status"] == "keep")).to_numpy()
    learned = is_val & has_copy_in_train(dataset.manifest, record.read_learned_rows())
    if learned.any():
        print_line(
            f"run: the run of {recipe.weights} learned from {learned.sum():,} of the "
            f"{amount(is_val.sum(), 'row')} of val, or from copies: val accuracy will be too good, "
            "and it chooses the epoch: name a run of this split"
        )
