"""The review in a browser: the acceptance checks of the panel, on drawn faces, in Chromium.

One session serves most of them, in the order of the file; `make test-browser` runs them.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import quantiles

import psutil
import pytest
from conftest import call_curate
from review_session import (
    PAIR,
    Panel,
    RunningSession,
    decided,
    draw_workspace,
    listening_addresses,
    open_panel,
    ranked,
    read_verdicts,
    start_session,
)

from curate.labels import VOCABULARY
from curate.workspace.journal.decisions import drop_undone
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.workspace import Workspace

pytestmark = pytest.mark.browser

FACES = 120
MISSING = 90  # place in the queue of the image whose file is removed


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("review")
    draw_workspace(root, FACES)
    return root


@pytest.fixture(scope="module")
def session(template: Path) -> RunningSession:
    """The session of most checks; another FiftyOne runs beside it, and one image is missing."""
    workspace = Workspace(template / "manifests")
    rows = workspace.read()
    rank = rows["issue_rank"].replace("", "0").astype(int)
    workspace.locate()(rows.loc[rank == MISSING, "path"].iloc[0]).unlink()
    with other_fiftyone(template):
        session = start_session(workspace)
        yield session
        if session.process.poll() is None:
            session.finish()


@pytest.fixture(scope="module")
def panel(session: RunningSession, browser) -> Panel:
    return open_panel(browser, session.address)


class other_fiftyone:  # noqa: N801
    """Another user's FiftyOne on this machine, with its own mongod and one dataset `other`."""

    script = """
import fiftyone as fo, time
sample = fo.Sample(filepath="/nowhere.png", label=fo.Classification(label="happy"))
fo.Dataset("other", persistent=True).add_sample(sample)
print("up", flush=True)
time.sleep(600)
"""

    def __init__(self, root: Path) -> None:
        theirs = {
            "DATABASE_DIR": str(root / "other-db"),
            "DO_NOT_TRACK": "true",
            "DATABASE_VALIDATION": "false",
        }
        self.env = {**os.environ, **{f"FIFTYONE_{name}": value for name, value in theirs.items()}}

    def __enter__(self) -> None:
        command = [sys.executable, "-c", self.script]
        self.process = subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "up\n"

    def __exit__(self, *_: object) -> None:
        started = [
            self.process.pid,
            *(child.pid for child in psutil.Process(self.process.pid).children(recursive=True)),
        ]
        for pid in started:
            os.kill(pid, signal.SIGTERM)
        self.process.wait(20)


def test_a_the_panel_is_up_within_a_minute_and_nothing_leaves_or_enters_the_machine(
    session, browser
):
    start = time.perf_counter()
    panel = open_panel(browser, session.address)
    assert session.seconds + time.perf_counter() - start < 60
    assert listening_addresses(list(session.services().values())) == {"127.0.0.1"}
    assert panel.foreign_requests  # the App asks for fonts and the like; all of it was blocked
    assert panel.text("count") == f"0 of {FACES + 1}"
    assert f"ssh -L {session.record.port}:127.0.0.1:" in session.log.read_text()
    panel.page.close()


def test_b_the_order_is_most_suspect_first(session, panel):
    seen = []
    for _ in range(5):
        seen.append(panel.path)
        panel.press("ArrowRight")
    assert seen == ranked(session.workspace)[:5]
    assert panel.text("count").startswith("0 of")
    panel.press(*["ArrowLeft"] * 5)


def test_c_each_key_is_in_the_journal_and_in_the_database_within_two_seconds(session, panel):
    rows = session.workspace.read().set_index("path")
    keys = ["a", "k", "d", "u", *"12345678"]
    for key in keys:
        path = panel.path
        given, suggested = rows.loc[path, ["given_label", "suggested_label"]]
        label = (
            {"a": suggested, "k": given, "d": "", "u": ""}.get(key)
            if key in "akdu"
            else VOCABULARY[int(key) - 1]
        )
        action = {"a": "relabel", "k": "keep", "d": "drop", "u": "unsure"}.get(
            key, "keep" if label == given else "relabel"
        )
        panel.press(key)
        assert panel.wait_saved(2) < 2
        assert read_verdicts(session.workspace)[-1] == (path, action, label)
        sample = session.samples().find_one({"path": path})
        assert (sample["decision"], sample["label"]["label"], sample["by"]) == (
            action,
            label or given,
            "R1",
        )
        assert panel.path != path
    assert panel.text("count") == f"{len(keys)} of {FACES + 1}"


