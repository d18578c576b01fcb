"""A session: from the manifest to an open panel, and from the last key to the verdicts.

`relabel` applies what a killed session left, starts the services, keeps them alive, and at Finish or Ctrl-C takes in edits
made in the App's own tabs and derives the verdicts. The decisions themselves are in the journal from the moment each key
was acknowledged.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from filelock import FileLock, Timeout

from curate.errors import CandidError, ServiceError
from curate.files import cannot_write, ignore_sigint
from curate.relabel.app_labels import Database, drop_database, open_database
from curate.relabel.finish import summarize_session, take_in_edits, write_verdicts
from curate.relabel.save import open_session_journal, read_session
from curate.relabel.services import Services, choose_port, start_database, start_services
from curate.relabel.session import Options, Place, describe_session, draw_for_browser, place_of
from curate.result import Result
from curate.workspace.workspace import Workspace, apply_journal

LOOK_SECONDS = 0.2  # between two looks at Finish and at the services

Announce = Callable[[str], None]


def relabel(
    workspace: Workspace, options: Options, announce: Announce, *, dry_run: bool = False
) -> Result:
    """Open the panel and stay until Finish or Ctrl-C.

    Raises
    ------
    UsageError, ManifestError, JournalError  if there is nothing to look at or the journal cannot be read
    ServiceError  if mongod or the App cannot run
    WorkspaceError  if the images are gone, the reviewer already sits here, or the manifest was changed by another program
    """
    description, notes = describe_session(
        workspace, workspace.read(), workspace.read_journal(), options
    )
    for note in notes:
        announce(f"relabel: {note}")
    if dry_run:
        return _summarize_queue(description)
    place = place_of(workspace, options.by)
    with _sit_down(place, options.by), _end_as_interrupt():
        started = time.perf_counter()
        draw_for_browser(place, description)
        description["port"] = choose_port(options.port)
        mongod, reach = start_database(place)
        try:
            _take_in_leftovers(place, reach, announce)
            launch = apply_journal(workspace)
            services = start_services(place, description | reach, mongod)
            _announce_panel(services, time.perf_counter() - started, announce)
            if options.opens_browser and _has_screen():
                webbrowser.open(services.address)
            missed = _stay(services)
        finally:
            if mongod:
                mongod.stop()
        _forget(place, services)
        result = summarize_session(
            workspace.read_journal(), description["batch"], time.perf_counter() - started, missed
        )
        try:
            write_verdicts(workspace, launch)
        except CandidError:
            announce(result.summary)
            raise
    return result


def _summarize_queue(description: dict[str, Any]) -> Result:
    states = open_session_journal(description).states()
    queue = [row["path"] for row in description["queue"]]
    done = sum(states[path].is_done for path in queue)
    first = next((path for path in queue if not states[path].is_done), "none left")
    summary = f"relabel: {len(queue):,} images, {done:,} decided; the first to look at: {first}"
    return Result(summary, counts={"images": len(queue), "decided": done, "first": first})


@contextlib.contextmanager
def _sit_down(place: Place, by: str) -> Iterator[None]:
    """One session a reviewer at a time."""
    try:
        place.root.mkdir(
            mode=0o700, parents=True, exist_ok=True
        )  # a database's address may hold a password
        held = FileLock(place.root / ".lock", timeout=0).acquire()
    except Timeout as error:
        raise ServiceError(
            f"{by} is reviewing here already: finish that, or say who you are with --by NAME"
        ) from error
    except OSError as error:
        raise cannot_write(place.root, error) from error
    with held:
        yield


@contextlib.contextmanager
def _end_as_interrupt() -> Iterator[None]:
    """A closed terminal or `kill` ends a session as Ctrl-C does: in order."""
    if (
        threading.current_thread() is not threading.main_thread()
    ):  # only there can signals be handled
        yield
        return

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    heard = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {
        number: signal.signal(number, interrupt) for number in heard
    }  # `nohup` stays deaf to a closed terminal
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _take_in_leftovers(place: Place, reach: dict[str, str], announce: Announce) -> None:
    """What was edited in the App when the last session was killed; its keys are in the journal anyway."""
    if not place.ready.is_file() or not place.description.is_file():
        return
    session = read_session(place.description)
    taken, missed = take_in_edits(_open(place, reach), session)
    announce(
        f"relabel: the last session was cut off; {taken} edits of the App taken in, {missed} not"
    )


def _open(place: Place, reach: Mapping[str, str]) -> Database:
    collection = json.loads(place.ready.read_bytes())["collection"]
    return open_database(reach["uri"], reach["database"], collection)


def _announce_panel(services: Services, seconds: float, announce: Announce) -> None:
    description = services.description
    port, host = description["port"], socket.gethostname()
    told = _summarize_queue(description).counts
    announce(
        f"relabel: {told['images']:,} images, {told['decided']:,} decided, ready in {seconds:.1f} s"
    )
    announce(f"  open    {services.address}")
    announce(f"  remote  ssh -L {port}:127.0.0.1:{port} {host}   and open the same address there")
    announce("  end     the panel's Finish, or Ctrl-C here")


def _has_screen() -> bool:
    """Without one, Linux would open a browser that takes the terminal over."""
    return not sys.platform.startswith("linux") or bool(
        {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    )


def _stay(services: Services) -> int:
    """Wait for the end; returns how many edits of the App could not be taken in."""

    def take_in() -> tuple[int, int]:
        return take_in_edits(_open(services.place, services.description), services.description)

    try:
        while not services.place.finish.exists():
            time.sleep(LOOK_SECONDS)
            services.keep_alive(before_app=take_in)
    except KeyboardInterrupt:
        pass
    finally:
        services.stop_app()
    with ignore_sigint():
        services.keep_database()
        return take_in()[1]


def _forget(place: Place, services: Services) -> None:
    """Remove the App's copy, which the journal and the manifest hold too; a killed session leaves its for the next."""
    if services.mongod is None:
        drop_database(services.description["uri"], services.description["database"])
    shutil.rmtree(place.data, ignore_errors=True)
    for file in (place.ready, place.finish, place.description):
        file.unlink(missing_ok=True)
