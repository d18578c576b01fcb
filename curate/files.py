"""Atomic writes: every file of a workspace is written by the functions here.

In: a path and the new bytes. Out: the file with all of them, or unchanged. The bytes go to a
temporary file, are flushed to the disk, and the file is renamed: a process that is killed at any
moment leaves the old bytes or the new ones (law 9). No link is followed: a temporary file is new
and its name cannot be foreseen, and a link at the file's own place is replaced, not followed.

Also here: reading what may come from strangers, `read_bounded`, which waits for no pipe.

A file whose damage could change a result in silence has a digest, which is compared when it is
read: a *sealed* file (weights, caches) ends with the digest of its other bytes; a *record* (JSON)
holds the digest of its other values; a *watched* file (a table that people may edit) has it in the
workspace's cache. What does not fit is refused, made again, or used with a note, as its reader
decides.
"""

import contextlib
import errno
import glob
import hashlib
import json
import os
import platform
import secrets
import shutil
import signal
import stat
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from curate.errors import UsageError, WorkspaceError
from curate.stderr import CACHE, cannot_write, note_change, note_once

MAX_NAME_BYTES = 255  # of a file's name, in every usual file system
DIGEST_DIGITS = 16
TEMPORARY = ".tmp"  # what the name of a temporary file ends with
_CHUNK = 1 << 20  # bytes

# Begins the last line of a sealed file. HDF5 and NumPy read as far as their header says.
SEAL = b"\n#sha256:"
SEAL_BYTES = len(SEAL) + 64 + 1
SIGNATURE = "record_sha256"  # key of a record's digest
_TIMES = ("at", "seconds")  # no part of it, so that the same run has the same digest


def write_atomically(file: Path, data: bytes) -> bool:
    """Write `data` to `file`, all or nothing; a file that already holds these bytes is not touched.

    Returns
    -------
    whether the file changed

    Raises
    ------
    WorkspaceError  if the disk is full, the folder cannot be written, or `file` is a device or pipe
    """
    if file.exists() and not (file.is_file() or file.is_dir()):  # it must not be replaced by a file
        raise WorkspaceError(f"{file}: is no regular file: name another")
    if file.is_file() and file.stat().st_size == len(data) and file.read_bytes() == data:
        return False
    made: list[Path] = []
    try:
        made = _make_parents(file)
        with new_temporary(file) as temporary:
            temporary.write_bytes(data)
            replace_durably(temporary, file)
    except OSError as error:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise cannot_write(file, error) from error
    return True


@contextlib.contextmanager
def new_temporary(file: Path, suffix: str = TEMPORARY) -> Iterator[Path]:
    """An empty file beside `file` for the bytes to come; it is removed at the end if still there.

    Its name holds the process, so that the file of a killed one can be removed, and 64 random bits.
    It did not exist before: nobody can have planted a link there.

    Parameters
    ----------
    suffix : what a library wants a file's name to end with
    """
    _remove_leftovers(file, suffix)
    temporary = _name_temporary(file, suffix)
    create_file(temporary)
    try:
        yield temporary
    finally:
        remove_quietly(temporary)


@contextlib.contextmanager
def new_temporary_folder(place: Path) -> Iterator[Path]:
    """An empty folder beside `place`, named as `new_temporary` names a file.

    It is removed at the end with all that is left in it.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(place, TEMPORARY)
    folder = _name_temporary(place, TEMPORARY)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def create_file(file: Path, data: bytes = b"") -> None:
    """Write a file that must not exist yet, not even as a link; not flushed to the disk.

    Raises
    ------
    OSError  if it exists or cannot be written
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    with open(os.open(file, flags, 0o666), "wb") as stream:  # noqa: PTH123 - a descriptor
        stream.write(data)


def _name_temporary(file: Path, suffix: str) -> Path:
    """A name for a temporary file; a digest takes the place of a name that would be too long."""
    end = f".{_name_host()}-{os.getpid()}-{secrets.token_hex(8)}{suffix}"
    name = f".{file.name}{end}"
    if len(os.fsencode(name)) > MAX_NAME_BYTES:
        name = f".{_digest(file.name)}{end}"
    return file.with_name(name)


@cache
def _name_host() -> str:
    """A short digest of the name of this machine."""
    return _digest(platform.node())


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


