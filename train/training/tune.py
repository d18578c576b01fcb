"""`train tune`: search learning rate and batch size with Optuna, judged by split val alone.

With `--targets oof` the weight of the belief is searched too.

References
----------
T. Akiba et al., Optuna, KDD 2019 (TPE sampler; trials below the median of their epoch are stopped)
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import UsageError, amount
from curate.files import ensure_folder, sha256_of, write_atomically
from curate.result import Result
from curate.stderr import open_bar
from curate.workspace.workspace import Workspace
from train.backend import choose_precision, keras
from train.data.batches import Validation, make_validation
from train.data.dataset import Dataset, Examples, Images, load_images, read_dataset, select_examples
from train.evaluation.metrics import find_best, format_percent
from train.evaluation.plots import plot_trials
from train.models.build import build_model
from train.recipes.recipe import (
    Recipe,
    find_targets,
    format_value,
    is_run_weights,
    option_fields,
    override,
    resolve_batch_size,
)
from train.runs.folder import is_locked, lock_folder, write_json
from train.training.checkpoint import Checkpoint
from train.training.command import RunInterruptedError
from train.training.fit import DivergedError, History, Training, fit_model, make_model
from train.training.plan import list_targets
from train.training.search_record import (
    SEARCH,
    TRIALS,
    FinishedTrial,
    Search,
    finish_trial,
    make_trials,
    read_search,
)
from train.training.start import check_start

# A decade to either side of the recipe's rate.
RATE_FACTOR = 10.0
MAX_RATE = 9.99  # a recipe's is below 10
BATCH_SIZES = (32, 64, 128, 256)
MAX_WEIGHT = 0.95  # of the belief: a recipe's is below 1


@dataclass(frozen=True)
class TuneOptions:
    """The options of a search besides its recipe.

    Attributes
    ----------
    trials : number of models to train
    class_view : name of a class view, empty for all classes
    out : folder; None for tuning/<recipe> in the workspace, numbered where an earlier search has it
    resumes : go on with the search in that folder, or with the newest one of the recipe
    """

    trials: int
    class_view: str = ""
    seed: int = 0
    precision: str = "auto"
    out: Path | None = None
    resumes: bool = False


def tune_recipe(
    workspace: Workspace, recipe: Recipe, options: TuneOptions, *, dry_run: bool = False
) -> Result:
    """Train the models of a search and write what each scored; the files are whole at any moment.

    Parameters
    ----------
    recipe : everything but the two fields that are searched; `epochs` is the length of a trial

    Raises
    ------
    UsageError  if Optuna is not installed, an earlier search lies in the folder, or the one that is
        to go on had other options or data
    RunError  if its record is damaged, or another command trains there
    DivergedError  if training diverged in every trial
    RunInterruptedError  on Ctrl-C; the finished trials are kept
    """
    if find_spec("optuna") is None:
        raise UsageError("tune: Optuna is not installed: `pip install 'candid-fer[tune]'`")
    dataset = read_dataset(workspace, recipe, options.class_view)
    if is_run_weights(recipe.weights):
        check_start(recipe, dataset)
    policy, _ = choose_precision(options.precision, recipe.model)
    recipe = resolve_batch_size(recipe, dataset.train_rows)
    build_model(recipe, len(dataset.classes))  # so that an error comes before anything is written
    request = _list_request(dataset, recipe, options.seed, policy)
    usual = workspace.root / "tuning" / recipe.name
    choose = find_search if options.resumes else choose_folder
    folder = choose(usual, options.out)
    search = read_search(folder, request) if options.resumes else Search(folder, request, [])
    if dry_run:
        left = max(0, options.trials - len(search.trials))
        return Result(
            f"tune: would train {amount(left, 'model')} of {recipe.name} for "
            f"{amount(recipe.epochs, 'epoch')} -> {folder}"
        )
    ensure_folder(folder)
    with lock_folder(folder):
        if options.resumes:
            search = read_search(folder, request)  # as another command may have left it meanwhile
        search.write()
        images = load_images(workspace, dataset.manifest, recipe.size)
        return _go_on(search, dataset, images, recipe, options)


def _list_request(dataset: Dataset, recipe: Recipe, seed: int, policy: str) -> dict[str, Any]:
    """Everything on which a trial depends; what names a search comes first."""
    fields = [item.name for item in option_fields() if not item.name.startswith("oof_")]
    is_file = recipe.weights not in ("none", "imagenet")
    return {
        "recipe": recipe.name,
        "manifest.csv of SHA-256": dataset.sha256,
        "classes": dataset.class_view or "all",
        "seed": seed,
        "precision": f"{policy} by {keras.backend.backend()}",
        "class weights": dataset.class_weights or "none",
        "targets of SHA-256": list_targets(dataset) or "none",
        "weights of SHA-256": sha256_of(Path(recipe.weights)) if is_file else "none",
        **{name: format_value(getattr(recipe, name)) for name in fields},
    }


def _go_on(
    search: Search, dataset: Dataset, images: Images, recipe: Recipe, options: TuneOptions
) -> Result:
    """Train the models that are left, and write the best of all."""
    import optuna

    policy, _ = choose_precision(options.precision, recipe.model)
    train = select_examples(dataset, images, "train", recipe)
    val_examples = select_examples(dataset, images, "val", recipe)
    val = make_validation(recipe, len(dataset.classes), val_examples)

    def judge(trial: Any) -> float:
        tried = _draw_recipe(trial, recipe)
        shown = select_examples(dataset, images, "train", tried) if _mixes(recipe) else train
        training = Training(tried, len(dataset.classes), len(train.rows), (options.seed,), policy)
        report = _Report(trial)
        history = _try(training, shown, val, report)
        best = history[find_best(history, recipe.monitor) - 1] if history else {}
        is_pruned = report.is_pruned or not history
        row = _trial_row(trial.number, tried, history, best)
        search.trials.append(finish_trial(trial, report.scores, row, is_pruned=is_pruned))
        search.write()
        if is_pruned:
            raise optuna.TrialPruned
        return float(best["val_accuracy"])

    study = _create_study(recipe, search.trials)
    try:
        for number in range(len(search.trials), options.trials):
            study.sampler = _open_sampler(options.seed, number)
            study.optimize(judge, n_trials=1)
    except KeyboardInterrupt as stop:
        if search.has_scores:
            _write_best(search, recipe)
        raise RunInterruptedError(
            f"{search.folder}: interrupted; {len(search.trials)} of "
            f"{amount(options.trials, 'trial')} are kept: the command with --resume goes on"
        ) from stop
    return _write_best(search, recipe)


def _open_sampler(seed: int, number: int) -> Any:
    """The sampler of one trial: what it draws depends on the earlier trials, not on the process."""
    import optuna

    draws = np.random.SeedSequence((seed, number)).generate_state(1)[0]
    return optuna.samplers.TPESampler(seed=int(draws))


def _create_study(recipe: Recipe, trials: Sequence[FinishedTrial]) -> Any:
    """A study whose first trial is the recipe itself, so that the search never ends below it.

    Parameters
    ----------
    trials : those that an earlier process has finished
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
    )
    study.add_trials(make_trials(trials))
    if trials:
        return study
    first = {"learning_rate": recipe.learning_rate, "batch_size": recipe.batch_size}
    study.enqueue_trial(first | ({"belief_weight": recipe.belief_weight} if _mixes(recipe) else {}))
    return study