def test_a_key_is_answered_within_400_ms_and_19_of_20_within_two_seconds(panel):
    """A quarter of the keys shows what a key costs: other tests on the machine only add to it.

    The bounds hold on a slow machine that runs four other tests; `benchmarks/relabel.py` measures
    the median and the tail on a machine that does nothing else.
    """
    seconds = []
    for _ in range(15):
        for key in ("u", "z"):
            panel.press(key)
            seconds.append(panel.wait_saved())
    quarter, tail = quantiles(seconds, n=4)[0], quantiles(seconds, n=20)[-1]
    assert (quarter < 0.4, tail < 2) == (True, True), sorted(seconds)


def test_e_undo_takes_back_and_keys_in_a_text_field_or_a_dialog_do_nothing(session, panel):
    path, before = panel.path, decided(session.workspace)
    panel.press("d")
    panel.wait_saved()
    panel.press("z")
    panel.wait_saved()
    assert panel.path == path
    assert decided(session.workspace) == before
    assert session.samples().find_one({"path": path})["decision"] == ""
    lines = len(session.workspace.read_journal())
    panel.page.evaluate(
        "document.body.append(Object.assign(document.createElement('input'), {id: 'typed'}))"
    )
    panel.page.focus("#typed")
    panel.press("5", "d", "k", "z")
    assert panel.page.input_value("#typed") == "5dkz"
    panel.page.evaluate("document.querySelector('#typed').remove()")
    panel.page.keyboard.press("Control+d")
    time.sleep(0.3)
    assert (len(session.workspace.read_journal()), panel.path) == (lines, path)


@pytest.mark.parametrize("writer", ["in the App", "in the journal"])
def test_f_another_writers_change_is_refused_shown_and_rolled_back(session, panel, writer):
    path = panel.path
    before = decided(session.workspace).get(path)
    if writer == "in the App":
        session.samples().update_one({"path": path}, {"$set": {"label.label": "contempt"}})
    else:
        result = call_curate(
            "decide", path, "--label", "contempt", "--by", "R2", "-w", session.workspace.root
        )
        assert result.exit_code == 0
    panel.press("k", "ArrowLeft")
    panel.wait_saved()
    assert "somebody else changed" in panel.text("refused")
    assert "contempt" in panel.text("refused")
    mine = [
        line
        for line in drop_undone(session.workspace.read_journal())
        if line.path == path and line.by == "R1"
    ]
    assert mine == []
    assert decided(session.workspace).get(path) == (
        before if writer == "in the App" else ("relabel", "contempt")
    )
    assert session.samples().find_one({"path": path})["label"]["label"] == "contempt"
    panel.press("g")
    assert panel.path == path
    assert "contempt" in panel.text("labels")
    panel.press("d")  # now that it has been seen, the decision counts
    panel.wait_saved()
    assert decided(session.workspace)[path] == ("drop", "")


def test_shift_decides_all_copies_of_the_image(session, panel):
    panel.go_to(PAIR[0])
    assert "1 copy of this image" in panel.text("copies")
    panel.press("Shift+Digit7")
    panel.wait_saved()
    assert [decided(session.workspace)[path] for path in PAIR] == [("relabel", "sad")] * 2
    panel.press("z")
    panel.wait_saved()
    assert not set(PAIR) & set(decided(session.workspace))


def test_of_copies_decided_together_the_one_that_another_has_decided_is_refused_alone(
    session, panel
):
    panel.go_to(PAIR[0])
    assert (
        call_curate(
            "decide", PAIR[1], "--drop", "--by", "R2", "-w", session.workspace.root
        ).exit_code
        == 0
    )
    panel.press("Shift+Digit7")
    panel.wait_saved()
    assert [decided(session.workspace)[path] for path in PAIR] == [
        ("relabel", "sad"),
        ("drop", ""),
    ]
    assert f"somebody else changed {PAIR[1]} meanwhile (now dropped, by R2)" in panel.text(
        "refused"
    )
    panel.press("g")
    assert (panel.path, "dropped" in panel.text("labels")) == (PAIR[1], True)
    panel.press("z")
    panel.wait_saved()
    assert [decided(session.workspace).get(path) for path in PAIR] == [None, ("drop", "")]