def _remove_leftovers(file: Path, suffix: str) -> None:
    """Remove the temporary files of killed writers of this file, but not those of live ones.

    Those of other machines that share the folder stay: only they know which writer is alive.
    """
    names = (glob.escape(file.name), _digest(file.name))
    patterns = [f".{name}.*{suffix}" for name in names]
    for leftover in chain.from_iterable(map(file.parent.glob, patterns)):
        # HOST-PID-RANDOM; earlier versions wrote PID-RANDOM, or PID alone.
        parts = leftover.name.removesuffix(suffix).rpartition(".")[2].split("-")
        host, pid = parts[:2] if len(parts) == 3 else (_name_host(), parts[0])
        if host != _name_host() or not pid.isdigit():
            continue
        if int(pid) != os.getpid() and not _is_alive(int(pid)):
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
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
    """Flush `temporary` to the disk, then rename it to `file`, whose mode and owner stay.

    Raises
    ------
    OSError  if the disk is full or the folder cannot be written
    """
    with temporary.open("r+b") as stream:
        os.fsync(stream.fileno())
    _keep_mode(temporary, file)
    temporary.replace(file)
    note_change(file)
    sync_folder(file.parent)


def _keep_mode(temporary: Path, file: Path) -> None:
    """Give the new file the mode and owner of the one that it replaces; a link has none."""
    if file.is_symlink() or not file.is_file():
        return
    status = file.stat()
    if status.st_mode != temporary.stat().st_mode:
        temporary.chmod(stat.S_IMODE(status.st_mode))
    if os.name == "posix" and status.st_uid != os.geteuid():
        with contextlib.suppress(PermissionError):  # only root may give a file away
            os.chown(temporary, status.st_uid, status.st_gid)


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


def sha256_of(file: Path, size: int | None = None) -> str:
    """SHA-256 of the file's bytes, or of its first `size` bytes; 64 hex digits."""
    digest = hashlib.sha256()
    left = file.stat().st_size if size is None else size
    with file.open("rb") as stream:
        while left > 0 and (part := stream.read(min(left, _CHUNK))):
            digest.update(part)
            left -= len(part)
    return digest.hexdigest()


class OddFileError(OSError):
    """The file is not read: it is no regular file, or too large; `strerror` is the reason."""

    def __init__(self, reason: str, file: Path | str) -> None:
        super().__init__(errno.EINVAL, reason, str(file))


# What is no regular file, and what it is. A pipe would be waited for, /dev/zero never ends.
_ODD = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def read_bounded(file: Path | str, most_bytes: int) -> bytes:
    """The bytes of a regular file, or of the one that a link leads to; nothing is waited for.

    Raises
    ------
    OddFileError  if it is a pipe, a socket, a device or a folder, or holds over `most_bytes`
    OSError  if it is missing or cannot be opened; a link that leads to itself too
    """
    descriptor = open_regular(file)
    parts: list[bytes] = []
    got = 0
    with open(descriptor, "rb", buffering=0) as stream:  # noqa: PTH123 - a descriptor
        size = os.fstat(descriptor).st_size
        # A file may grow while it is read, and files of /proc have a size of 0.
        while max(got, size) <= most_bytes and (part := stream.read(max(size - got, 0) + 4096)):
            parts.append(part)
            got += len(part)
    if max(got, size) > most_bytes:
        raise OddFileError(f"over {most_bytes:,} bytes", file)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def open_regular(file: Path | str) -> int:
    """A descriptor for reading, which never blocks; the caller closes it.

    Raises
    ------
    OddFileError  if it is no regular file
    OSError  if it is missing or cannot be opened
    """
    _require_regular(os.stat(file).st_mode, file)  # noqa: PTH116 - for hundreds of thousands
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        # Looked at again now that it is open: it may have been exchanged in between.
        _require_regular(os.fstat(descriptor).st_mode, file)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_start(file: Path) -> bytes:
    """The first 64 bytes; empty if there is no such file, or it is no regular one."""
    try:
        with open(open_regular(file), "rb", buffering=0) as stream:
            return stream.read(64)
    except OSError:
        return b""


def require_own(file: Path, start: bytes) -> None:
    """Raise UsageError for a file that exists and does not begin as what shall replace it.

    Parameters
    ----------
    start : in lower case
    """
    if file.is_file() and not read_start(file).lstrip().lower().startswith(start):
        raise UsageError(
            f"{file}: exists, and this command would write another kind of file: name a new one"
        )


def _require_regular(mode: int, file: Path | str) -> None:
    if not stat.S_ISREG(mode):
        kind = _ODD.get(stat.S_IFMT(mode), "no file")
        raise OddFileError(f"{kind}, no regular file", file)


def seal(data: bytes) -> bytes:
    """The bytes of a sealed file: `data`, and their digest in a last line."""
    return data + SEAL + hashlib.sha256(data).hexdigest().encode() + b"\n"


