"""Locks on the files of a workspace: who waits, for how long, and who holds them.

In: a lock's file. Out: the lock, held, or filelock's `Timeout`. A lock ends with its
process, however that ends. Ctrl-C ends a wait.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from curate.errors import CandidError, shorten
from curate.stderr import cannot_write

_LOCKS = Path("/proc/locks")  # of Linux: one line per lock, with its process and file


def hold_lock(file: Path, seconds: float) -> BaseFileLock:
    """The lock, held; `release` gives it back.

    Raises
    ------
    Timeout  if another process still holds it after so many seconds
    OSError  if the lock's file cannot be opened
    """
    lock = FileLock(file, timeout=seconds)
    lock.acquire()
    return lock


@contextmanager
def holding(
    lock: Path, seconds: float, guarded: Path, refuse: Callable[[str], CandidError]
) -> Iterator[None]:
    """Hold a lock meanwhile; its folder is made.

    Parameters
    ----------
    guarded : what the lock is for, to be named if the lock's file cannot be written
    refuse : the error, given who holds the lock, if another process still does then

    Raises
    ------
    CandidError  of `refuse`
    WorkspaceError  if the disk is full or the folder cannot be written
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = hold_lock(lock, seconds)
    except Timeout as error:
        raise refuse(describe_holder(lock)) from error
    except OSError as error:
        raise cannot_write(guarded, error) from error
    try:
        yield
    finally:
        held.release()


def describe_holder(file: Path) -> str:
    """Who holds a lock, in brackets, for a message: process and command; empty if not known."""
    with suppress(OSError, ValueError, IndexError):
        inode = file.stat().st_ino
        for line in _LOCKS.read_text().splitlines():
            words = line.split()
            if "->" not in words and words[5].rpartition(":")[2] == str(inode):
                return _describe_process(int(words[4]))
    return ""


def _describe_process(pid: int) -> str:
    if pid == os.getpid():
        return ""
    command = ""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        words = [word if word.isprintable() else ascii(word) for word in words]
        command = f", `{shorten(' '.join(words).strip(), 80)}`"
    return f" (process {pid}{command})"
