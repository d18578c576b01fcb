"""The two services of a session: mongod and the App's process; started, kept alive, ended."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from signal import SIGKILL
from typing import Any

import psutil

from curate.errors import ServiceError
from curate.fiftyone_host.environment import PLUGIN, fiftyone_environment, require_fiftyone
from curate.fiftyone_host.mongod import Mongod, find_mongod, start_mongod
from curate.fiftyone_host.processes import (
    HOST,
    free_port,
    is_listening,
    last_line,
    require_free_port,
    start_service,
    stop_process,
)
from curate.relabel.app_labels import mend_counts, require_server
from curate.relabel.save import SESSION, read_session
from curate.relabel.session import Place, write_description

START_SECONDS = 90.0  # ten on two idle cores
MOST_RESTARTS = 5


@dataclass
class Services:
    """What runs for a session; `mongod` is None where FIFTYONE_DATABASE_URI names a database of the user's."""

    place: Place
    description: dict[str, Any]
    mongod: Mongod | None
    app: "subprocess.Popen[bytes]"
    restarts: int = 0

    @property
    def address(self) -> str:
        """Where the panel is."""
        return f"http://{HOST}:{self.description['port']}/datasets/relabel?workspace=review"

    def keep_alive(self, before_app: Callable[[], object]) -> None:
        """Start again what has died.

        Parameters
        ----------
        before_app : called before the App's process loads the images anew

        Raises
        ------
        ServiceError  if it dies again and again
        """
        self.keep_database()
        if self.app.poll() is not None:
            self._count_restart("the App's process")
            before_app()
            self.place.ready.unlink(missing_ok=True)
            self.app = _start_app(self.place)

    def keep_database(self) -> None:
        """Start mongod again if it has died; the App's process finds it by itself."""
        if self.mongod and not self.mongod.is_running:
            self._count_restart("mongod")
            self.mongod.restart()
            mend_counts(self.description["uri"], self.description["database"])

    def _count_restart(self, what: str) -> None:
        self.restarts += 1
        if self.restarts > MOST_RESTARTS:
            raise ServiceError(
                f"{what} dies again and again: see {self.place.root}/app.log; every saved decision is safe"
            )

    def stop_app(self) -> None:
        """No key is taken any more."""
        stop_process(self.app, 5)

    def stop(self) -> None:
        """End both."""
        self.stop_app()
        if self.mongod:
            self.mongod.stop()


def start_database(place: Place) -> tuple[Mongod | None, dict[str, str]]:
    """mongod, and the part of the description that says how to reach it.

    Raises
    ------
    ServiceError  if no mongod runs here, or FiftyOne is not installed
    """
    require_fiftyone()
    end_leftovers(place)
    if uri := os.environ.get("FIFTYONE_DATABASE_URI"):
        require_server(uri)
        name = f"candid-{sha256(str(place.root).encode()).hexdigest()[:12]}"  # beside the user's datasets, not among them
        return None, {"uri": uri, "database": name}
    mongod = start_mongod(find_mongod(os.environ), place.data)
    return mongod, {"uri": mongod.uri, "database": "fiftyone"}


def start_services(place: Place, description: dict[str, Any], mongod: Mongod | None) -> Services:
    """Start the App's process and wait until it serves our panel.

    Raises
    ------
    ServiceError  if it does not come up, with the last line of its log
    """
    for file in (place.ready, place.finish):
        file.unlink(missing_ok=True)
    write_description(place, description)
    services = Services(place, description, mongod, _start_app(place))
    deadline = time.monotonic() + START_SECONDS
    try:
        while not _is_serving(place, int(description["port"])):
            if services.app.poll() is not None or time.monotonic() > deadline:
                log = place.root / "app.log"
                raise ServiceError(f"FiftyOne's App does not start ({last_line(log)}): see {log}")
            time.sleep(0.1)
    except BaseException:  # Ctrl-C too
        services.stop()
        raise
    return services


def choose_port(port: int | None) -> int:
    """The port asked for, if it is free, else any free one."""
    if port is None:
        return free_port()
    require_free_port(port)
    return port


def _start_app(place: Place) -> "subprocess.Popen[bytes]":
    session = read_session(place.description)
    env = fiftyone_environment(place.root, session["uri"], session["database"]) | {
        SESSION: str(place.description)
    }
    command = [sys.executable, "-P", "-m", "curate.relabel.app", str(place.description)]
    return start_service(command, place.root / "app.log", ends_by=SIGKILL, env=env)


def _is_serving(place: Place, port: int) -> bool:
    if not place.ready.is_file() or not is_listening(port):
        return False
    direct = urllib.request.build_opener(
        urllib.request.ProxyHandler({})
    )  # no proxy of the environment knows this machine
    with (
        contextlib.suppress(OSError),
        direct.open(f"http://{HOST}:{port}/plugins", timeout=10) as answer,
    ):
        return PLUGIN.encode() in answer.read()
    return False


def end_leftovers(place: Place) -> None:
    """End what a killed session left running here: our mongod and our App's process, known by their arguments."""
    ours = {str(place.data), str(place.description)}
    left = [
        process
        for process in psutil.process_iter(["cmdline"])
        if ours & set(process.info["cmdline"] or [])
    ]
    left = [
        process
        for process in left
        if {"--dbpath", "curate.relabel.app"} & set(process.info["cmdline"])
    ]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    for process in psutil.wait_procs(left, timeout=10)[1]:
        with contextlib.suppress(psutil.Error):
            process.kill()
