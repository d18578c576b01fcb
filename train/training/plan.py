"""What decides a run: its recipe, options, data and folder, read and checked before it trains.

In: a workspace, a recipe and options. Out: a frozen `Plan`. Nothing is written here; `command.py`
trains a plan, `series.py` makes one for each seed, or from the record of an unfinished run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from curate.errors import UsageError
from curate.files import sha256_of
from curate.stderr import print_line
from curate.workspace.manifest import kept_rows
from curate.workspace.untrained import count_untrained, warn_of_untrained
from curate.workspace.workspace import Workspace
from train.backend import choose_precision
from train.data.dataset import Dataset, read_dataset
from train.recipes.recipe import Recipe, is_run_weights, resolve_batch_size
from train.runs.errors import RunError
from train.runs.folder import (
    is_empty,
    is_locked,
    is_unfinished,
    name_run,
    require_name,
    require_tensorboard,
)
from train.runs.record import RunRecord, Series, format_resume_command
from train.training.distribute import find_worker, require_strategy
from train.training.start import check_start


@dataclass(frozen=True)
class RunOptions:
    """The options of a run besides its recipe.

    Attributes
    ----------
    class_view : name of a class view, empty for all classes; rows outside of it are not trained on
    runs : folder that holds the run's own; None for `runs` in the workspace
    name : of the run's folder, or of its series; None for the time and the recipe
    tensorboard : whether a TensorBoard log is written into the run
    strategy : none, mirrored or multiworker, of `tf.distribute`
    stream : read batches from the disk, as datasets larger than memory always are
    series : the series of seeds that the run belongs to; None for a single run
    """

    class_view: str = ""
    seed: int = 0
    precision: str = "auto"
    runs: Path | None = None
    name: str | None = None
    tensorboard: bool = False
    strategy: str = "none"
    stream: bool = False
    series: Series | None = None


@dataclass(frozen=True)
class Plan:
    """Everything that decides a run.

    Attributes
    ----------
    recipe : with its batch size resolved
    folder : of the run; a name that the user did not give is numbered if it is taken
    precision, precision_reason : the Keras dtype policy, and why it was chosen
    resumed : the record of the unfinished run that goes on; None for a fresh run
    worker : number of this worker; only worker 0 writes the run
    """

    workspace: Workspace
    recipe: Recipe
    options: RunOptions
    dataset: Dataset
    folder: Path
    precision: str
    precision_reason: str
    resumed: RunRecord | None = None
    worker: int = 0


@dataclass(frozen=True)
class Began:
    """What a training began with: each run of a series has it, and each part of a run.

    Attributes
    ----------
    manifest_sha256 : of the manifest
    class_weights : class -> weight, or None for none
    targets : path -> SHA-256 of the tables that the loss aims at
    weights_sha256 : of the file of `--weights`; empty without one, and in an earlier record
    """

    manifest_sha256: str
    class_weights: dict[str, float] | None
    targets: Mapping[str, str]
    weights_sha256: str


def prepare(
    workspace: Workspace,
    recipe: Recipe,
    options: RunOptions,
    *,
    resumed: RunRecord | None = None,
    began: Began | None = None,
) -> Plan:
    """Read and check everything that decides a run; nothing is written.

    Parameters
    ----------
    resumed : the record of the run to go on with
    began : what the run, or the first of its series, began with; None for the first

    Raises
    ------
    UsageError  if an option cannot be used with this recipe or on this machine
    ManifestError  if there is nothing to train or to validate on, or a duplicate group is in two
        splits
    WorkspaceError  if the recipe wants class weights and no fitting ones exist
    PredictionsError  if the tables that its loss aims at do not fit
    RunError  if the folder is taken, or what the training began with has changed since
    """
    worker = 0
    if options.tensorboard:
        require_tensorboard()
    if options.strategy != "none":
        require_strategy(options.strategy)
        worker = find_worker(options.strategy)
    folder = resumed.folder if resumed else _name_folder(workspace, recipe, options)
    if resumed is None and options.name is not None and worker == 0:
        require_free(folder)
    dataset = read_dataset(workspace, recipe, options.class_view)
    now = find_beginning(recipe, dataset)
    if began is not None:
        _require_unchanged(workspace, recipe, began, now)
    if resumed is None and is_run_weights(recipe.weights):
        check_start(recipe, dataset)
    if resumed is None:
        precision, reason = choose_precision(options.precision, recipe.model)
    else:
        precision, reason = resumed.precision, resumed.precision_reason
    recipe = resolve_batch_size(recipe, dataset.train_rows)
    _warn_of_untrained(dataset, options)
    return Plan(workspace, recipe, options, dataset, folder, precision, reason, resumed, worker)


def find_beginning(recipe: Recipe, dataset: Dataset) -> Began:
    """What a training of the recipe begins with now."""
    file = Path(recipe.weights)
    weights_sha256 = sha256_of(file) if file.is_file() else ""
    return Began(dataset.sha256, dataset.class_weights, list_targets(dataset), weights_sha256)


def _require_unchanged(workspace: Workspace, recipe: Recipe, began: Began, now: Began) -> None:
    """Raise RunError if a file has changed since the training began."""
    changed = {
        f"{workspace.manifest}: has": began.manifest_sha256 != now.manifest_sha256,
        "the class weights have": began.class_weights != now.class_weights,
        f"{workspace.predictions}: the tables of --targets {recipe.targets} have": (
            began.targets != now.targets
        ),
        f"--weights {recipe.weights}: has": began.weights_sha256 not in ("", now.weights_sha256),
    }
    file = Path(recipe.weights)
    if began.weights_sha256 and not now.weights_sha256:
        raise RunError(
            f"--weights {file}: no such file from here ({Path.cwd()}): bring it back, or run the "
            "command in the folder where this training began"
        )
    for what, is_changed in changed.items():
        if is_changed:
            raise RunError(
                f"{what} changed since this training began: train anew under another --name"
            )


def _warn_of_untrained(dataset: Dataset, options: RunOptions) -> None:
    """Note the classes that are in test alone, before a training that cannot learn them."""
    kept = kept_rows(dataset.viewed)
    is_first = options.series is None or options.seed == options.series.first_seed
    if not is_first or set(kept["label"]) <= set(dataset.classes):
        return
    counts = count_untrained(dataset.viewed)
    if not any("val" in splits for splits in counts.values()):  # `select_examples` refuses those
        for warning in warn_of_untrained(counts, "run"):
            print_line(warning)


def require_free(folder: Path) -> None:
    """Raise RunError if a new run cannot have this folder."""
    if is_locked(folder):
        raise RunError(f"{folder}: another command trains this run: choose another --name")
    if is_unfinished(folder):
        raise RunError(
            f"{folder}: holds an unfinished run: {format_resume_command(folder)} goes on with it, "
            "or choose another --name"
        )
    if folder.exists() and not is_empty(folder):
        raise RunError(f"{folder}: already exists: choose another --name")


def find_runs_folder(workspace: Workspace, options: RunOptions) -> Path:
    """The folder of runs.

    Raises
    ------
    UsageError  if it is a file, or `--name` cannot be the name of a folder
    """
    runs = options.runs or workspace.root / "runs"
    if runs.exists() and not runs.is_dir():
        raise UsageError(f"--runs {runs}: is no folder: name another")
    if options.name is not None:
        require_name(options.name)
    return runs


def _name_folder(workspace: Workspace, recipe: Recipe, options: RunOptions) -> Path:
    runs = find_runs_folder(workspace, options)
    if options.series:
        return runs / f"{options.series.name}{options.series.suffix(options.seed)}"
    return runs / (options.name or name_run(recipe))


def list_targets(dataset: Dataset) -> dict[str, str]:
    """Path inside the workspace -> SHA-256 of the tables that the loss aims at; often none."""
    return dict(dataset.beliefs.files) if dataset.beliefs else {}
