"""The run record: recipe.json, what a run was made of.

`train run` writes it before the first batch (`train.training.command`); every other command reads
it here, as a `RunRecord`.
"""

import math
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curate.errors import shorten
from curate.files import sha256_of
from curate.labels import TRAINED_CLASSES
from curate.workspace.class_views import find_class_view
from train.recipes.recipe import Recipe, from_json
from train.runs.errors import RunError, read_json, reading
from train.runs.folder import METRICS, RECIPE, START_ROWS, TRAIN_ROWS, VAL_ROWS, WEIGHTS

# A record that lacks `workspace` belongs to a run in the folder `runs` of its workspace.
DEFAULT_WORKSPACE = "../.."
MOST_SEEDS = 100_000
# The types of JSON, for messages.
KINDS = {str: "a text", int: "a whole number", bool: "true or false", dict: "an object"}


@dataclass(frozen=True)
class Series:
    """The runs of one `train run --seeds N`: same recipe and options, one seed and folder each.

    Attributes
    ----------
    name : what the names of all folders begin with
    first_seed : seed of the first run; those of the others follow it
    count : number of runs
    """

    name: str
    first_seed: int
    count: int

    @property
    def seeds(self) -> range:
        """The seed of each run."""
        return range(self.first_seed, self.first_seed + self.count)

    @staticmethod
    def suffix(seed: int) -> str:
        """What the name of that seed's folder ends with."""
        return f"-s{seed}"

    def list_folders(self, runs: Path) -> list[Path]:
        """The folder of each run, in the order of the seeds."""
        return [runs / f"{self.name}{self.suffix(seed)}" for seed in self.seeds]

    def to_json(self) -> dict[str, Any]:
        """As the run record holds it."""
        return {"name": self.name, "seed": self.first_seed, "seeds": self.count}


@dataclass(frozen=True)
class RunRecord:
    """What the run in a folder was made of.

    Attributes
    ----------
    class_view : name of the class view it trains through, empty for all classes
    class_weights : class -> weight, or None for none
    precision, precision_reason : the Keras dtype policy, and why it was chosen
    backend : of Keras; empty in a record that lacks it
    options : the options of the command line that are no fields of the recipe
    workspace : the workspace as a path relative to the folder
    series : the series of seeds that the run belongs to, or None
    targets : path inside the workspace -> SHA-256 of the tables that its loss aims at; often none
    train_rows_sha256 : of the table of the train rows; empty in a record of an earlier version
    val_rows_sha256 : of the table of the val rows; empty in a record of an earlier version
    start_rows_sha256 : of the table of the rows that its `--weights` had learned; empty without
    weights_sha256 : of the file of `--weights`; empty without one
    start_unknown : whether rows are not known that the weights at its start had learned
    """

    folder: Path
    recipe: Recipe
    seed: int
    classes: list[str]
    class_view: str
    class_weights: dict[str, float] | None
    manifest_sha256: str
    precision: str
    precision_reason: str
    started_at: str
    backend: str
    options: Mapping[str, Any]
    workspace: str
    series: Series | None
    targets: Mapping[str, str]
    train_rows_sha256: str = ""
    val_rows_sha256: str = ""
    start_rows_sha256: str = ""
    weights_sha256: str = ""
    start_unknown: bool = False

    @property
    def knows_learned(self) -> bool:
        """Whether all rows are known that the model has learned, those of its `--weights` too."""
        return not self.start_unknown and bool(self.start_rows_sha256 or not self.weights_sha256)

    @property
    def weights(self) -> Path:
        """The weights of the best epoch."""
        return self.folder / WEIGHTS

    @property
    def series_name(self) -> str:
        """The name that resumes the run, with all other runs of its series."""
        return self.series.name if self.series else self.folder.name

    def list_folders(self) -> list[Path]:
        """The folders of its series, itself included; some may not exist yet."""
        return self.series.list_folders(self.folder.parent) if self.series else [self.folder]

    def read_train_rows(self) -> pd.DataFrame:
        """path and pixel_hash of every row that the model was trained on."""
        return _read_rows(self.folder / TRAIN_ROWS, self.train_rows_sha256)

    def read_val_rows(self) -> pd.DataFrame:
        """path and pixel_hash of every row whose scores chose the best epoch.

        An earlier version recorded none.
        """
        if not self.val_rows_sha256:
            return pd.DataFrame(columns=["path", "pixel_hash"], dtype=str)
        return _read_rows(self.folder / VAL_ROWS, self.val_rows_sha256)

    def read_learned_rows(self) -> pd.DataFrame:
        """`read_train_rows`, and the rows that the weights at its start had learned."""
        rows = self.read_train_rows()
        if not self.start_rows_sha256:
            return rows
        start = _read_rows(self.folder / START_ROWS, self.start_rows_sha256)
        return pd.concat([rows, start], ignore_index=True).drop_duplicates(ignore_index=True)


def _read_rows(file: Path, digest: str) -> pd.DataFrame:
    """path and pixel_hash of a table of rows; an empty digest fits any."""
    with reading(file):
        if digest not in ("", sha256_of(file)):
            raise ValueError("it was changed after the training")
        columns = ["path", "pixel_hash"]
        return pd.read_csv(file, dtype=str, keep_default_na=False, usecols=columns)


