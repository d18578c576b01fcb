"""The folder of a run: what it was made of, its best weights, and how often it has seen the test rows.

recipe.json is written before the first batch and metrics.json last, so a folder with both is a finished run. train_rows.csv
lists what the model has seen, so that any later evaluation can tell which rows are copies of it.
"""

import json
import platform
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from curate.errors import CandidError, UsageError
from curate.files import write_atomically
from train.fields import Recipe, from_json

RECIPE, METRICS, HISTORY, CURVES = "recipe.json", "metrics.json", "history.csv", "curves.png"
WEIGHTS, TRAIN_ROWS, READS, TENSORBOARD = "best.weights.h5", "train_rows.csv", "reads.json", "tensorboard"
PACKAGES = ("candid-fer", "keras", "tensorflow", "numpy", "pandas", "opencv-python-headless", "scikit-learn")


class RunError(CandidError):
    """A run folder is missing, unfinished or taken: train again or name another."""


@dataclass(frozen=True)
class Record:
    """What an evaluation needs to know of a run; `view` names the view of the classes that it was trained through."""

    folder: Path
    recipe: Recipe
    classes: list[str]
    view: str = ""

    @property
    def weights(self) -> Path:
        """The weights of the best epoch."""
        return self.folder / WEIGHTS

    def read_train_rows(self) -> pd.DataFrame:
        """path and pixel_hash of every row the model was trained on."""
        return pd.read_csv(self.folder / TRAIN_ROWS, dtype=str, keep_default_na=False)


def name_run(recipe: Recipe) -> str:
    """UTC time and recipe: names that sort by age."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{recipe.name}"


def read_record(folder: Path) -> Record:
    """The run in that folder.

    Raises
    ------
    RunError  if it is no finished run
    """
    if not (folder / RECIPE).is_file():
        raise RunError(
            f"{folder}: no run here ({RECIPE} is missing): name the folder of a run, or run `train run` first"
        )
    if not (folder / METRICS).is_file():
        raise RunError(f"{folder}: this run did not finish ({METRICS} is missing): run `train run` again")
    made = read_made(folder)
    return Record(folder, from_json(made["recipe"]), list(made["classes"]), made.get("view", ""))


def read_made(folder: Path) -> dict[str, Any]:
    """What the run in that folder is made of."""
    made: dict[str, Any] = json.loads((folder / RECIPE).read_text())
    return made


def read_precision(folder: Path) -> str:
    """The dtype policy that a run began in."""
    return str(read_made(folder)["precision"])


def is_unfinished(folder: Path) -> bool:
    """Whether a run began in the folder and was interrupted; its name is free again."""
    return (folder / RECIPE).is_file() and not (folder / METRICS).is_file()


def find_newest_run(runs: Path) -> Path:
    """The finished run that started last.

    Raises
    ------
    RunError  if there is none
    """
    finished = [file.parent for file in runs.glob(f"*/{METRICS}") if (file.parent / RECIPE).is_file()]
    if not finished:
        raise RunError(f"{runs}: no finished run here: run `train run` first, or name a run's folder")
    return max(finished, key=lambda folder: (read_made(folder)["started_at"], folder.name))


def find_unfinished_run(runs: Path) -> Path:
    """The unfinished run that started last.

    Raises
    ------
    RunError  if there is none
    """
    begun = [file.parent for file in runs.glob(f"*/{RECIPE}") if is_unfinished(file.parent)]
    if not begun:
        raise RunError(f"{runs}: no unfinished run here: leave --resume out")
    return max(begun, key=lambda folder: (read_made(folder)["started_at"], folder.name))


def require_tensorboard() -> None:
    """Raise UsageError if TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise UsageError("--tensorboard: it is not installed: `pip install 'candid-fer[tensorboard]'`")


def open_tensorboard(folder: Path) -> Any:
    """The Keras callback that writes a TensorBoard log into the run."""
    from train.backend import keras

    return keras.callbacks.TensorBoard(str(folder / TENSORBOARD), write_graph=False)


def measure_resources() -> dict[str, float]:
    """What this process has used so far: CPU seconds, and its peak memory in MB where the system tells."""
    used = {"cpu_seconds": round(time.process_time(), 1)}
    try:
        import resource
    except ImportError:  # Windows
        return used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used | {"peak_mb": round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))}


def write_json(file: Path, values: Any) -> None:
    """Indented, with the keys in the order they were made."""
    write_atomically(file, (json.dumps(values, indent=1) + "\n").encode())


def count_read(folder: Path, rows: str, views: int, manifest_sha256: str) -> int:
    """Note that test rows are about to be read; returns how often they have been by now, this time included."""
    file = folder / READS
    reads = json.loads(file.read_text())["reads"] if file.is_file() else []
    reads.append({"at": tell_time(), "rows": rows, "views": views, "manifest_sha256": manifest_sha256})
    write_json(file, {"test_reads": len(reads), "reads": reads})
    return len(reads)


def tell_time() -> str:
    """Now, UTC, to the microsecond: two runs of one second must still have an order."""
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e6):06d}Z"


def describe_machine() -> dict[str, str]:
    """Versions and machine, for the record."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
