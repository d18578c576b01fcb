"""Read the files of a run's folder; every error of a damaged file names the file and the fix."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curate.errors import CandidError, UsageError, first_line
from curate.files import holds_seal, load_record
from curate.stderr import note_once

FIX = "name another run, or train again"
# What readers raise on a damaged file.
DAMAGED = (
    OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError,
    RecursionError, UsageError,
)  # fmt: skip


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
    except DAMAGED as error:
        reason = "it is missing" if isinstance(error, FileNotFoundError) else first_line(error)
        raise RunError(f"{file}: cannot be read ({reason}): {fix}") from error


def read_json(file: Path, fix: str = FIX) -> dict[str, Any]:
    """The JSON object in a file.

    Raises
    ------
    RunError  if the file is missing or damaged, or holds something else
    """
    with reading(file, fix):
        return load_record(file)


def load_weights(model: Any, file: Path, fix: str = FIX) -> None:
    """Load the weights of a file into a network; a note if it has no checksum.

    Raises
    ------
    RunError  if the file is missing, damaged, or of another network
    """
    # Keras warns about weights that do not fit before it raises.
    with reading(file, fix), warnings.catch_warnings(action="ignore"):
        is_whole = holds_seal(file)
        if is_whole is False:
            raise ValueError("its checksum does not fit: the file is damaged")
        model.load_weights(str(file))
    if is_whole is None:
        note_once(f"{file}: has no checksum, so damage would go unnoticed: train again to have one")