def _mixes(recipe: Recipe) -> bool:
    """Whether the recipe's targets depend on the weight of the belief."""
    return find_targets(recipe) == "oof"


def _draw_recipe(trial: Any, recipe: Recipe) -> Recipe:
    """The recipe with the learning rate and the batch size of a trial, and the belief's weight."""
    low = recipe.learning_rate / RATE_FACTOR
    high = min(recipe.learning_rate * RATE_FACTOR, MAX_RATE)
    rate = trial.suggest_float("learning_rate", low, high, log=True)
    sizes = sorted({*BATCH_SIZES, recipe.batch_size})
    size = trial.suggest_categorical("batch_size", sizes)
    tried = override(recipe, learning_rate=rate, batch_size=size)
    if not _mixes(recipe):
        return tried
    return override(tried, belief_weight=trial.suggest_float("belief_weight", 0.0, MAX_WEIGHT))


def _trial_row(
    number: int, tried: Recipe, history: History, best: Mapping[str, float]
) -> dict[str, Any]:
    return {
        "trial": number,
        "learning_rate": f"{tried.learning_rate:.6g}",
        "batch_size": tried.batch_size,
        **({"belief_weight": f"{tried.belief_weight:.3g}"} if _mixes(tried) else {}),
        "epochs": len(history),
        "val_accuracy": best.get("val_accuracy", 0.0),
        "val_loss": best.get("val_loss", 0.0),
        "stopped": str(len(history) < tried.epochs).lower(),
    }