def append_seal(file: Path) -> None:
    """Seal a file that another library has written; not atomic.

    Raises
    ------
    OSError  if the disk is full or the file cannot be written
    """
    digest = sha256_of(file)
    with file.open("ab") as stream:
        stream.write(SEAL + digest.encode() + b"\n")


@contextlib.contextmanager
def new_sealed_file(file: Path, suffix: str = TEMPORARY) -> Iterator[Path]:
    """A temporary file for a library to write; at the end of the block it is sealed and renamed.

    So `file` is always whole, and no copy of it is made in memory.

    Parameters
    ----------
    suffix : what the library wants a file's name to end with

    Raises
    ------
    WorkspaceError  if the disk is full or the folder cannot be written
    """
    try:
        with new_temporary(file, suffix) as temporary:
            yield temporary
            append_seal(temporary)
            replace_durably(temporary, file)
    except OSError as error:
        raise cannot_write(file, error) from error


def holds_seal(file: Path) -> bool | None:
    """Whether a sealed file is as it was written; None if it has no seal.

    An earlier version wrote files without one; a file that was cut has lost it.

    Raises
    ------
    OSError  if the file is missing or cannot be read
    """
    size = file.stat().st_size - SEAL_BYTES
    if size < 0:
        return None
    with file.open("rb") as stream:
        stream.seek(size)
        end = stream.read()
    if not end.startswith(SEAL):
        return None
    return end[len(SEAL) :].strip() == sha256_of(file, size).encode()


def unseal(data: bytes) -> bytes | None:
    """What `seal` was given; None if the bytes are not as it returned them."""
    inside = data[:-SEAL_BYTES]
    return inside if data == seal(inside) else None


def record_bytes(values: Mapping[str, Any], *, sort_keys: bool = False) -> bytes:
    """The bytes of a record: indented JSON, with the digest of its values."""
    plain = json.loads(json.dumps(values))  # as it will be read back: the keys are text
    signed = {**plain, SIGNATURE: _digest_values(plain)}
    return (json.dumps(signed, indent=1, sort_keys=sort_keys) + "\n").encode()


def load_record(file: Path) -> dict[str, Any]:
    """The values of a record, without its digest; a note if they do not fit it.

    A record of an earlier version has no digest.

    Raises
    ------
    OSError  if the file is missing or cannot be read
    ValueError  if it holds no JSON object
    """
    values, is_intact = _read_record(file)
    if is_intact is False:
        note_once(
            f"{file}: was changed after Candid wrote it, and results may differ: restore it from a "
            "copy unless you edited it"
        )
    return values


def load_intact_record(file: Path) -> dict[str, Any] | None:
    """The values of a record that is as Candid wrote it; else None."""
    try:
        values, is_intact = _read_record(file)
    except (OSError, ValueError):
        return None
    return values if is_intact else None


def _read_record(file: Path) -> tuple[dict[str, Any], bool | None]:
    """The values without their digest, and whether they fit it; None if there is none."""
    try:
        values = json.loads(file.read_bytes())
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")
    signature = values.pop(SIGNATURE, None)
    return values, None if signature is None else signature == _digest_values(values)


def _digest_values(values: Mapping[str, Any]) -> str:
    lasting = {name: value for name, value in values.items() if name not in _TIMES}
    return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()


def write_watched(file: Path, data: bytes) -> bool:
    """`write_atomically`, and its digest into the cache beside the file.

    The digest of the bytes before is kept too: they are still there after a kill between the two
    writes.
    """
    digest = hashlib.sha256(data).hexdigest()
    if digest not in read_watch(file)[:1]:
        before = [sha256_of(file)] if file.is_file() else []
        write_atomically(_name_watch(file), "\n".join([digest, *before, ""]).encode())
    return write_atomically(file, data)


def note_if_changed(file: Path, data: bytes) -> None:
    """Print a note if a watched file, which holds `data`, is not as Candid wrote it last."""
    known = read_watch(file)
    if known and hashlib.sha256(data).hexdigest() not in known:
        note_once(
            f"{file}: was changed by another program since Candid wrote it: restore it from a copy "
            "unless you edited it"
        )


def _name_watch(file: Path) -> Path:
    return file.parent / CACHE / f"{file.name}.sha256"


def read_watch(file: Path) -> list[str]:
    """The digests of the bytes that were written last and before; empty if they are not known."""
    try:
        lines = _name_watch(file).read_bytes().decode().split()
    except (OSError, UnicodeDecodeError):
        return []
    return lines if all(len(line) == 64 for line in lines) else []
