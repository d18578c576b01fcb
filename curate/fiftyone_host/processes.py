"""Processes and ports of a session: started, ended, and never left behind."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from curate.errors import ServiceError

HOST = (
    "127.0.0.1"  # the App has no login and serves any file: it must not be reached from elsewhere
)


def start_service(
    command: Sequence[str],
    log: Path,
    *,
    ends_by: signal.Signals,
    env: Mapping[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a process that is deaf to the terminal's Ctrl-C and, on Linux, ended by a signal even when we are killed."""
    with log.open("ab") as stream:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=env,
            start_new_session=True,
            preexec_fn=_die_with_parent(ends_by),
        )


def _die_with_parent(how: signal.Signals) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def ask() -> None:
        libc.prctl(1, how)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)  # it died before we asked

    return ask


def last_line(log: Path) -> str:
    """What a service said last."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    return "".join(lines[-1:])[:300]


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def require_free_port(port: int) -> None:
    """Raise ServiceError if something listens on the port: the App would join it without a word."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port just left is free
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ServiceError(
                f"--port {port}: cannot be used ({error.strerror}): name another, or leave --port out for a free one"
            ) from error


def is_listening(port: int) -> bool:
    """Whether a connection to the port of 127.0.0.1 is taken."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def stop_process(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Ask to end, wait, then force."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
