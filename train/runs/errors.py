"""Read the files of a run's folder; every error of a damaged file names the file and the fix."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curate.errors import CandidError, UsageError

FIX = "name another run, or train again"


class RunError(CandidError):
    """A run folder is missing, unfinished, damaged or taken: train again or name another."""


@contextmanager
def reading(file: Path, fix: str = FIX) -> Iterator[None]:
    """Turn every error that a damaged file causes in its reader into a RunError.

    Parameters
    ----------
    fix : what the user does then
    """
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, UsageError) as error:
        reason = "it is missing" if isinstance(error, FileNotFoundError) else _first_line(error)
        raise RunError(f"{file}: cannot be read ({reason}): {fix}") from error


def read_json(file: Path, fix: str = FIX) -> dict[str, Any]:
    """The JSON object in a file.

    Raises
    ------
    RunError  if the file is missing or damaged, or holds something else
    """
    with reading(file, fix):
        value = json.loads(file.read_bytes())
        if not isinstance(value, dict):
            raise TypeError("it is no JSON object")
        return value


def load_weights(model: Any, file: Path, fix: str = FIX) -> None:
    """Load the weights of a file into a network.

    Raises
    ------
    RunError  if the file is missing, damaged, or of another network
    """
    # Keras warns about weights that do not fit before it raises.
    with reading(file, fix), warnings.catch_warnings(action="ignore"):
        model.load_weights(str(file))


def _first_line(error: Exception) -> str:
    """The first line of the error's text; a KeyError holds only the key."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return f"{line} is missing" if isinstance(error, KeyError) else line.rstrip(".")