def _write_best(search: Search, recipe: Recipe) -> Result:
    """Write the plot and the best of the trials so far."""
    folder, table = search.folder, search.table
    if not table["epochs"].any():
        raise DivergedError(
            f"{folder}: training diverged in all {len(table)} trials: lower --learning-rate"
        )
    write_atomically(
        folder / "trials.png",
        plot_trials(
            table, f"{recipe.name}: {amount(len(table), 'trial')} of {recipe.epochs} epochs"
        ),
    )
    best = table.iloc[int(table["val_accuracy"].argmax())]
    counts = {
        "recipe": recipe.name,
        "trials": len(table),
        "learning_rate": float(best["learning_rate"]),
        "batch_size": int(best["batch_size"]),
        "val_accuracy": float(best["val_accuracy"]),
    }
    found = f"--learning-rate {best['learning_rate']} --batch-size {best['batch_size']}"
    if _mixes(recipe):
        counts["belief_weight"] = float(best["belief_weight"])
        found += f" --belief-weight {best['belief_weight']}"
    write_json(folder / "best.json", counts)
    scored, of_recipe = float(best["val_accuracy"]), float(table["val_accuracy"][0])
    summary = (
        f"tune: {recipe.name}, {amount(len(table), 'trial')}: best val accuracy "
        f"{format_percent(scored)} with {found} (the recipe itself: {format_percent(of_recipe)}) "
        f"-> {folder}"
    )
    return Result(summary, counts)


def choose_folder(usual: Path, out: Path | None) -> Path:
    """The folder of a new search, never that of an earlier one."""
    if out is not None:
        if _holds_trials(out):
            raise UsageError(
                f"--out {out}: holds the trials of an earlier search: choose another folder, or go "
                "on with it by --resume"
            )
        return out
    numbered = (usual.with_name(f"{usual.name}-{number}") for number in itertools.count(2))
    return next(each for each in itertools.chain([usual], numbered) if not _holds_trials(each))


def find_search(usual: Path, out: Path | None) -> Path:
    """The folder of the search that is to go on: the newest one of the recipe, unless named."""
    if out is not None:
        return out
    numbered = usual.parent.glob(f"{usual.name}-[0-9]*")  # not those of `fernet5-improved`
    every = [usual, *numbered]
    searches = [folder for folder in every if (folder / SEARCH).exists()]
    return max(searches, key=lambda each: (each / SEARCH).stat().st_mtime_ns, default=usual)


def _holds_trials(folder: Path) -> bool:
    """Whether a new search must not begin there: one that was killed in its first trial may be."""
    return (folder / TRIALS).exists() or is_locked(folder)


def _try(training: Training, train: Examples, val: Validation, report: "_Report") -> History:
    """The history of one trial; shorter if the trial was pruned, empty if it diverged."""
    what = f"tune {training.recipe.name}, trial {report.trial.number}"
    with open_bar(training.total_steps, what) as bar:
        try:
            model = make_model(training)
            checkpoint = Checkpoint(training.recipe)
            _, history = fit_model(
                model, training, train, bar, val=val, checkpoint=checkpoint, callbacks=[report]
            )
        except DivergedError:
            return []
    return history


class _Report(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Report the score of every epoch to Optuna, and stop a trial that Optuna prunes."""

    def __init__(self, trial: Any):
        super().__init__()
        self.trial, self.is_pruned = trial, False
        self.scores: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Report val accuracy."""
        assert logs is not None
        self.scores.append(float(logs["val_accuracy"]))
        self.trial.report(self.scores[-1], epoch)
        if self.trial.should_prune():
            self.is_pruned = self.model.stop_training = True
