"""Whole files or none: every write of a workspace goes through here.

A file appears under a temporary name, is flushed to the disk, and is then renamed, so a process that is killed at any
moment leaves the old bytes or the new ones (law 9).
"""

import contextlib
import hashlib
import os
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
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
        sync_folder(file.parent)
    except OSError as error:
        raise cannot_write(file, error) from error
    finally:
        _remove(temporary)
    return True


def _remove(temporary: Path) -> None:
    """Remove what an error or Ctrl-C left; in a folder that refuses even that, the error itself is what counts."""
    with contextlib.suppress(OSError):
        temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut (POSIX asks for an fsync of the folder itself)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def cannot_write(file: Path, error: OSError) -> WorkspaceError:
    """The one message for a disk that is full, a folder that is read-only, and the like."""
    reason = error.strerror or str(error)
    return WorkspaceError(f"{file}: cannot be written ({reason}): free or unlock the disk; nothing was changed")


def sha256_of(file: Path) -> str:
    """64 hex digits of the file's bytes."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
