"""The folder of a run: what it was made of, its best weights, and how often it has seen the test rows.

recipe.json is written before the first batch and metrics.json last, so a folder with both is a finished run. While it
trains, the command holds the folder's lock; a folder that is there is never removed. train_rows.csv lists what the model has
seen, so that any later evaluation can tell which rows are copies of it.
"""

import itertools
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from curate.errors import UsageError
from curate.files import cannot_write, remove_quietly, write_atomically
from curate.labels import TRAINED_CLASSES, find_class_view
from train.recipes.recipe import Recipe, from_json
from train.runs.errors import RunError, read_json, reading

RECIPE, METRICS, HISTORY, CURVES = "recipe.json", "metrics.json", "history.csv", "curves.png"
WEIGHTS, TRAIN_ROWS, TEST_READS, TENSORBOARD = (
    "best.weights.h5",
    "train_rows.csv",
    "reads.json",
    "tensorboard",
)
LOCK, READS_LOCK = ".lock", ".reads.lock"
# What every record of a run holds.
KEYS = (
    "recipe",
    "seed",
    "classes",
    "class_weights",
    "manifest_sha256",
    "precision",
    "precision_reason",
    "started_at",
)
LONGEST_NAME = 100
MEND = "mend it by hand, for it counts how often the test rows were read"
PACKAGES = (
    "candid-fer", "keras", "tensorflow", "jax", "torch", "numpy", "pandas", "opencv-python-headless", "scikit-learn",
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """What an evaluation needs to know of a run; `class_view` names the class view it was trained through."""

    folder: Path
    recipe: Recipe
    classes: list[str]
    class_view: str = ""

    @property
    def weights(self) -> Path:
        """The weights of the best epoch."""
        return self.folder / WEIGHTS

    def read_train_rows(self) -> pd.DataFrame:
        """path and pixel_hash of every row the model was trained on."""
        file = self.folder / TRAIN_ROWS
        with reading(file):
            return pd.read_csv(
                file, dtype=str, keep_default_na=False, usecols=["path", "pixel_hash"]
            )


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
        raise RunError(
            f"{folder}: this run did not finish ({METRICS} is missing): {format_resume_command(folder)} goes on"
        )
    made = read_made(folder)
    return Record(folder, from_json(made["recipe"]), list(made["classes"]), made.get("view", ""))


def read_made(folder: Path) -> dict[str, Any]:
    """What the run in that folder is made of.

    Raises
    ------
    RunError  if its record is damaged, or of a version of Candid that knows other fields
    """
    made = read_json(folder / RECIPE)
    with reading(folder / RECIPE):
        missing = [key for key in KEYS if key not in made]
        if missing:
            raise KeyError(missing[0])
        from_json(made["recipe"])
        find_class_view(made.get("view", ""))
        if not isinstance(made["classes"], list) or not set(made["classes"]) <= set(
            TRAINED_CLASSES
        ):
            raise ValueError("its classes are no classes")
    return made


def read_metrics(folder: Path) -> dict[str, Any]:
    """What the finished run in that folder scored on val, and what it took."""
    return read_json(folder / METRICS)


def read_precision(folder: Path) -> tuple[str, str]:
    """The dtype policy that a run began in, and why."""
    made = read_made(folder)
    return str(made["precision"]), str(made["precision_reason"])


def find_home(folder: Path) -> Path:
    """The workspace that a run was trained in, as its record says; without that, the one whose `runs` it lies in."""
    way = read_made(folder).get("workspace", "../..")
    shown, real = (Path(os.path.normpath(start / way)) for start in (folder, folder.resolve()))
    return shown if shown.resolve() == real else real


def format_resume_command(folder: Path) -> str:
    """The command that goes on with a run, or with all seeds that it was trained with."""
    home, made = find_home(folder), read_made(folder)
    name = made["series"]["name"] if "series" in made else folder.name
    place = [] if folder.parent == home / "runs" else ["--runs", str(folder.parent)]
    return f"`{shlex.join(['train', 'run', '--resume', '--name', name, '-w', str(home), *place])}`"


def is_unfinished(folder: Path) -> bool:
    """Whether a run began in the folder and did not end."""
    return (folder / RECIPE).is_file() and not (folder / METRICS).is_file()


def is_live(folder: Path) -> bool:
    """Whether a command trains in the folder now."""
    if not (folder / LOCK).is_file():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Keep other commands out of a run's folder while it trains; the lock goes with the process, however it ends.

    Raises
    ------
    RunError  if another command trains there
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise RunError(
            f"{folder}: another command trains this run: wait for it, or name another"
        ) from error
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        yield
    finally:
        remove_quietly(folder / LOCK)
        lock.release()


def require_name(name: str) -> None:
    """Raise UsageError unless a folder of `runs` can be called so."""
    is_plain = name.isprintable() and not set(name) & set("/\\") and name.strip(". ") == name
    if not is_plain or not 0 < len(name.encode()) <= LONGEST_NAME:
        raise UsageError(
            f"--name {name!r}: must be the name of one folder: no / or \\, no dot or space at its ends, at most "
            f"{LONGEST_NAME} bytes"
        )


def make_folder(runs: Path, name: str, end: str = "", *, is_given: bool) -> Path:
    """A new folder `name` + `end`; where the name is not the user's and taken, by a run of the same second, it is numbered.

    Raises
    ------
    RunError  if the name is given and taken
    """
    for number in itertools.count(1):
        folder = runs / f"{name}{f'-{number}' if number > 1 else ''}{end}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if is_given and is_empty(folder):
                return folder
            if is_given:
                require_free(folder)
        except OSError as error:
            raise cannot_write(folder, error) from error
    raise AssertionError("there is a number for every run")


def require_free(folder: Path) -> None:
    """Raise RunError if there is something in the way of a new run."""
    if is_live(folder):
        raise RunError(f"{folder}: another command trains this run: choose another --name")
    if is_unfinished(folder):
        raise RunError(
            f"{folder}: holds an unfinished run: {format_resume_command(folder)} goes on with it, or choose another --name"
        )
    if folder.exists() and not is_empty(folder):
        raise RunError(f"{folder}: already exists: choose another --name")


def is_empty(folder: Path) -> bool:
    """Whether no run has begun in the folder: a command that is killed before it writes the record leaves no more than this."""
    if not folder.is_dir() or is_live(folder):
        return False
    return all(
        file.name in (LOCK, TRAIN_ROWS) or file.suffix == ".tmp" for file in folder.iterdir()
    )


def require_tensorboard() -> None:
    """Raise UsageError unless TensorBoard is installed, and TensorFlow, by which Keras writes for it."""
    missing = [name for name in ("tensorboard", "tensorflow") if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"--tensorboard: {missing[0]} is not installed: `pip install 'candid-fer[tensorboard]'`"
        )


def open_tensorboard(folder: Path) -> Any:
    """The Keras callback that writes a TensorBoard log into the run."""
    from train.backend import keras

    return keras.callbacks.TensorBoard(str(folder / TENSORBOARD), write_graph=False)


def count_cpu_seconds() -> float:
    """CPU seconds of this process and of the workers that it has waited for; only differences mean anything."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def measure_resources(cpu_seconds: float) -> dict[str, float]:
    """CPU seconds of a run, and the peak memory of this process in MB where the system tells."""
    used = {"cpu_seconds": round(cpu_seconds, 1)}
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
    file, lock = folder / TEST_READS, FileLock(folder / READS_LOCK)
    try:
        lock.acquire()
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        reads = []
        if file.is_file():
            with reading(file, MEND):
                reads = list(read_json(file, MEND)["reads"])
        reads.append(
            {"at": utc_now(), "rows": rows, "views": views, "manifest_sha256": manifest_sha256}
        )
        write_json(file, {"test_reads": len(reads), "reads": reads})
    finally:
        lock.release()
    return len(reads)


def utc_now() -> str:
    """Now, UTC, to the microsecond: two runs of one second must still have an order."""
    seconds = time.time()
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e6):06d}Z"
    )


def list_versions() -> dict[str, str]:
    """Of Python and of what is installed, for the record."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
