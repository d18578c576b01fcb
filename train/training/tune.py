"""`train tune`: learning rate and batch size by Optuna, judged by split val alone.

References
----------
T. Akiba et al., Optuna, KDD 2019 (TPE sampler; trials below the median of their epoch are stopped)
"""

import itertools
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from curate import engine
from curate.errors import UsageError
from curate.files import ensure_folder, write_atomically
from curate.result import Result
from curate.workspace.manifest import table_bytes
from curate.workspace.workspace import Workspace
from train.backend import choose_precision, keras
from train.data.batches import count_steps
from train.data.dataset import choose_rows, read_dataset
from train.data.images import Examples, load_images
from train.evaluation.metrics import find_best, format_percent
from train.evaluation.plots import plot_trials
from train.models.build import require_buildable
from train.recipes.presets import resolve_batch_size
from train.recipes.recipe import Recipe, override
from train.runs.folder import write_json
from train.training.fit import DivergedError, fit_model

# A decade to either side of the recipe's rate.
RATE_FACTOR = 10.0
TRIALS = "trials.csv"
MOST_RATE = 9.99  # a recipe's is below 10
BATCH_SIZES = (32, 64, 128, 256)


def tune_recipe(
    workspace: Workspace,
    recipe: Recipe,
    *,
    trials: int,
    class_view: str = "",
    seed: int = 0,
    precision: str = "auto",
    out: Path | None = None,
    dry_run: bool = False,
) -> Result:
    """Train `trials` models and write what each scored; the table is whole after every trial.

    Parameters
    ----------
    recipe : everything but the two fields that are searched; `epochs` is the length of a trial
    out : folder; None for tuning/<recipe> in the workspace, numbered where an earlier search has it

    Raises
    ------
    UsageError  if Optuna is not installed, or an earlier search lies in `out`
    """
    if find_spec("optuna") is None:
        raise UsageError("tune: Optuna is not installed: `pip install 'candid-fer[tune]'`")
    import optuna

    dataset = read_dataset(workspace, recipe, class_view)
    policy, _ = choose_precision(precision)
    recipe = resolve_batch_size(recipe, sum(dataset.rows["train"].values()))
    require_buildable(recipe, len(dataset.classes))
    folder = choose_folder(workspace.root / "tuning" / recipe.name, out)
    if dry_run:
        return Result(
            f"tune: would train {trials} models of {recipe.name} for {recipe.epochs} epochs -> {folder}"
        )
    images = load_images(workspace, dataset.manifest, recipe.size)
    train, val = (
        choose_rows(dataset, images, split, recipe, class_view) for split in ("train", "val")
    )
    ensure_folder(folder)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
    )
    # The recipe itself is the first trial, so the search never ends below it.
    study.enqueue_trial({"learning_rate": recipe.learning_rate, "batch_size": recipe.batch_size})
    sizes = sorted({*BATCH_SIZES, recipe.batch_size})
    rows: list[dict[str, Any]] = []

    def judge(trial: Any) -> float:
        low, high = (
            recipe.learning_rate / RATE_FACTOR,
            min(recipe.learning_rate * RATE_FACTOR, MOST_RATE),
        )
        rate = trial.suggest_float("learning_rate", low, high, log=True)
        size = trial.suggest_categorical("batch_size", sizes)
        tried = override(recipe, learning_rate=rate, batch_size=size)
        report = _Report(trial)
        history = _try(tried, len(dataset.classes), (train, val), seed, policy, report)
        best = history[find_best(history, recipe.monitor) - 1] if history else {}
        rows.append(
            {"trial": trial.number, "learning_rate": f"{rate:.6g}", "batch_size": size, "epochs": len(history),
             "val_accuracy": best.get("val_accuracy", 0.0), "val_loss": best.get("val_loss", 0.0),
             "stopped": str(len(history) < recipe.epochs).lower()}
        )  # fmt: skip
        write_atomically(folder / TRIALS, table_bytes(pd.DataFrame(rows)))
        if report.is_given_up or not history:
            raise optuna.TrialPruned
        return float(best["val_accuracy"])

    try:
        study.optimize(judge, n_trials=trials)
    except KeyboardInterrupt:
        if any(row["epochs"] for row in rows):
            _write_best(folder, recipe, rows)
        raise
    return _write_best(folder, recipe, rows)


def _write_best(folder: Path, recipe: Recipe, rows: list[dict[str, Any]]) -> Result:
    """What the trials so far have shown."""
    table = pd.DataFrame(rows)
    if not table["epochs"].any():
        raise DivergedError(
            f"{folder}: training diverged in all {len(rows)} trials: lower --learning-rate"
        )
    write_atomically(
        folder / "trials.png",
        plot_trials(table, f"{recipe.name}: {len(rows)} trials of {recipe.epochs} epochs"),
    )
    best = table.iloc[int(table["val_accuracy"].argmax())]
    counts = {
        "recipe": recipe.name, "trials": len(table), "learning_rate": float(best["learning_rate"]),
        "batch_size": int(best["batch_size"]), "val_accuracy": float(best["val_accuracy"]),
    }  # fmt: skip
    write_json(folder / "best.json", counts)
    summary = (
        f"tune: {recipe.name}, {len(table)} trials: best val accuracy {format_percent(float(best['val_accuracy']))} with "
        f"--learning-rate {best['learning_rate']} --batch-size {best['batch_size']} (the recipe itself: "
        f"{format_percent(float(table['val_accuracy'][0]))}) -> {folder}"
    )
    return Result(summary, counts)


def choose_folder(usual: Path, out: Path | None) -> Path:
    """Where the trials go: never over those of an earlier search."""
    if out is not None:
        if (out / TRIALS).exists():
            raise UsageError(
                f"--out {out}: holds the trials of an earlier search: choose another folder"
            )
        return out
    numbered = (
        usual.with_name(f"{usual.name}{f'-{number}' if number > 1 else ''}")
        for number in itertools.count(1)
    )
    return next(folder for folder in numbered if not (folder / TRIALS).exists())


def _try(
    recipe: Recipe,
    classes: int,
    examples: tuple[Examples, Examples],
    seed: int,
    policy: str,
    report: "_Report",
) -> list[dict[str, float]]:
    """The history of one trial, cut short where it falls behind the others; nothing if it diverged."""
    train, val = examples
    steps = recipe.epochs * count_steps(recipe, len(train.rows))
    with engine.progress(steps, f"tune {recipe.name}, trial {report.trial.number}") as bar:
        try:
            _, history = fit_model(
                recipe,
                classes,
                train,
                seed=(seed,),
                precision=policy,
                bar=bar,
                val=val,
                watchers=[report],
            )
        except DivergedError:
            return []
    return history


class _Report(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Tells Optuna the score of every epoch and stops a trial that it gives up."""

    def __init__(self, trial: Any):
        super().__init__()
        self.trial, self.is_given_up = trial, False

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Report val accuracy."""
        assert logs is not None
        self.trial.report(logs["val_accuracy"], epoch)
        if self.trial.should_prune():
            self.is_given_up = self.model.stop_training = True
