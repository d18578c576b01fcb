"""Every error a user can meet, one class per thing the user does next.

A message reads `where: what is wrong (the value): the rule or the fix`, with a count and at most three examples.
"""

from collections.abc import Sequence

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_FOUND = 3
EXIT_INTERRUPTED = 130


class CandidError(Exception):
    """An expected failure; the program prints its message in one line and ends with `exit_code`."""

    exit_code = EXIT_ERROR


class UsageError(CandidError):
    """The command was called wrongly: call it again with other options."""

    exit_code = EXIT_USAGE


class SourceError(CandidError):
    """A dataset on disk is not what a layout expects: repair the folder or name its labels."""


class ManifestError(CandidError):
    """A manifest breaks one of its rules: run the named stage again or build anew."""


class JournalError(CandidError):
    """The journal cannot be read, or a decision cannot be recorded: nothing was written."""


class PredictionsError(CandidError):
    """A predictions table does not fit the manifest: predict again."""


class WorkspaceError(CandidError):
    """The workspace is missing, read-only, full or in use: mend that and run again."""


class EngineError(CandidError):
    """A worker died or an engine is not installed: lower the workers or install the engine."""


class ServiceError(CandidError):
    """A service that the review needs (mongod, the App, a port) cannot run: install or free what the message names."""


class FoundError(CandidError):
    """A check did its work and found something."""

    exit_code = EXIT_FOUND


def examples(values: Sequence[object], most: int = 3) -> str:
    """The first `most` values, comma-separated, and how many more there are."""
    shown = ", ".join(str(value) for value in values[:most])
    return shown + (f" and {len(values) - most} more" if len(values) > most else "")
