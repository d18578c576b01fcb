"""Folders and files that no other account may open.

Links are not followed: a workspace of a stranger may hold one in the place of ours.
"""

import contextlib
import os
import stat
from pathlib import Path

from curate.errors import ServiceError


def make_private(folder: Path) -> None:
    """Create the folder, or take one of before, with mode 700.

    Raises
    ------
    ServiceError  if it is a link, no folder, or another account's
    OSError  if it cannot be created
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise ServiceError(f"{folder}: a link leads elsewhere: remove it and run again")
    if status.st_uid != os.geteuid():
        raise ServiceError(
            f"{folder}: belongs to another account: name another reviewer with --by NAME, or "
            "remove it"
        )
    folder.chmod(0o700)


def write_private(file: Path, data: bytes) -> None:
    """Write a new file of mode 600 in the place of what is there, be it a link.

    Raises
    ------
    OSError  if it cannot be written
    """
    with contextlib.suppress(FileNotFoundError):
        file.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(file, flags, 0o600), "wb") as stream:
        stream.write(data)
