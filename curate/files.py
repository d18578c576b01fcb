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
from itertools import chain
from pathlib import Path

from curate.errors import WorkspaceError, examples

MAX_NAME_BYTES = 255  # of a file's name, in every usual file system
DIGEST_DIGITS = 16
CACHE = ".cache"  # a folder of what can be made again; to write there changes nothing of the user's

# The files that this command has changed, so that an error can say so.
_changed: dict[Path, None] = {}


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
    temporary = _name_temporary(file, str(os.getpid()))
    made: list[Path] = []
    try:
        made = _make_parents(file)
        _remove_leftovers(file)
        temporary.write_bytes(data)
        replace_durably(temporary, file)
    except OSError as error:
        remove_quietly(temporary)
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise cannot_write(file, error) from error
    finally:
        remove_quietly(temporary)
    return True


def _name_temporary(file: Path, pid: str) -> Path:
    """The temporary file of a writer; a digest takes the place of a name that would be too long."""
    name = f".{file.name}.{pid}.tmp"
    if len(os.fsencode(name)) > MAX_NAME_BYTES:
        name = f".{_digest(file.name)}.{pid}.tmp"
    return file.with_name(name)


def _make_parents(file: Path) -> list[Path]:
    """Create the folder of a file; the folders that are new, the innermost first."""
    missing = [folder for folder in file.parents if not folder.exists()]
    file.parent.mkdir(parents=True, exist_ok=True)
    return missing


def shorten_name(name: str, most_bytes: int = MAX_NAME_BYTES) -> str:
    """The name of a file, or if it is too long its start, a digest of it, and its suffix.

    Parameters
    ----------
    most_bytes : of the encoded name, at least 40
    """
    if len(os.fsencode(name)) <= most_bytes:
        return name
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(os.fsencode(suffix)) > DIGEST_DIGITS:
        stem, dot, suffix = name, "", ""
    end = f"-{_digest(name)}{dot}{suffix}"
    # No half of a character: its bytes at the cut are left out.
    start = os.fsencode(stem)[: most_bytes - len(os.fsencode(end))].decode(errors="ignore")
    return f"{start}{end}"


def _digest(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:DIGEST_DIGITS]


def _remove_leftovers(file: Path) -> None:
    """Remove the temporary files of killed writers of this file, but not those of live ones."""
    names = (glob.escape(file.name), _digest(file.name))
    patterns = [f".{name}.*.tmp" for name in names]
    for leftover in chain.from_iterable(map(file.parent.glob, patterns)):
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
    note_change(file)
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


def note_change(file: Path) -> None:
    """Remember that this command has changed the file."""
    if CACHE not in file.parts:
        _changed[file] = None


def forget_changes() -> None:
    """Begin a command: nothing is changed yet."""
    _changed.clear()


def cannot_write(file: Path, error: OSError | ValueError) -> WorkspaceError:
    """The error for a failed write: a full disk, a read-only folder. It names what was changed."""
    reason = (isinstance(error, OSError) and error.strerror) or str(error)
    so_far = "nothing was changed"
    if _changed:
        names = examples(list(_changed))
        count = f"{len(_changed):,} files were" if len(_changed) > 1 else "1 file was"
        so_far = f"{count} changed before ({names}): run the command again"
    return WorkspaceError(
        f"{file}: cannot be written ({reason}): free or unlock the disk; {so_far}"
    )


def sha256_of(file: Path) -> str:
    """SHA-256 of the file's bytes, 64 hex digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
