"""`curate relabel`: from the manifest to an open panel, and from the last key to the verdicts.

Records what a killed session left, starts the services and keeps them running. At Finish or Ctrl-C
it records the edits made in the App's own tabs and derives the verdicts. The decisions themselves
are in the journal from the moment their key was acknowledged.
"""

import contextlib
import os
import shutil
import signal
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from filelock import FileLock, Timeout

from curate.errors import CandidError, ServiceError, amount
from curate.fiftyone_host.private import make_private
from curate.fiftyone_host.processes import open_listener
from curate.files import ignore_sigint
from curate.relabel.app_labels import drop_database, open_app_labels
from curate.relabel.finish import record_app_edits, summarize_session, write_verdicts
from curate.relabel.prepare import RelabelOptions, draw_for_browser, prepare_session
from curate.relabel.services import (
    DatabaseAddress,
    Services,
    start_database,
    start_services,
)
from curate.relabel.session import Session, SessionFiles, read_session, session_files
from curate.relabel.session_journal import open_session_journal
from curate.result import Result
from curate.stderr import cannot_write
from curate.workspace.run import apply_journal
from curate.workspace.workspace import Workspace

POLL_SECONDS = 0.2  # between two checks of the Finish file and of the services

PrintLine = Callable[[str], None]


def relabel(
    workspace: Workspace,
    options: RelabelOptions,
    print_line: PrintLine,
    *,
    dry_run: bool = False,
) -> Result:
    """Open the panel and wait for Finish or Ctrl-C.

    Parameters
    ----------
    print_line : prints a line for the reviewer while the session runs

    Raises
    ------
    UsageError, ManifestError, JournalError  if no image is left to review or the journal is damaged
    ServiceError  if mongod or the App cannot run, or the reviewer has another session here
    WorkspaceError  if the images are missing, or another program changed the manifest
    """
    session, notes = prepare_session(workspace, options)
    for note in notes:
        print_line(f"relabel: {note}")
    if dry_run:
        return _summarize_queue(session)
    files = session_files(workspace, options.by)
    started = time.perf_counter()
    port = options.port
    with _lock_session(files, options.by), _end_as_interrupt(), open_listener(port) as listener:
        images = draw_for_browser(session.images, files.pictures)
        session = replace(session, images=images, port=listener.getsockname()[1])
        mongod, address = start_database(files)
        session = replace(session, uri=address.uri, database=address.database)
        try:
            _recover_killed_session(workspace, files, address, print_line)
            at_start = apply_journal(workspace)
            services = start_services(files, session, mongod, listener)
            _print_address(services, time.perf_counter() - started, print_line)
            if options.opens_browser and _has_screen():
                webbrowser.open(files.way_in.as_uri())
            missed_edits = _serve(services)
        finally:
            if mongod:
                mongod.stop()
        _remove_session(services)
        seconds = time.perf_counter() - started
        result = summarize_session(workspace.read_journal(), session.batch, seconds, missed_edits)
        try:
            write_verdicts(workspace, at_start)
        except CandidError:
            print_line(result.summary)
            raise
    return result


def _summarize_queue(session: Session) -> Result:
    counts = _count_queue(session)
    summary = f"relabel: {amount(counts['images'], 'image')}, {counts['decided']:,} decided"
    return Result(f"{summary}; the first to review: {counts['first']}", counts=counts)


def _count_queue(session: Session) -> dict[str, Any]:
    states = open_session_journal(session).states()
    undecided = [row.path for row in session.queue if not states[row.path].is_done]
    return {
        "images": len(session.queue),
        "decided": len(session.queue) - len(undecided),
        "first": undecided[0] if undecided else "none left",
    }


@contextlib.contextmanager
def _lock_session(files: SessionFiles, by: str) -> Iterator[None]:
    """Hold the reviewer's lock: each reviewer has one session at a time."""
    try:
        make_private(files.folder)
        held = FileLock(files.lock, timeout=0).acquire()
    except Timeout as error:
        raise ServiceError(
            f"{by} is reviewing here already: finish that session, or name another reviewer with "
            "--by NAME"
        ) from error
    except OSError as error:
        raise cannot_write(files.folder, error) from error
    with held:
        yield


@contextlib.contextmanager
def _end_as_interrupt() -> Iterator[None]:
    """Let a closed terminal or `kill` end a session in order, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can handle signals
        return

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    # `nohup` ignores a closed terminal: that stays so.
    handled = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, interrupt) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _recover_killed_session(
    workspace: Workspace, files: SessionFiles, address: DatabaseAddress, print_line: PrintLine
) -> None:
    """Record the edits made in the App before the last session was killed.

    Its keys need no recovery: they are in the journal.
    """
    if not files.ready.is_file() or not files.record.is_file():
        return
    killed = replace(
        read_session(files.record),
        journal=workspace.journal.absolute(),  # the workspace may have been moved since
        ready=files.ready,
        uri=address.uri,
        database=address.database,
    )
    recorded, missed = record_app_edits(open_app_labels(killed), killed)
    print_line(
        f"relabel: the last session was killed; {recorded} edits of the App recorded, {missed} not"
    )


def _print_address(services: Services, seconds: float, print_line: PrintLine) -> None:
    counts, port = _count_queue(services.session), services.session.port
    images = f"{amount(counts['images'], 'image')}, {counts['decided']:,} decided"
    print_line(f"relabel: {images}, ready in {seconds:.1f} s")
    print_line(f"  open    {services.address}")
    tunnel = f"ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}"
    print_line(f"  remote  {tunnel}   and open the same address there")
    print_line("  end     the panel's Finish, or Ctrl-C here")


def _has_screen() -> bool:
    """Whether a graphical browser can open; without one, Linux opens one in the terminal."""
    displays = {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    return not sys.platform.startswith("linux") or bool(displays)


def _serve(services: Services) -> int:
    """Wait for Finish or Ctrl-C, then record the edits made in the App.

    Returns
    -------
    how many edits were not recorded
    """

    def record_edits() -> tuple[int, int]:
        if not services.files.ready.is_file():
            return 0, 0  # recorded before the App's process was started again, which still loads
        return record_app_edits(open_app_labels(services.session), services.session)

    try:
        while not services.files.finish.exists():
            time.sleep(POLL_SECONDS)
            services.keep_alive(before_app=record_edits)
    except KeyboardInterrupt:
        pass
    finally:
        services.stop_app()
    with ignore_sigint():
        services.keep_database()
        _, missed = record_edits()
    return missed


def _remove_session(services: Services) -> None:
    """Remove the App's copy, which the journal and the manifest hold too.

    A killed session leaves its copy for the next session.
    """
    files, session = services.files, services.session
    if services.mongod is None:
        drop_database(session.uri, session.database)
    shutil.rmtree(files.database, ignore_errors=True)
    for file in (files.ready, files.finish, files.record, files.key, files.way_in):
        file.unlink(missing_ok=True)
