"""The run record: recipe.json, what a run was made of.

`train run` writes it before the first batch (`train.training.command`); every other command reads
it here, as a `RunRecord`.
"""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curate.labels import TRAINED_CLASSES
from curate.workspace.class_views import find_class_view
from train.recipes.recipe import Recipe, from_json
from train.runs.errors import RunError, read_json, reading
from train.runs.folder import METRICS, RECIPE, TRAIN_ROWS, WEIGHTS

# A record that lacks `workspace` belongs to a run in the folder `runs` of its workspace.
DEFAULT_WORKSPACE = "../.."


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
        file, columns = self.folder / TRAIN_ROWS, ["path", "pixel_hash"]
        with reading(file):
            return pd.read_csv(file, dtype=str, keep_default_na=False, usecols=columns)


def read_run_record(folder: Path) -> RunRecord:
    """The record of the run in that folder, finished or not.

    Raises
    ------
    RunError  if the record is damaged, or a later version of Candid wrote fields unknown here
    """
    values = read_json(folder / RECIPE)
    with reading(folder / RECIPE):
        class_view, classes = values.get("view", ""), values["classes"]
        find_class_view(class_view)
        if not isinstance(classes, list) or not set(classes) <= set(TRAINED_CLASSES):
            raise ValueError("its classes are no classes")
        series = values.get("series")
        return RunRecord(
            folder=folder,
            recipe=from_json(values["recipe"]),
            seed=values["seed"],
            classes=classes,
            class_view=class_view,
            class_weights=values["class_weights"],
            manifest_sha256=values["manifest_sha256"],
            precision=str(values["precision"]),
            precision_reason=str(values["precision_reason"]),
            started_at=values["started_at"],
            backend=values.get("backend", ""),
            options=values.get("options", {}),
            workspace=values.get("workspace", DEFAULT_WORKSPACE),
            series=Series(series["name"], series["seed"], series["seeds"]) if series else None,
            targets=dict(values.get("targets", {})),
        )


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
