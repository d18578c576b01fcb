"""What is read from a run's folder, or one line that names the file that is damaged."""

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
    """Whatever a damaged file makes its reader raise becomes a RunError.

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
    RunError  if it is missing or damaged, or holds something else
    """
    with reading(file, fix):
        value = json.loads(file.read_bytes())
        if not isinstance(value, dict):
            raise TypeError("it is no JSON object")
        return value


def load_weights(model: Any, file: Path, fix: str = FIX) -> None:
    """Weights out of a file into a network.

    Raises
    ------
    RunError  if the file is missing, damaged, or of another network
    """
    with (
        reading(file, fix),
        warnings.catch_warnings(action="ignore"),
    ):  # Keras warns of what does not fit, then raises
        model.load_weights(str(file))


def _first_line(error: Exception) -> str:
    """A KeyError tells only the key."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return f"{line} is missing" if isinstance(error, KeyError) else line.rstrip(".")
