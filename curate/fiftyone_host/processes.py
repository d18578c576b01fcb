"""Processes and ports of FiftyOne: a process is started, stopped, and never left behind."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from curate.errors import ServiceError

HOST = "127.0.0.1"  # no other machine reaches the App
PR_SET_PDEATHSIG = 1  # of Linux' prctl


def start_service(
    command: Sequence[str],
    log: Path,
    *,
    ends_by: signal.Signals,
    env: Mapping[str, str] | None = None,
    listener: socket.socket | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a process that the terminal's Ctrl-C does not reach.

    Parameters
    ----------
    log : file for its output
    ends_by : the signal that ends it when we are killed (Linux only)
    env : its environment; None for ours
    listener : a socket that it gets as a file of the number that it has here
    """
    with log.open("ab") as stream:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=env,
            start_new_session=True,
            pass_fds=(listener.fileno(),) if listener else (),
            preexec_fn=_die_with_parent(ends_by),
        )


def _die_with_parent(signal_number: signal.Signals) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def set_death_signal() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal_number)
        if os.getppid() != parent:
            os._exit(1)  # the parent died before the call

    return set_death_signal


def last_line(log: Path) -> str:
    """The last line of a service's log, at most 300 characters; empty if there is none."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    return "".join(lines[-1:])[:300]


def open_listener(port: int | None) -> socket.socket:
    """Listen on the port of 127.0.0.1, or on a free one, until the socket is closed.

    Whoever holds the socket keeps every other program off the port, also while the process that
    serves it is started again.

    Raises
    ------
    ServiceError  if something else listens there
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port just left is free
    try:
        listener.bind((HOST, port or 0))
        listener.listen()
    except OSError as error:
        listener.close()
        raise ServiceError(
            f"--port {port}: cannot be used ({error.strerror}): name another, or leave --port "
            "out for a free one"
        ) from error
    return listener


def stop_process(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Terminate, wait up to `seconds`, then kill."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
