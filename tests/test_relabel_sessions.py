"""The review in a browser: sessions that start or end unlike those of `test_relabel_browser.py`."""

import pytest
from conftest import call_curate
from review_session import decided, draw_workspace, open_panel, ranked, start_session

from curate.workspace.workspace import Workspace

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return draw_workspace(tmp_path_factory.mktemp("review"), faces=40)


def test_i_a_manifest_that_was_changed_meanwhile_is_not_overwritten_and_a_restart_resumes(
    workspace, browser
):
    assert (
        call_curate(
            "decide", ranked(workspace)[0], "--keep", "--by", "R1", "-w", workspace.root
        ).exit_code
        == 0
    )
    open_ones = [path for path in ranked(workspace) if path not in decided(workspace)]
    session = start_session(workspace)
    panel = open_panel(browser, session.address)
    assert panel.path == open_ones[0]  # the first undecided
    panel.press("d")
    panel.wait_saved()
    panel.page.close()
    rows = workspace.read()
    text = workspace.manifest.read_text().replace(
        f"{rows['self_confidence'].iloc[0]},", "0.123456,"
    )
    workspace.manifest.write_text(text)
    assert session.finish() == 1
    assert "was changed by another program" in session.outcome
    assert workspace.manifest.read_text() == text
    assert decided(workspace)[open_ones[0]] == ("drop", "")


def test_a_blind_reviewer_sees_no_opinion_and_begins_anew(workspace, browser):
    session = start_session(workspace, "--blind", by="R3")
    panel = open_panel(browser, session.address)
    assert panel.text("count").startswith("0 of ")
    assert "suggested" not in panel.text("labels")
    assert "%" not in panel.text("labels") + panel.text("classes")
    lines = len(workspace.read_journal())
    panel.press("a")
    assert panel.text("notice") == "No suggestion in a blind review"
    panel.press("k")
    panel.wait_saved()
    assert [line.by for line in workspace.read_journal()[lines:]] == ["R3"]
    panel.page.close()
    assert session.finish() == 0
