"""Kill the parts of a session during a burst of keys, and check what must hold afterwards."""

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psutil
from review_session import Panel, RunningSession, open_browser, open_panel, start_session

from curate.workspace.journal.decisions import drop_undone, session_of, undo_batch
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.run import record_decisions
from curate.workspace.workspace import Workspace

BURST = 24  # keys
# The page logs the batch of each save that was answered: the log reaches us even if the page is
# killed a moment later.
LOG_ACKNOWLEDGED = """
const send = window.fetch;
window.fetch = async (url, options) => {
  const answer = await send(url, options);
  const isOperator = String(url).includes("/operators/execute");
  if (isOperator && String(options?.body).includes("review_decide") && answer.ok)
    answer.clone().json().then(({ result }) => {
      if (result && !result.refused.length) console.log("ACK " + result.batch);
    });
  return answer;
};
"""


class Burst:
    """A browser of its own that types, and the batches that were acknowledged to it."""

    def __init__(self, browser: Any, address: str) -> None:
        self.acknowledged: list[str] = []
        self.panel: Panel = open_panel(browser, address, script=LOG_ACKNOWLEDGED)
        self.panel.page.on("console", self._read_log)

    def _read_log(self, message: Any) -> None:
        if message.text.startswith("ACK "):
            self.acknowledged.append(message.text.removeprefix("ACK "))

    def type_and_kill(self, pid: int, after: int) -> None:
        """Half of the keys, the kill once `after` were acknowledged, the other half."""
        half = "dk71" * (BURST // 8)
        self.panel.press(*half)
        while len(self.acknowledged) < after:
            self.panel.page.wait_for_timeout(1)
        assert self.panel.text("saved") != "all saved", "the burst was over before the kill"
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(Exception):  # a browser that was killed types no more
            self.panel.press(*half)
            self.panel.page.wait_for_timeout(300)


def kill_mongod(session: RunningSession, after: int) -> int:
    """mongod dies and is restarted; every key arrives. Returns how many were acknowledged."""
    with open_browser() as browser:
        burst = Burst(browser, session.address)
        burst.type_and_kill(session.services()["mongod"].pid, after)
        burst.panel.wait_saved(30)
        burst.panel.page.wait_for_timeout(200)
    assert len(burst.acknowledged) == BURST
    check_nothing_lost(session, burst.acknowledged)
    return len(burst.acknowledged)


def kill_browser(session: RunningSession, after: int) -> int:
    """The browser dies; all that was acknowledged is recorded. Returns how many were."""
    with contextlib.suppress(Exception), open_browser() as browser:
        burst = Burst(browser, session.address)
        burst.type_and_kill(_browsers()[-1], after)
    time.sleep(0.5)  # a save on its way may still arrive
    check_nothing_lost(session, burst.acknowledged)
    return len(burst.acknowledged)


def kill_command(session: RunningSession, after: int) -> tuple[int, RunningSession]:
    """The command dies and its services with it; a new session finds everything.

    Returns how many were acknowledged, and the new session.
    """
    services = list(session.services().values())
    with open_browser() as browser:
        burst = Burst(browser, session.address)
        burst.type_and_kill(session.process.pid, after)
    session.process.wait()
    assert psutil.wait_procs(services, timeout=15)[1] == [], "a service outlived the command"
    again = start_session(session.workspace, by=session.by)
    check_nothing_lost(again, burst.acknowledged)
    return len(burst.acknowledged), again


def check_nothing_lost(session: RunningSession, acknowledged: list[str]) -> None:
    """Each acknowledged save is one line of the journal, and the App's copy follows the journal."""
    journal = session.workspace.read_journal()
    times = Counter(
        (line.batch, line.path) for line in journal if line.action not in ("undo", "refused")
    )
    assert set(times.values()) == {1}, "a decision was applied twice"
    missing = set(acknowledged) - {batch for batch, _ in times}
    assert not missing, f"{len(missing)} acknowledged decisions are lost"
    labels = derive_verdicts(session.workspace.read(), journal).set_index("path")["label"]
    current = {line.path: (line.batch, line.action) for line in drop_undone(journal)}
    for sample in session.samples().find():
        assert (sample["batch"], sample["decision"]) == current.get(sample["path"], ("", ""))
        if sample["decision"]:
            assert sample["label"]["label"] == labels[sample["path"]]


def _browsers() -> list[int]:
    """The main processes of the browsers that this process started."""
    return [
        child.pid
        for child in psutil.Process().children(recursive=True)
        if "chrom" in child.name()
        and not any(word.startswith("--type=") for word in child.cmdline())
    ]


def run_kills(workspace: Workspace, rounds: int) -> Iterator[dict[str, int]]:
    """Kill each part once a round; yields the acknowledged saves by what was killed."""
    for number in range(rounds):
        after = 1 + number % 8
        session = start_session(workspace)
        counts = {"mongod": kill_mongod(session, after), "browser": kill_browser(session, after)}
        counts["curate relabel"], session = kill_command(session, after)
        assert session.finish() == 0
        yield counts
        # All images are undecided again.
        decided = drop_undone(workspace.read_journal())
        for batch in sorted({session_of(line.batch) for line in decided}):
            undo = undo_batch(workspace.read_journal(), batch, by="R1")
            record_decisions(workspace, undo)


def kill_app(session: RunningSession) -> None:
    """The App's process dies; returns once the command has started another."""
    old = session.services()["app"]
    old.send_signal(signal.SIGKILL)
    old.wait(10)
    while session.services().get("app", old).pid == old.pid:
        time.sleep(0.05)