def test_j_a_missing_image_is_shown_as_missing_and_the_others_go_on(session, panel):
    gone = ranked(session.workspace)[MISSING - 1]
    panel.go_to(gone)
    panel.page.wait_for_selector(".c-frame.is-missing")
    assert "Image missing" in panel.text("frame")
    panel.press("ArrowRight")
    panel.page.wait_for_function("() => document.querySelector('.c-picture').naturalWidth > 0")
    assert panel.page.locator(".c-frame.is-missing").count() == 0
    assert "1 of 121 images are missing" in session.log.read_text()


def test_d_sixty_keys_typed_without_waiting_are_sixty_right_decisions(session, panel):
    order = ranked(session.workspace)
    rows = session.workspace.read().set_index("path")
    done = set(decided(session.workspace))
    wanted, keys = {}, []
    open_ones = [path for path in order if path not in done][:60]
    panel.go_to(open_ones[0])
    for k, path in enumerate(open_ones):
        key = "akd7"[k % 4]
        given, suggested = rows.loc[path, ["given_label", "suggested_label"]]
        set_sad = ("keep" if given == "sad" else "relabel", "sad")
        wanted[path] = {
            "a": ("relabel", suggested),
            "k": ("keep", given),
            "d": ("drop", ""),
            "7": set_sad,
        }[key]
        keys.append(key)
    panel.press(*keys)
    panel.wait_saved()
    assert len(wanted) == 60
    assert {path: decided(session.workspace).get(path) for path in wanted} == wanted


def test_l_two_images_selected_in_the_grid_and_one_button_change_both(session, panel):
    page = panel.page
    page.click("[data-cy=panel-tab-samples]")
    page.wait_for_selector("[data-cy=looker]")
    paths = ranked(session.workspace)[:2]
    for k in (0, 1):
        looker = page.locator("[data-cy=looker]").nth(k)
        looker.hover(position={"x": 20, "y": 20})
        looker.locator("[data-cy^='looker-checkbox-']").first.click()
    page.locator("[data-cy=fo-grid-actions]").get_by_text("Drop", exact=True).click()
    wait_until(lambda: all(decided(session.workspace).get(path) == ("drop", "") for path in paths))
    wait_until(
        lambda: session.samples().count_documents({"path": {"$in": paths}, "decision": "drop"}) == 2
    )
    batch = {line.batch for line in session.workspace.read_journal()[-2:]}
    assert len(batch) == 1
    page.locator("[data-cy=fo-grid-actions]").get_by_text("Set label…", exact=True).click()
    page.get_by_role("radio", name="contempt").click()
    page.get_by_role("button", name="Execute").click()
    wait_until(
        lambda: all(
            decided(session.workspace).get(path) == ("relabel", "contempt") for path in paths
        )
    )
    page.click("[data-cy=panel-tab-candidreview]")
    page.wait_for_selector("[data-candid=name]")


def test_k_another_fiftyone_with_other_data_does_not_mix_in(session):
    samples = session.samples()
    assert sorted(samples.database["datasets"].distinct("name")) == ["relabel"]
    assert samples.count_documents({}) == FACES + 1


def test_edits_in_the_app_s_own_tab_are_journaled_at_the_end_and_h_the_manifest_follows_the_journal(
    session, panel
):
    workspace = session.workspace
    before = workspace.manifest.read_bytes().splitlines()
    edited = next(path for path in reversed(ranked(workspace)) if path not in decided(workspace))
    session.samples().update_one({"path": edited}, {"$set": {"label.label": "contempt"}})
    panel.page.locator("[data-candid=key-finish]").click()
    panel.page.wait_for_selector("[data-candid=end]")
    assert session.wait() == 0
    assert "images decided in " in session.outcome
    assert "not recorded" not in session.outcome
    assert decided(workspace)[edited] == ("relabel", "contempt")
    decisions = decided(workspace)
    after = workspace.manifest.read_bytes().splitlines()
    changed = {
        new.decode().split(",")[0] for old, new in zip(before, after, strict=True) if old != new
    }
    assert changed <= set(decisions)
    rows = workspace.read()
    assert rows.equals(derive_verdicts(rows, workspace.read_journal()))
    for path, (action, label) in decisions.items():
        row = rows.set_index("path").loc[path]
        assert row["status"] == ("drop" if action == "drop" else "keep")
        assert row["label"] == (label or row["given_label"])
        assert (row["reason"] == "human") == (action != "unsure")
    journal = workspace.journal.read_bytes()
    again = start_session(workspace)
    assert again.finish() == 0
    assert workspace.manifest.read_bytes().splitlines() == after
    assert workspace.journal.read_bytes() == journal
    assert not again.files.database.exists()


def wait_until(claim, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.05)
