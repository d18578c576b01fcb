"""Whole files or none: every write of a workspace goes through here.

A file appears under a temporary name, is flushed to the disk, and is then renamed, so a process that is killed at any
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
    """Write `data` to `file`, whole or not at all; a file that already holds these bytes is left alone.

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
        _remove_rests(file)
        temporary.write_bytes(data)
        replace_durably(temporary, file)
    except OSError as error:
        raise cannot_write(file, error) from error
    finally:
        remove_quietly(temporary)
    return True


def _remove_rests(file: Path) -> None:
    """Remove what killed writers of this file left; a writer that lives is let be."""
    for rest in file.parent.glob(f".{glob.escape(file.name)}.*.tmp"):
        pid = rest.name.split(".")[-2]
        if pid.isdigit() and int(pid) != os.getpid() and not _is_alive(int(pid)):
            remove_quietly(rest)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def remove_quietly(temporary: Path) -> None:
    """Remove what an error or Ctrl-C left; in a folder that refuses even that, the error itself is what counts."""
    with contextlib.suppress(OSError):
        temporary.unlink()


@contextlib.contextmanager
def ignore_sigint() -> Iterator[None]:
    """Let Ctrl-C come too late for a group of writes: a command that says "interrupted" has written nothing."""
    if (
        threading.current_thread() is not threading.main_thread()
    ):  # only there can signals be handled
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def replace_durably(temporary: Path, file: Path) -> None:
    """Give a file that was written under a temporary name its own, after its bytes are on the disk; OSError if it cannot be."""
    with temporary.open("r+b") as stream:
        os.fsync(stream.fileno())
    temporary.replace(file)
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut (POSIX asks for an fsync of the folder itself)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def ensure_folder(folder: Path) -> None:
    """Make the folder and those above it, where they are not there.

    Raises
    ------
    WorkspaceError  if it cannot be made
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(file: Path, error: OSError) -> WorkspaceError:
    """The one message for a disk that is full, a folder that is read-only, and the like."""
    reason = error.strerror or str(error)
    return WorkspaceError(
        f"{file}: cannot be written ({reason}): free or unlock the disk; nothing was changed"
    )


def sha256_of(file: Path) -> str:
    """64 hex digits of the file's bytes."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