def read_run_record(folder: Path) -> RunRecord:
    """The record of the run in that folder, finished or not.

    Raises
    ------
    RunError  if the record is damaged, or a later version of Candid wrote fields unknown here
    """
    values = read_json(folder / RECIPE)
    with reading(folder / RECIPE):
        class_view = find_class_view(_read(values, "view", str, "")).name
        series = values.get("series")
        return RunRecord(
            folder=folder,
            recipe=from_json(_read(values, "recipe", dict)),
            seed=_read_number(values, "seed", 0),
            classes=_read_classes(values),
            class_view=class_view,
            class_weights=_read_class_weights(values),
            manifest_sha256=_read(values, "manifest_sha256", str),
            precision=_read(values, "precision", str),
            precision_reason=_read(values, "precision_reason", str),
            started_at=_read(values, "started_at", str),
            backend=_read(values, "backend", str, ""),
            options=_read_options(values),
            workspace=_read_path(values, "workspace", DEFAULT_WORKSPACE),
            series=_read_series(series) if series is not None else None,
            train_rows_sha256=_read(values, "train_rows_sha256", str, ""),
            val_rows_sha256=_read(values, "val_rows_sha256", str, ""),
            start_rows_sha256=_read(values, "start_rows_sha256", str, ""),
            weights_sha256=_read(values, "weights_sha256", str, ""),
            start_unknown=_read(values, "start_unknown", bool, False),
            targets=_read_targets(values),
        )


def _read(values: Mapping[str, Any], name: str, kind: type, *default: Any) -> Any:
    """A value of the record; ValueError that names it if it has another type."""
    value = values.get(name, *default) if default else values[name]
    if not isinstance(value, kind):
        raise ValueError(f"{name} {shorten(repr(value))}: must be {KINDS[kind]}")
    return value


def _read_number(values: Mapping[str, Any], name: str, least: int) -> int:
    number = _read(values, name, int)
    if isinstance(number, bool) or not least <= number < 1 << 63:
        raise ValueError(f"{name} {shorten(repr(number))}: must be {least} or more")
    return int(number)


def _read_path(values: Mapping[str, Any], name: str, default: str) -> str:
    path = str(_read(values, name, str, default))
    if not path.isprintable() or not path:
        raise ValueError(f"{name} {path!r}: must be a path")
    return path


def _read_classes(values: Mapping[str, Any]) -> list[str]:
    classes = values["classes"]
    known = set(TRAINED_CLASSES)
    if not isinstance(classes, list) or not all(name in known for name in classes):
        raise ValueError("its classes are no classes")
    if len(set(classes)) < max(2, len(classes)):
        raise ValueError(f"classes {', '.join(classes)}: must be two and more, each once")
    return classes


def _read_class_weights(values: Mapping[str, Any]) -> dict[str, float] | None:
    weights = values["class_weights"]
    if weights is None:
        return None
    for name, weight in _read(values, "class_weights", dict).items():
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if name not in TRAINED_CLASSES or not is_number or not 0 < weight < math.inf:
            raise ValueError(f"class_weights {name} {shorten(repr(weight))}: must be above 0")
    return dict(weights)


def _read_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the command line; each that is known has its type."""
    options = _read(values, "options", dict, {})
    kinds = {"precision": str, "strategy": str, "stream": bool, "tensorboard": bool}
    for name in kinds.keys() & options.keys():
        _read(options, name, kinds[name])
    return dict(options)


def _read_targets(values: Mapping[str, Any]) -> dict[str, str]:
    """Path inside the workspace -> digest; ValueError that names one of another form."""
    targets = _read(values, "targets", dict, {})
    for name in targets:
        _read_path({"targets": name}, "targets", "")
        _read(targets, name, str)
    return dict(targets)


def _read_series(series: Any) -> Series:
    count = _read_number(series, "seeds", 1)
    if count > MOST_SEEDS:
        raise ValueError(f"seeds {count}: must be at most {MOST_SEEDS}")
    return Series(str(_read(series, "name", str)), _read_number(series, "seed", 0), count)


def read_finished_run(folder: Path) -> RunRecord:
    """The record of the finished run in that folder.

    Raises
    ------
    RunError  if it holds no finished run
    """
    if not (folder / RECIPE).is_file():
        raise RunError(
            f"{folder}: no run here ({RECIPE} is missing): name the folder of a run, or run "
            "`train run` first"
        )
    if not (folder / METRICS).is_file():
        raise RunError(
            f"{folder}: this run did not finish ({METRICS} is missing): "
            f"{format_resume_command(folder)} goes on"
        )
    return read_run_record(folder)


def read_metrics(folder: Path) -> dict[str, Any]:
    """The scores of the finished run in that folder on val, and what the run took."""
    return read_json(folder / METRICS)


def find_home(folder: Path) -> Path:
    """The workspace in which a run was trained."""
    relative = read_run_record(folder).workspace
    shown, real = (Path(os.path.normpath(start / relative)) for start in (folder, folder.resolve()))
    return shown if shown.resolve() == real else real


def format_resume_command(folder: Path) -> str:
    """The command that goes on with a run, or with all runs of its series."""
    home, name = find_home(folder), read_run_record(folder).series_name
    place = [] if folder.parent == home / "runs" else ["--runs", str(folder.parent)]
    return f"`{shlex.join(['train', 'run', '--resume', '--name', name, '-w', str(home), *place])}`"
