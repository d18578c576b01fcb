"""The folder of a run: the names of its files, how it is made, locked and measured.

recipe.json is written before the first batch and metrics.json last, so a folder with both holds a
finished run. While it trains, the command holds the folder's lock. An existing folder is never
removed.
"""

import itertools
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from curate.errors import UsageError
from curate.files import record_bytes, remove_quietly, write_atomically
from curate.stderr import cannot_write
from train.recipes.recipe import Recipe
from train.runs.errors import RunError

RECIPE = "recipe.json"  # the run record: what the run was made of
METRICS = "metrics.json"  # the scores of the best weights on val, and what the run took
HISTORY = "history.csv"  # the scores of every epoch
CURVES = "curves.png"
WEIGHTS = "best.weights.h5"
TRAIN_ROWS = "train_rows.csv"  # the rows that the model was trained on, to find copies of them
VAL_ROWS = "val_rows.csv"  # by whose scores its best epoch was chosen, or that of its start
START_ROWS = "start_rows.csv"  # those that the weights at its start had learned
TENSORBOARD = "tensorboard"
LOCK = ".lock"
MAX_NAME_BYTES = 100


def name_run(recipe: Recipe) -> str:
    """UTC time and recipe: names that sort by age."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{recipe.name}"


def require_name(name: str) -> None:
    """Raise UsageError unless the name can be that of a folder of `runs`."""
    is_plain = name.isprintable() and not set(name) & set("/\\") and name.strip(". ") == name
    if not is_plain or not 0 < len(name.encode()) <= MAX_NAME_BYTES:
        raise UsageError(
            f"--name {name!r}: must be the name of one folder: no / or \\, no dot or space at its "
            f"ends, at most {MAX_NAME_BYTES} bytes"
        )


def make_folder(runs: Path, name: str, suffix: str = "", *, is_given: bool) -> Path:
    """Make the folder `name` + `suffix`.

    A name that the user did not give may be taken by a run of the same second: it is then numbered.

    Raises
    ------
    RunError  if the name is given and taken
    """
    for number in itertools.count(1):
        numbered = f"{name}-{number}" if number > 1 else name
        folder = runs / f"{numbered}{suffix}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if not is_given:
                continue
            if not is_empty(folder):
                raise RunError(f"{folder}: already exists: choose another --name") from None
            return folder
        except OSError as error:
            raise cannot_write(folder, error) from error
    raise AssertionError("there is a number for every run")


def is_unfinished(folder: Path) -> bool:
    """Whether a run began in the folder and did not end."""
    return (folder / RECIPE).is_file() and not (folder / METRICS).is_file()


def is_locked(folder: Path) -> bool:
    """Whether a command trains in the folder now."""
    if not (folder / LOCK).is_file():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True


def is_empty(folder: Path) -> bool:
    """Whether no run has begun in the folder.

    A command that is killed before it writes the run record leaves no more than such a folder.
    """
    if not folder.is_dir() or is_locked(folder):
        return False
    left_by_a_kill = (LOCK, TRAIN_ROWS, VAL_ROWS, START_ROWS)
    return all(file.name in left_by_a_kill or file.suffix == ".tmp" for file in folder.iterdir())


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep others out of the folder of a run or search while it trains, until the process ends.

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


def require_tensorboard() -> None:
    """Raise UsageError unless TensorBoard is installed, and TensorFlow, which Keras logs with."""
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
    """CPU seconds of this process and of its finished child processes; use differences only."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def measure_resources(cpu_seconds: float) -> dict[str, float]:
    """CPU seconds of a run, and the peak memory of this process in MB where the system has it."""
    used = {"cpu_seconds": round(cpu_seconds, 1)}
    try:
        import resource
    except ImportError:  # Windows
        return used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    units_per_mb = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return used | {"peak_mb": round(peak / units_per_mb)}


def write_json(file: Path, values: Any) -> None:
    """Write a record: indented JSON with the keys in their order, and its digest."""
    write_atomically(file, record_bytes(values))


def utc_now() -> str:
    """The time in UTC, to the microsecond, so that two runs of one second have an order."""
    seconds = time.time()
    micros = int(seconds % 1 * 1e6)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{micros:06d}Z"
