"""For tests and the benchmark of the review: a running `curate relabel`, a browser on its panel."""

import atexit
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pymongo
from conftest import call_curate, predict

from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from curate.fiftyone_host.mongod import find_mongod
from curate.images.decode import encode_png
from curate.relabel.session import Session, SessionFiles, read_session, session_files
from curate.workspace.journal.decisions import drop_undone
from curate.workspace.workspace import Workspace

CHROMIUM = os.environ.get("CANDID_CHROMIUM", "/usr/bin/chromium")
INSTALL = "`sudo apt-get install chromium` (Debian), or name one with CANDID_CHROMIUM"
CHROMIUM_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    "--disable-sync",
)
START_SECONDS = 120
PAIR = ["faces/angry/000.png", "faces/fear/conflict.png"]
"""Two copies of one image under two labels; the predictions suggest disgust for both."""


def draw_workspace(root: Path, faces: int) -> Workspace:
    """A flagged workspace of drawn faces in `root`, each label with its own self-confidence.

    Two of the faces are the copies of `PAIR`.
    """
    for k in range(faces):
        name = EXPRESSIONS[k % 7]
        file = root / "faces" / name / f"{k:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode_png(draw_face(name, identity=k % 30, seed=k)))
    shutil.copy(*(root / name for name in PAIR))
    workspace = Workspace(root / "manifests")
    for words in (("build", root / "faces", "-j", 1), ("dedup", "-j", 1), ("fold", "--k", 3)):
        assert call_curate(*words, "-w", workspace.root).exit_code == 0
    predict_another_class(workspace)
    assert call_curate("flag", "-w", workspace.root).exit_code == 0
    return workspace


def predict_another_class(workspace: Workspace) -> None:
    """Predict the next class, surer and surer: the queue holds all images in a known order."""
    table = pd.read_csv(predict(workspace))
    given = workspace.read().query("fold != ''")["given_label"]
    columns = [name for name in table.columns if name.startswith("p_")]
    classes = [name.removeprefix("p_") for name in columns]
    own = given.map(classes.index).to_numpy()
    is_pair = table["path"].isin(PAIR).to_numpy()
    predicted = np.where(is_pair, classes.index("disgust"), (own + 1) % len(columns))
    sureness = np.linspace(0, 0.18, len(own))
    sureness[is_pair] = 0.18
    rows = np.arange(len(own))
    probs = np.full((len(own), len(columns)), 0.1 / (len(columns) - 2))
    probs[rows, own] = 0.25 - sureness
    probs[rows, predicted] = 0.65 + sureness
    table[columns] = probs
    table.to_csv(workspace.predictions / "net.csv", index=False)


def ranked(workspace: Workspace) -> list[str]:
    """The queue: the images with a suggestion, most suspect first."""
    rows = workspace.read()
    flagged = rows[rows["suggested_label"] != ""]
    return list(flagged.loc[flagged["issue_rank"].astype(int).sort_values().index, "path"])


def decided(workspace: Workspace) -> dict[str, tuple[str, str]]:
    """Path -> (action, label) of the current decision."""
    return {line.path: (line.action, line.label) for line in drop_undone(workspace.read_journal())}


@dataclass
class RunningSession:
    """A running `curate relabel`, and its output once it has ended."""

    workspace: Workspace
    by: str
    log: Path
    process: "subprocess.Popen[bytes]"
    address: str = ""
    seconds: float = 0.0
    outcome: str = field(default="", init=False)

    @property
    def files(self) -> SessionFiles:
        return session_files(self.workspace, self.by)

    @property
    def record(self) -> Session:
        return read_session(self.files.record)

    def services(self) -> dict[str, psutil.Process]:
        """mongod and the App's process, by name."""
        children = psutil.Process(self.process.pid).children()
        return {"mongod" if "--dbpath" in child.cmdline() else "app": child for child in children}

    def samples(self) -> "pymongo.collection.Collection[dict[str, Any]]":
        """The App's copy, to read or to write as another program would."""
        record = self.record
        collection = json.loads(self.files.ready.read_bytes())["collection"]
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(record.uri)
        return client[record.database][collection]

    def finish(self, how: signal.Signals = signal.SIGINT) -> int:
        """End it with a signal, as Ctrl-C does; returns the exit code."""
        self.process.send_signal(how)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(START_SECONDS)
        self.outcome = self.log.read_text()
        return code


