"""Verdicts that another reviewer, another file or another program must not change."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Curate
from PIL import Image
from tables import make_manifest

from curate.errors import JournalError
from curate.relabel.queue import Selection, choose_rows
from curate.relabel.save import require_valid_requests
from curate.relabel.session import Image as Picture
from curate.relabel.session import is_changed, session_files
from curate.relabel.session_journal import DecisionRequest, SessionJournal
from curate.review.reviewers import disagreements
from curate.workspace.journal.decisions import Decision
from curate.workspace.journal.file import append_decisions, read_journal
from curate.workspace.journal.verdicts import current_decisions, derive_verdicts
from curate.workspace.manifest import find_contradictions
from curate.workspace.workspace import Workspace

ROWS = make_manifest([{"given_label": "sad"} for _ in range(3)])
PATH, SHA256 = ROWS["path"][0], ROWS["sha256"][0]


def line(by: str, action: str, label: str = "", **values: str) -> Decision:
    place = {"path": PATH, "sha256": SHA256, **values}
    return Decision(
        f"{by}-{action}-{label}", by, "2026-01-01T00:00:00+00:00", action, label=label, **place
    )


def verdict_of(journal: list[Decision]) -> tuple[str, str, str]:
    row = derive_verdicts(ROWS, journal).set_index("path").loc[PATH]
    return row["label"], row["status"], row["reason"]


# Unsure withdraws the own verdict alone


@pytest.mark.parametrize(
    ("journal", "verdict"),
    [
        ([line("a", "relabel", "fear"), line("b", "unsure")], ("fear", "keep", "human")),
        ([line("a", "drop"), line("b", "unsure")], ("sad", "drop", "human")),
        ([line("a", "relabel", "fear"), line("a", "unsure")], ("sad", "keep", "")),
        ([line("a", "relabel", "fear"), line("b", "relabel", "happy"), line("b", "unsure")],
         ("fear", "keep", "human")),
        ([line("a", "relabel", "fear"), line("b", "unsure"), line("a", "unsure")],
         ("sad", "keep", "")),
        ([line("consensus:fast", "relabel", "fear"), line("b", "unsure")],
         ("fear", "keep", "human")),
        ([line("machine:fast", "relabel", "fear", expected="sad"), line("b", "unsure")],
         ("sad", "keep", "")),
    ],
)  # fmt: skip
def test_unsure_withdraws_the_verdict_of_its_reviewer_alone(
    journal: list[Decision], verdict: tuple[str, str, str]
) -> None:
    assert verdict_of(journal) == verdict
    assert disagreements(ROWS, journal) == {}


# A decision about one of two equal files


def test_a_decision_does_not_jump_to_an_equal_file_when_its_own_is_deleted(
    curate: Curate, tmp_path: Path
) -> None:
    folder, workspace = tmp_path / "faces", Workspace(tmp_path / "ws")
    pixels = np.random.default_rng(0).integers(0, 255, (2, 16, 16), np.uint8)
    for number, name in enumerate(("happy/0.png", "sad/1.png")):
        (folder / name).parent.mkdir(parents=True)
        Image.fromarray(pixels[number]).save(folder / name)
    shutil.copy(folder / "happy" / "0.png", folder / "sad" / "twin.png")
    assert curate("build", folder, "-w", workspace.root, "-j", 1).exit_code == 0
    assert curate("decide", "faces/sad/twin.png", "--drop", "-w", workspace.root).exit_code == 0
    assert json.loads(workspace.journal.read_text())["equal_files"] == "1"
    (folder / "sad" / "twin.png").unlink()
    built = curate("build", "-w", workspace.root, "-j", 1)
    row = workspace.read().set_index("path").loc["faces/happy/0.png"]
    assert (row["status"], row["reason"]) == ("keep", "")
    (stale,) = current_decisions(workspace.read(), workspace.read_journal()).stale
    assert stale.path == "faces/sad/twin.png"
    # A file without a copy is followed.
    assert curate("decide", "faces/sad/1.png", "--drop", "-w", workspace.root).exit_code == 0
    (folder / "sad" / "1.png").rename(folder / "sad" / "moved.png")
    assert curate("build", "-w", workspace.root, "-j", 1).exit_code == built.exit_code == 0
    assert workspace.read().set_index("path").at["faces/sad/moved.png", "status"] == "drop"


# Notes that mark a line


@pytest.mark.parametrize("note", ["left out of focus", "adjudicated", "not in the curation"])
def test_a_note_that_marks_lines_of_nobody_is_refused(
    curate: Curate, finished: Workspace, note: str
) -> None:
    path = finished.read()["path"][0]
    before = finished.journal.read_bytes() if finished.journal.is_file() else b""
    refused = curate("decide", path, "--drop", "--note", note, "-w", finished.root)
    assert refused.exit_code == 2
    assert "word it otherwise" in refused.stderr
    assert (finished.journal.read_bytes() if finished.journal.is_file() else b"") == before


# Other programs


def test_line_ends_of_windows_lose_no_decision(curate: Curate, finished: Workspace) -> None:
    first, second = finished.read()["path"][:2]
    assert curate("decide", first, "--drop", "-w", finished.root).exit_code == 0
    finished.journal.write_bytes(finished.journal.read_bytes().replace(b"\n", b"\r\n"))
    assert curate("decide", second, "--drop", "-w", finished.root).exit_code == 0
    assert curate("check", "-w", finished.root).exit_code == 0
    status = finished.read().set_index("path")["status"]
    assert (status[first], status[second]) == ("drop", "drop")


def test_a_merge_lists_the_verdicts_that_it_takes_away(
    curate: Curate, finished: Workspace, tmp_path: Path
) -> None:
    path = finished.read()["path"][0]
    curate("decide", path, "--drop", "--by", "a", "-w", finished.root)
    batch = read_journal(finished.journal)[-1].batch
    other = Path(shutil.copytree(finished.root, tmp_path / "other"))
    assert curate("undo", batch, "--by", "b", "-w", other).exit_code == 0
    merged = curate("merge", other / "decisions.jsonl", "-w", finished.root)
    assert f"1 image has no verdict any more, as the added lines undo it ({path})" in merged.stderr


def test_a_journal_that_is_copied_over_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "decisions.jsonl"
    images = {
        path: Picture(sha, "sad", "")
        for path, sha in zip(ROWS["path"], ROWS["sha256"], strict=True)
    }
    session = SessionJournal(file, images, {})
    append_decisions(
        file, [line("a", "keep", "sad", path=ROWS["path"][1], sha256=ROWS["sha256"][1])]
    )
    assert session.states()[PATH].action == ""
    other = tmp_path / "other.jsonl"
    append_decisions(other, [line("b", "drop")])
    append_decisions(other, read_journal(file))
    file.write_bytes(other.read_bytes())  # the same inode, and longer
    assert session.states()[PATH].action == "drop"


def test_a_key_about_a_picture_that_has_changed_is_refused(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(picture)
    images = {"s/a.png": Picture("0" * 64, "sad", str(picture))}
    assert is_changed(images["s/a.png"])
    assert not is_changed(Picture("0" * 64, "sad", str(tmp_path / "gone.png")))
    for folder, is_found in ((tmp_path, True), (tmp_path / ".cache", False)):  # a PNG copy of ours
        folder.mkdir(exist_ok=True)
        named = folder / f"{'1' * 64}.png"
        named.write_bytes(picture.read_bytes())
        assert is_changed(Picture("1" * 64, "sad", str(named))) == is_found
    session = SessionJournal(tmp_path / "decisions.jsonl", images, {})
    with pytest.raises(JournalError, match="has other bytes than `curate build` has recorded"):
        require_valid_requests([DecisionRequest("s/a.png", "keep")], session)
    with pytest.raises(JournalError, match="is no decision of this session"):
        require_valid_requests([DecisionRequest("s/a.png", "keep", expected=5)], session)  # type: ignore[arg-type]


def test_two_names_of_reviewers_have_two_folders(tmp_path: Path) -> None:
    names = ("R 1", "R_1", "R-1", "R/1")
    folders = {session_files(Workspace(tmp_path), by).folder for by in names}
    assert len(folders) == len(names)


def test_copies_that_people_gave_two_labels_are_conflicts() -> None:
    rows = make_manifest(
        [{"given_label": "sad", "duplicate_group": group} for group in ("s/0.png", "s/0.png", "")]
    )
    paths = rows["path"][:2]
    rows.loc[:1, "duplicate_group"] = paths[0]
    rows.loc[1, ["duplicate_of", "duplicate_kind"]] = [paths[0], "near"]
    lines = [
        line(by, "relabel", label, path=path, sha256=sha256)
        for by, label, path, sha256 in zip(
            "ab", ("fear", "happy"), paths, rows["sha256"][:2], strict=True
        )
    ]
    assert not find_contradictions(derive_verdicts(rows, [])).any()
    judged = derive_verdicts(rows, lines)
    assert list(find_contradictions(judged)) == [True, True, False]
    queue = choose_rows(judged, lines, Selection(conflicts=True))
    assert sorted(queue["path"]) == sorted(paths)
    assert not find_contradictions(derive_verdicts(rows, lines[:1])).any()


def test_a_restored_journal_names_the_decisions_that_give_way(
    curate: Curate, finished: Workspace, tmp_path: Path
) -> None:
    """The journal was replaced by one with another decision, which the manifest does not show."""
    first, second = finished.read()["path"][:2]
    other = Path(shutil.copytree(finished.root, tmp_path / "other"))
    assert curate("decide", first, "--drop", "-w", finished.root).exit_code == 0
    assert curate("decide", second, "--drop", "--by", "eve", "-w", other).exit_code == 0
    shutil.copy(other / "decisions.jsonl", finished.journal)
    restored = curate("journal", "restore", "-w", finished.root)
    assert restored.exit_code == 0
    assert f"counts no longer, as the manifest does not show them (first: drop of {second}" in (
        restored.stderr
    )
