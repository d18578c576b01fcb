"""The two services of a session, mongod and the App's process: started, kept running, stopped."""

import contextlib
import html
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from signal import SIGKILL

import psutil

from curate.errors import ServiceError
from curate.fiftyone_host.environment import fiftyone_environment, require_fiftyone
from curate.fiftyone_host.mongod import Mongod, find_mongod, start_mongod
from curate.fiftyone_host.private import write_private
from curate.fiftyone_host.processes import last_line, start_service, stop_process
from curate.relabel.app_labels import repair_counts, require_server
from curate.relabel.guard import Pass
from curate.relabel.save import SESSION
from curate.relabel.session import Session, SessionFiles, write_session

PLUGINS = Path(__file__).parent / "plugins"
PLUGIN = "@candid/review"
START_SECONDS = 90.0  # ten on two idle cores
STOP_SECONDS = 5.0
MOST_RESTARTS = 5


@dataclass
class Services:
    """The running services.

    Attributes
    ----------
    mongod : None if FIFTYONE_DATABASE_URI names the user's server
    listener : the socket of the App, ours while its process is started again
    address : the URL of the panel, with the key of the session
    """

    files: SessionFiles
    session: Session
    mongod: Mongod | None
    listener: socket.socket
    address: str
    app: "subprocess.Popen[bytes]"
    restarts: int = 0

    def keep_alive(self, before_app: Callable[[], object]) -> None:
        """Restart the services that have died.

        Parameters
        ----------
        before_app : called before a new App process loads the images again

        Raises
        ------
        ServiceError  after more than `MOST_RESTARTS` restarts
        """
        self.keep_database()
        if self.app.poll() is not None:
            self._count_restart("the App's process")
            before_app()
            self.files.ready.unlink(missing_ok=True)
            self.app = _start_app(self.files, self.session, self.listener)

    def keep_database(self) -> None:
        """Restart mongod if it has died; the App's process connects again by itself."""
        if self.mongod and not self.mongod.is_running:
            self._count_restart("mongod")
            self.mongod.restart()
            repair_counts(self.session.uri, self.session.database)

    def _count_restart(self, service: str) -> None:
        self.restarts += 1
        if self.restarts > MOST_RESTARTS:
            raise ServiceError(
                f"{service} dies again and again: see {self.files.log}; every saved decision is "
                "safe"
            )

    def stop_app(self) -> None:
        """Stop the App's process: no key is accepted from now on."""
        stop_process(self.app, STOP_SECONDS)
        self.listener.close()

    def stop(self) -> None:
        """Stop both."""
        self.stop_app()
        if self.mongod:
            self.mongod.stop()


@dataclass(frozen=True)
class DatabaseAddress:
    """A MongoDB server and the database in it."""

    uri: str
    database: str


def start_database(files: SessionFiles) -> tuple[Mongod | None, DatabaseAddress]:
    """Start mongod, unless FIFTYONE_DATABASE_URI names a server of the user's.

    Raises
    ------
    ServiceError  if no mongod runs here, the user's does not answer, or FiftyOne is not installed
    """
    require_fiftyone()
    stop_leftovers(files)
    if uri := os.environ.get("FIFTYONE_DATABASE_URI"):
        require_server(uri)
        # A database of its own, beside the user's datasets.
        name = f"candid-{sha256(str(files.folder).encode()).hexdigest()[:12]}"
        return None, DatabaseAddress(uri, name)
    mongod = start_mongod(find_mongod(os.environ), files.database)
    return mongod, DatabaseAddress(mongod.uri, "fiftyone")


def start_services(
    files: SessionFiles, session: Session, mongod: Mongod | None, listener: socket.socket
) -> Services:
    """Start the App's process with a new key and wait until it serves our panel.

    Parameters
    ----------
    listener : the socket of the session's port

    Raises
    ------
    ServiceError  if it does not start, with the last line of its log
    """
    for file in (files.ready, files.finish):
        file.unlink(missing_ok=True)
    write_session(files.record, session)
    holder = Pass(secrets.token_urlsafe(24), session.port, frozenset())
    write_private(files.key, holder.key.encode())
    write_private(files.way_in, _format_way_in(holder.address).encode())
    app = _start_app(files, session, listener)
    services = Services(files, session, mongod, listener, holder.address, app)
    deadline = time.monotonic() + START_SECONDS
    try:
        while not _is_serving(files, holder):
            if services.app.poll() is not None or time.monotonic() > deadline:
                raise ServiceError(
                    f"FiftyOne's App does not start ({last_line(files.log)}): see {files.log}"
                )
            time.sleep(0.1)
    except BaseException:  # Ctrl-C too
        services.stop()
        raise
    return services


def _format_way_in(address: str) -> str:
    """A page that leads to the address: an argument of the browser's process is for all to see."""
    goal = html.escape(f"0; url={address}")
    head = '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
    return f'{head}<meta http-equiv="refresh" content="{goal}">\n'


def _start_app(
    files: SessionFiles, session: Session, listener: socket.socket
) -> "subprocess.Popen[bytes]":
    env = fiftyone_environment(files.folder, session.uri, session.database, plugins=PLUGINS)
    arguments = [str(files.record), str(listener.fileno())]
    return start_service(
        [sys.executable, "-P", "-m", "curate.relabel.app", *arguments],
        files.log,
        ends_by=SIGKILL,
        env=env | {SESSION: str(files.record)},
        listener=listener,
    )


def _is_serving(files: SessionFiles, holder: Pass) -> bool:
    if not files.ready.is_file():
        return False
    # No proxy of the environment reaches this machine's own address.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    cookie = {"Cookie": f"{holder.cookie}={holder.key}"}
    request = urllib.request.Request(f"http://{holder.host}/plugins", headers=cookie)
    with contextlib.suppress(OSError), direct.open(request, timeout=5) as answer:
        return PLUGIN.encode() in answer.read()
    return False


def stop_leftovers(files: SessionFiles) -> None:
    """Stop the mongod and the App's process of a killed session, recognised by their arguments."""
    left = [
        process
        for process in psutil.process_iter(["cmdline", "uids"])
        if process.info["uids"]
        and process.info["uids"].effective == os.geteuid()  # not of others who copy the arguments
        and _is_leftover(set(process.info["cmdline"] or []), files)
    ]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    for process in psutil.wait_procs(left, timeout=10)[1]:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _is_leftover(arguments: set[str], files: SessionFiles) -> bool:
    is_ours = arguments & {str(files.database), str(files.record)}
    return bool(is_ours and arguments & {"--dbpath", "curate.relabel.app"})
