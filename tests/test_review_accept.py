"""Accepted suggestions: a batch by a machine, apart from what people decide."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from convention import RANDOM, draw_workspace, to_table

from curate.relabel.prepare import RelabelOptions, prepare_session
from curate.relabel.queue import Selection
from curate.relabel.session_journal import open_session_journal
from curate.reports.sections.label_errors import count_machine_pairs
from curate.review.reviewers import disagreements, own_verdicts
from curate.workspace.journal.decisions import Decision, new_decisions, undo_batch
from curate.workspace.journal.file import append_decisions
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.predictions import read_posterior
from curate.workspace.workspace import Workspace

ACCEPT = ("decide", "--accept-suggestions", "--at-least", "0.7", "--by", "R")


@pytest.fixture(scope="module")
def judged(curate, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, np.ndarray]:
    """200 random verdicts, and flag with a class posterior."""
    folder = tmp_path_factory.mktemp("accept")
    workspace, names = draw_workspace(folder / "m")
    to_table(workspace, names, RANDOM[:200]).to_csv(folder / "d.csv", index=False)
    root = ("-w", workspace.root)
    assert curate("decide", "--from", folder / "d.csv", "--by", "R", *root).exit_code == 0
    assert curate("flag", *root).exit_code == 0
    assert workspace.posterior.is_file()
    return workspace, names


@pytest.fixture
def faces(judged: tuple[Workspace, np.ndarray], tmp_path: Path) -> tuple[Workspace, np.ndarray]:
    shutil.copytree(judged[0].root, tmp_path / "m")
    return Workspace(tmp_path / "m"), judged[1]


def machine_rows(workspace: Workspace) -> pd.DataFrame:
    return workspace.read().query("reason == 'machine'")


def test_suggestions_are_accepted_as_one_batch_that_can_be_undone(curate, faces):
    workspace, names = faces
    before = workspace.manifest.read_bytes()
    result = json.loads(curate(*ACCEPT, "--json", "-w", workspace.root).stdout)
    rows = machine_rows(workspace)
    assert result["by"] == "machine:net"
    assert result["decisions"] == result["machine_labels"] == len(rows) > 50
    lines = workspace.read_journal()[200:]
    assert {line.by for line in lines} == {"machine:net"}
    assert {line.batch for line in lines} == {result["batch"]}
    assert (rows["label"] == rows["suggested_label"]).all()
    posterior = read_posterior(workspace.posterior, workspace.read()).set_index("path")
    pairs = zip(rows["path"], rows["label"], strict=True)
    accepted = [posterior.at[path, f"p_{label}"] for path, label in pairs]
    assert min(accepted) >= 0.7
    assert (rows["label"] == names[rows.index]).mean() == pytest.approx(np.mean(accepted), abs=0.1)
    assert curate("undo", result["batch"], "--by", "R", "-w", workspace.root).exit_code == 0
    assert workspace.manifest.read_bytes() == before


def test_the_most_certain_come_first_the_bound_is_inclusive_and_a_second_run_adds_the_rest(
    curate, faces
):
    workspace, _ = faces
    manifest = workspace.read()
    posterior = read_posterior(workspace.posterior, manifest).set_index("path")
    rows = manifest[(manifest["suggested_label"] != "") & (manifest["reason"] == "")]
    pairs = zip(rows["path"], rows["suggested_label"], strict=True)
    probs = sorted((posterior.at[path, f"p_{label}"] for path, label in pairs), reverse=True)
    third = f"{probs[2]:.6f}"
    root = ("-w", workspace.root)
    assert curate(*ACCEPT[:3], third, "--limit", "2", *root).exit_code == 0
    assert len(machine_rows(workspace)) == 2
    curate(*ACCEPT[:3], third, *root)
    assert len(machine_rows(workspace)) == sum(prob >= float(third) for prob in probs)
    again = json.loads(curate(*ACCEPT[:3], third, "--json", *root).stdout)
    assert again["decisions"] == 0
    assert "nothing recorded" in curate(*ACCEPT[:3], third, *root).stdout


def test_a_batch_whose_command_was_killed_is_applied_by_the_next(curate, faces):
    """Killed between the journal and the manifest: nothing is left to accept, but to apply."""
    workspace, _ = faces
    written = (workspace.manifest, workspace.basis)
    before = [file.read_bytes() for file in written]
    curate(*ACCEPT, "-w", workspace.root)
    after = workspace.manifest.read_bytes()
    for file, data in zip(written, before, strict=True):
        file.write_bytes(data)
    assert json.loads(curate(*ACCEPT, "--json", "-w", workspace.root).stdout)["decisions"] == 0
    assert workspace.manifest.read_bytes() == after != before[0]


def test_accepted_suggestions_are_no_verdicts_for_flag(curate, faces):
    workspace, _ = faces
    root = ("-w", workspace.root)
    before = json.loads(curate("flag", "--json", *root).stdout)
    posterior = workspace.posterior.read_bytes()
    curate(*ACCEPT, *root)
    assert "flag done" in curate("status", *root).stdout
    after = json.loads(curate("flag", "--json", *root).stdout)
    assert workspace.posterior.read_bytes() == posterior
    assert after["verdicts"] == before["verdicts"] == 200
    assert after["errors"] == before["errors"]
    assert after["errors_left"]["count"] < before["errors_left"]["count"]  # of the labels of now


def test_a_persons_verdict_wins_whether_earlier_or_later(curate, faces):
    workspace, _ = faces
    root = ("-w", workspace.root)
    suggested = workspace.read().query("suggested_label != '' and reason == ''")["path"]
    kept, unsure, later = suggested.iloc[0], suggested.iloc[1], suggested.iloc[2]
    curate("decide", kept, "--keep", "--by", "R", *root)
    curate("decide", unsure, "--unsure", "--by", "R", *root)
    curate("flag", *root)
    curate("decide", "--accept-suggestions", "--at-least", "0.5", *root)
    curate("decide", later, "--drop", "--by", "R", *root)
    rows = workspace.read().set_index("path")
    assert rows.loc[kept, ["label", "reason"]].tolist() == [rows.at[kept, "given_label"], "human"]
    assert rows.at[unsure, "reason"] == ""  # a person looked and could not decide
    assert rows.loc[later, ["status", "reason"]].tolist() == ["drop", "human"]
    touched = {line.path for line in workspace.read_journal() if line.by == "machine:net"}
    assert later in touched
    assert not touched & {kept, unsure}


def test_a_line_by_a_machine_never_counts_before_a_persons_in_any_order(faces):
    manifest = faces[0].read()
    path, sha256, given = manifest.loc[0, ["path", "sha256", "given_label"]]
    other = "sad" if given != "sad" else "angry"
    person = new_decisions(manifest, [(path, "keep", "")], by="R")[0]
    machine = Decision(
        "b", "machine:net", "t", "relabel", path=path, sha256=sha256, label=other, expected=given
    )
    for journal in ([person, machine], [machine, person]):
        row = derive_verdicts(manifest, journal).loc[0]
        assert (row["label"], row["reason"]) == (given, "human")
    row = derive_verdicts(manifest, [machine]).loc[0]
    assert (row["label"], row["reason"], row["status"]) == (other, "machine", "keep")
    undone = [person, machine, *undo_batch([person], person.batch, by="R")]
    assert derive_verdicts(manifest, undone).loc[0, "reason"] == "machine"
    # A machine can neither drop an image nor save one, and its label is for the given one alone.
    dropped = derive_verdicts(manifest, [replace(machine, action="drop", label="")]).loc[0]
    assert (dropped["status"], dropped["reason"]) == ("keep", "")
    blank = derive_verdicts(manifest.assign(quality="blank"), [machine]).loc[0]
    assert (blank["label"], blank["status"], blank["reason"]) == (given, "drop", "degenerate")
    moved = derive_verdicts(manifest.assign(given_label="happy"), [machine]).loc[0]
    assert moved["reason"] == ("machine" if given == "happy" else "")


def test_machines_are_shown_apart_and_disagree_with_nobody(curate, faces):
    workspace, _ = faces
    root = ("-w", workspace.root)
    curate(*ACCEPT, *root)
    count = len(machine_rows(workspace))
    status = json.loads(curate("status", "--json", *root).stdout)
    assert status["machine_labels"] == {"machine:net": count}
    assert 0.7 * count <= status["machine_right"] <= count
    assert status["decisions"] == 200
    text = curate("status", *root).stdout
    assert f"machines   machine:net {count} suggestions accepted; about " in text
    found = json.loads(curate("agreement", "--json", *root).stdout)
    assert found["machines"] == [{"by": "machine:net", "images": count}]
    assert {change["by"] for change in found["changes"]} == {"R"}
    manifest, journal = workspace.read(), workspace.read_journal()
    assert set(own_verdicts(manifest, journal)) == {"R"}
    path = journal[-1].path
    person = new_decisions(manifest, [(path, "relabel", "sad")], by="S")
    assert disagreements(manifest, [*journal, *person]) == {}
    record = {"s": {"root": str(workspace.root), "layout": "folder"}}
    workspace.sources.write_text(json.dumps(record))
    assert curate("report", *root).exit_code == 0
    (row,) = count_machine_pairs(manifest)[:1]
    page = (workspace.root / "report.html").read_text()
    assert f"<tr><td>{row[0]}</td><td>{row[1]}</td><td>{row[2]}</td></tr>" in page
    assert sum(images for _, _, images in count_machine_pairs(manifest)) == count


def test_a_merged_journal_keeps_machines_apart(curate, faces, judged, tmp_path):
    workspace, _ = faces
    shutil.copytree(judged[0].root, tmp_path / "other")
    curate(*ACCEPT, "-w", tmp_path / "other")
    count = len(machine_rows(Workspace(tmp_path / "other")))
    merged = curate("merge", tmp_path / "other" / "decisions.jsonl", "-w", workspace.root).stdout
    assert f"{count} of the added lines are by machines and disagree with nobody" in merged
    assert len(machine_rows(workspace)) == count


def test_the_panel_shows_the_posterior_and_opens_where_no_machine_has_decided(curate, faces):
    workspace, _ = faces
    folder = workspace.root / "pictures"
    record = {"s": {"root": str(folder), "layout": "folder"}}
    workspace.sources.write_text(json.dumps(record))
    folder.mkdir()
    (folder / "0000.png").write_bytes(b"")
    manifest = workspace.read()
    everything = RelabelOptions(Selection(where="status==keep"), "S")
    session, _ = prepare_session(workspace, everything)
    posterior = read_posterior(workspace.posterior, manifest).set_index("path")
    shown = {row.path: row.probs for row in session.queue}
    first = next(row for row in session.queue if row.suggested_label)
    expected = posterior.loc[first.path, ["p_angry", "p_happy", "p_sad"]].to_numpy(float)
    assert sorted(filter(None, shown[first.path])) == pytest.approx(sorted(expected), abs=1e-4)
    curate(*ACCEPT, "-w", workspace.root)
    relabelled = set(machine_rows(workspace)["path"])
    session, _ = prepare_session(workspace, everything)
    states = open_session_journal(session).states()
    assert all(states[path].action == "" for path in relabelled)
    (folder / "0000.png").unlink()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--at-least", "0.9", "--keep", "s/0000.png"),
            "--at-least needs --accept-suggestions or --consensus",
        ),
        (("--accept-suggestions", "s/0000.png"), "take no PATH"),
        (("--accept-suggestions", "--keep"), "choose one of"),
        (("--keep", "s/0000.png", "--by", "machine:x"), "choose another name"),
        (("--accept-suggestions", "--by", "machine:x"), "choose another name"),
        (("--accept-suggestions", "--at-least", "0.4"), "greater than or equal to 0.5"),
        (("--accept-suggestions", "--at-least", "nan"), "less than or equal to 1"),
        (("--accept-suggestions", "--limit", "0"), "greater than or equal to 1"),
    ],
)
def test_a_wrong_use_is_refused_and_records_nothing(curate, faces, options, message):
    workspace, _ = faces
    before = workspace.journal.read_bytes()
    result = curate("decide", *options, "-w", workspace.root)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert workspace.journal.read_bytes() == before


def test_without_a_posterior_of_now_nothing_is_accepted(curate, faces, tmp_path):
    workspace, _ = faces
    curate("decide", "s/0000.png", "--drop", "--by", "R", "-w", workspace.root)
    stale = curate(*ACCEPT, "-w", workspace.root)
    assert stale.exit_code == 1
    assert "run `curate flag` first" in stale.stderr
    fresh, _ = draw_workspace(tmp_path / "fresh")
    curate("flag", "-w", fresh.root)
    none = curate(*ACCEPT, "-w", fresh.root)
    assert none.exit_code == 1
    assert "there is no class posterior here" in none.stderr
    assert "curate relabel --random 200" in none.stderr


def test_a_dry_run_accepts_nothing(curate, faces):
    workspace, _ = faces
    before = workspace.journal.read_bytes(), workspace.manifest.read_bytes()
    result = curate(*ACCEPT, "-n", "-w", workspace.root)
    assert "suggestions accepted by machine:net" in result.stdout
    assert (workspace.journal.read_bytes(), workspace.manifest.read_bytes()) == before


def test_a_redundant_copy_follows_the_label_of_its_original(faces):
    manifest = faces[0].read().head(2).assign(given_label="happy", duplicate_group="s/0000.png")
    manifest["duplicate_of"] = ["", "s/0000.png"]
    manifest["duplicate_kind"] = ["", "exact"]
    sha256 = manifest.loc[0, "sha256"]
    machine = Decision(
        "b", "machine:net", "t", "relabel", "s/0000.png", sha256, label="sad", expected="happy"
    )
    rows = derive_verdicts(manifest, [machine])
    assert rows["label"].tolist() == ["sad", "sad"]
    assert rows["reason"].tolist() == ["machine", "exact_copy"]
    append_decisions(faces[0].journal, [machine])  # as a line of the journal, it is read back
    assert faces[0].read_journal()[-1] == machine
