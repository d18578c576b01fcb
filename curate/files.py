"""Atomic writes: every file of a workspace is written by the functions here.

In: a path and the new bytes. Out: the file with all of them, or unchanged. The bytes go to a
temporary file, are flushed to the disk, and the file is renamed: a process that is killed at any
moment leaves the old bytes or the new ones (law 9).
"""

import contextlib
import glob
import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from curate.errors import WorkspaceError


def write_atomically(file: Path, data: bytes) -> bool:
    """Write `data` to `file`, all or nothing; a file that already holds these bytes is not touched.

    Returns
    -------
    whether the file changed

    Raises
    ------
    WorkspaceError  if the disk is full or the folder cannot be written
    """
    if file.is_file() and file.stat().st_size == len(data) and file.read_bytes() == data:
        return False
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(file)
        temporary.write_bytes(data)
        replace_durably(temporary, file)
    except OSError as error:
        raise cannot_write(file, error) from error
    finally:
        remove_quietly(temporary)
    return True


def _remove_leftovers(file: Path) -> None:
    """Remove the temporary files of killed writers of this file, but not those of live ones."""
    for leftover in file.parent.glob(f".{glob.escape(file.name)}.*.tmp"):
        pid = leftover.name.split(".")[-2]
        if pid.isdigit() and int(pid) != os.getpid() and not _is_alive(int(pid)):
            remove_quietly(leftover)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def remove_quietly(temporary: Path) -> None:
    """Remove a file that an error or Ctrl-C left; ignore a failure, which would hide that error."""
    with contextlib.suppress(OSError):
        temporary.unlink()


@contextlib.contextmanager
def ignore_sigint() -> Iterator[None]:
    """Ignore Ctrl-C during a group of writes, so that Ctrl-C leaves all of them done or none."""
    # Only the main thread may set a handler.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def replace_durably(temporary: Path, file: Path) -> None:
    """Flush `temporary` to the disk, then rename it to `file`.

    Raises
    ------
    OSError  if the disk is full or the folder cannot be written
    """
    with temporary.open("r+b") as stream:
        os.fsync(stream.fileno())
    temporary.replace(file)
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut (POSIX requires an fsync of the folder)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def ensure_folder(folder: Path) -> None:
    """Create the folder and its parents, if they do not exist.

    Raises
    ------
    WorkspaceError  if it cannot be created
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(file: Path, error: OSError) -> WorkspaceError:
    """The error for a failed write: a full disk, a read-only folder."""
    reason = error.strerror or str(error)
    return WorkspaceError(
        f"{file}: cannot be written ({reason}): free or unlock the disk; nothing was changed"
    )


def sha256_of(file: Path) -> str:
    """SHA-256 of the file's bytes, 64 hex digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