def start_session(
    workspace: Workspace, *options: object, by: str = "R1", env: Mapping[str, str] | None = None
) -> RunningSession:
    """Run the command until it prints the panel's address.

    Raises
    ------
    AssertionError  with its output if it ends before or takes longer than `START_SECONDS`
    """
    log = workspace.root / f"relabel-{by}.log"
    words = ("relabel", "--no-browser", "--by", by, "-w", workspace.root, *options)
    command = [sys.executable, "-m", "curate", *map(str, words)]
    start = time.perf_counter()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            stdout=stream,
            stderr=stream,
            env={**os.environ, **(env or {})},
            # In the background of a shell Ctrl-C is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    atexit.register(process.kill)  # a test that fails leaves nothing running
    session = RunningSession(workspace, by, log, process)
    while not session.address:
        text = log.read_text()
        assert process.poll() is None, text
        assert time.perf_counter() - start < START_SECONDS, text
        found = re.search(r"^  open +(\S+)", text, flags=re.MULTILINE)
        session.address = found[1] if found else ""
        time.sleep(0.05)
    session.seconds = time.perf_counter() - start
    return session


@contextmanager
def users_mongod(folder: Path, *options: str) -> Iterator[int]:
    """A mongod as a user starts one, on a port of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [str(find_mongod(os.environ)), "--dbpath", str(folder), "--port", str(port), *options]
    command += ["--bind_ip", "127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        pymongo.MongoClient(f"mongodb://127.0.0.1:{port}/").admin.command("ping")
        yield port
    finally:
        process.terminate()
        process.wait(30)


@dataclass
class Panel:
    """The panel as a person sees it."""

    page: Any
    foreign_requests: list[str] = field(default_factory=list)

    def text(self, name: str) -> str:
        return str(self.page.locator(f"[data-candid={name}]").inner_text())

    @property
    def path(self) -> str:
        """The image that is shown."""
        return str(self.page.locator(".c-main").get_attribute("data-path"))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def go_to(self, path: str) -> None:
        """Walk there by the arrows."""
        for key in ("ArrowLeft", "ArrowRight"):
            for _ in range(2000):
                before = self.text("name")
                if self.path == path:
                    return
                self.press(key)
                if self.text("name") == before:
                    break
        raise AssertionError(f"{path} is not in the queue")

    def wait_saved(self, seconds: float = 20) -> float:
        """Seconds until the panel shows that everything is saved."""
        start = time.perf_counter()
        self.page.wait_for_function(
            "() => document.querySelector('[data-candid=saved]')?.textContent === 'all saved'",
            timeout=1000 * seconds,
            polling=5,
        )
        return time.perf_counter() - start


@contextmanager
def open_browser(*options: str) -> Iterator[Any]:
    """Headless Chromium; without one an AssertionError with the way to install it."""
    from playwright.sync_api import sync_playwright

    assert Path(CHROMIUM).is_file(), f"{CHROMIUM}: no browser here: {INSTALL}"
    with sync_playwright() as playwright:
        arguments = [*CHROMIUM_OPTIONS, *options]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def open_panel(
    browser: Any, address: str, *, script: str = "", width: int = 1800, height: int = 1000
) -> Panel:
    """A new page with the panel; each request that leaves this machine is blocked and noted."""
    page = browser.new_page(viewport={"width": width, "height": height})
    panel = Panel(page)

    def refuse(route: Any) -> None:
        panel.foreign_requests.append(route.request.url)
        route.abort()

    page.route(re.compile(r"^(?!http://127\.0\.0\.1:|data:|blob:|file:)"), refuse)
    page.add_init_script("localStorage.setItem('fiftyone-enterprise-tooltip-seen', 'true')")
    if script:
        page.add_init_script(script)
    page.goto(address)
    page.wait_for_selector("[data-candid=name]", timeout=1000 * START_SECONDS)
    page.wait_for_function(
        "() => { const i = document.querySelector('.c-picture'); return i.complete }"
    )
    return panel


def read_verdicts(workspace: Workspace, since: int = 0) -> list[tuple[str, str, str]]:
    """(path, action, label) of each line of the journal, from line `since` on."""
    return [(line.path, line.action, line.label) for line in workspace.read_journal()[since:]]


def listening_addresses(processes: Sequence[psutil.Process]) -> set[str]:
    """The addresses on which the processes listen."""
    return {
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
