"""Consensus of three reviewers and more: agreement, and `curate decide --consensus`."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from conftest import read_files
from convention import RANDOM, draw_workspace
from tables import CLASSES

from curate.reports.status import read_status
from curate.review.ballot import gather_ballot
from curate.review.reviewers import ADJUDICATED, disagreements, own_verdicts
from curate.workspace.journal.decisions import new_decisions, undo_batch
from curate.workspace.journal.file import append_decisions
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.workspace import Workspace

Curate = Callable[..., Result]
SKILLS = {"R1": 0.9, "R2": 0.75, "R3": 0.6}
JUDGED = RANDOM[:120]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, np.ndarray]:
    """Three reviewers of known skill on 120 images, and the true class of each."""
    workspace, names = draw_workspace(tmp_path_factory.mktemp("consensus") / "m")
    manifest = workspace.read()
    for by, skill in SKILLS.items():
        rng = np.random.default_rng(len(by) + round(100 * skill))
        wrong = np.array([rng.choice([c for c in CLASSES if c != name]) for name in names])
        named = np.where(rng.random(len(names)) < skill, names, wrong)
        wanted = [(manifest["path"][k], "relabel", named[k]) for k in sorted(JUDGED)]
        append_decisions(workspace.journal, new_decisions(manifest, wanted, by=by))
    return workspace, names


@pytest.fixture
def faces(judged: tuple[Workspace, np.ndarray], curate: Curate, tmp_path: Path) -> Workspace:
    shutil.copytree(judged[0].root, tmp_path / "m")
    workspace = Workspace(tmp_path / "m")
    table = pd.DataFrame({"path": ["s/0000.png"], "action": ["unsure"], "label": [""]})
    table.to_csv(tmp_path / "d.csv", index=False)  # any decision derives the verdicts
    result = curate("decide", "--from", tmp_path / "d.csv", "--by", "R0", "-w", workspace.root)
    assert result.exit_code == 0
    return workspace


def share_right(workspace: Workspace, names: np.ndarray) -> float:
    rows = workspace.read().iloc[JUDGED]
    return float((rows["label"].to_numpy() == names[JUDGED]).mean())


def test_a_consensus_is_one_batch_nearer_to_the_truth_and_its_undo_is_exact(curate, faces, judged):
    before, was_right = faces.manifest.read_bytes(), share_right(faces, judged[1])
    journal = faces.journal.read_bytes()
    disputed = disagreements(faces.read(), faces.read_journal())
    counts = json.loads(
        curate("decide", "--consensus", "--by", "B", "--json", "-w", faces.root).stdout
    )
    assert counts["by"] == "consensus:net"
    assert faces.journal.read_bytes().startswith(journal)
    made = [line for line in faces.read_journal() if line.batch == counts["batch"]]
    assert len(made) == counts["decisions"] > 30
    assert {line.by for line in made} == {"consensus:net"}
    assert made[0].note == "consensus of R1, R2, R3, at least 0.5, recorded by B"
    for line in made:  # always the verdict of one of them
        verdict = line.label or "drop"
        assert verdict in disputed[line.path].values()
    assert share_right(faces, judged[1]) > was_right + 0.05
    left = disagreements(faces.read(), faces.read_journal())
    assert len(left) == counts["left"] == len(disputed) - len(made)
    again = json.loads(curate("decide", "--consensus", "--json", "-w", faces.root).stdout)
    assert again["decisions"] == 0
    assert read_status(faces).by_consensus == len(made)
    text = curate("agreement", "-w", faces.root).stdout
    assert f"{len(made)} images settled by consensus" in text
    assert curate("undo", counts["batch"], "-w", faces.root).exit_code == 0
    assert faces.manifest.read_bytes() == before


def test_agreement_of_three_shows_alpha_kappa_and_the_quality_of_each(curate, faces):
    found = json.loads(curate("agreement", "--json", "-w", faces.root).stdout)
    group = found["group"]
    assert (group["reviewers"], group["images_of_all"], group["images_of_two"]) == (3, 120, 120)
    assert group["fleiss_kappa"] == pytest.approx(group["krippendorff_alpha"], abs=0.01)
    qualities = {each["by"]: each["quality"] for each in found["reviewers"]}
    assert qualities == pytest.approx(SKILLS, abs=0.1)
    assert found["judged_by"] == ["net"]
    text = curate("agreement", "-w", faces.root).stdout
    assert "3 reviewers: Fleiss' kappa " in text
    assert "quality: expected share of right verdicts, by verdicts, net" in text


def test_killed_while_it_appends_nothing_is_lost_and_the_command_again_ends_alike(
    curate, faces, tmp_path
):
    shutil.copytree(faces.root, tmp_path / "before")
    before = faces.journal.read_bytes()
    assert curate("decide", "--consensus", "-w", faces.root).exit_code == 0
    whole, expected = faces.journal.read_bytes(), faces.read()["label"].tolist()
    line = whole.index(b"\n", (len(before) + len(whole)) // 2) + 1
    # A journal that is appended to can be left as any of its beginnings; all else is older.
    for end in (len(before), len(before) + 100, line, line + 40, len(whole)):
        killed = Workspace(tmp_path / f"killed-{end}")
        shutil.copytree(tmp_path / "before", killed.root)
        killed.journal.write_bytes(whole[:end])
        assert curate("decide", "--consensus", "-w", killed.root).exit_code == 0
        assert killed.journal.read_bytes().startswith(before)
        assert killed.read()["label"].tolist() == expected


def test_a_dry_run_records_nothing_and_says_what_would_be(curate, faces):
    before = read_files(faces.root)
    dry = curate("decide", "--consensus", "-n", "-w", faces.root).stdout
    assert read_files(faces.root) == before
    assert "disagreements settled by consensus:net (angry " in dry
    assert dry.endswith("(dry run: nothing written)\n")


def test_a_later_decision_counts_before_a_consensus_and_an_adjudication_settles(curate, faces):
    manifest = faces.read()
    first, second = list(disagreements(manifest, faces.read_journal()))[:2]
    settled = new_decisions(manifest, [(first, "drop", "")], by="R4", note=ADJUDICATED)
    append_decisions(faces.journal, settled)
    assert curate("decide", "--consensus", "--at-least", "0.5", "-w", faces.root).exit_code == 0
    touched = {line.path for line in faces.read_journal() if line.by == "consensus:net"}
    assert first not in touched
    curate("decide", second, "--drop", "--by", "R4", "-w", faces.root)
    rows = faces.read().set_index("path")
    assert rows.loc[[first, second], "status"].tolist() == ["drop", "drop"]
    assert set(own_verdicts(faces.read(), faces.read_journal())) == {"R1", "R2", "R3", "R4"}


def test_a_verdict_that_the_consensus_has_not_counted_is_in_disagreement_with_it(curate, faces):
    manifest, journal = faces.read(), faces.read_journal()
    assert curate("decide", "--consensus", "-w", faces.root).exit_code == 0
    made = next(line for line in faces.read_journal() if line.by == "consensus:net")
    assert disagreements(manifest, faces.read_journal()).get(made.path) is None
    # Made at the same time on a copy of the workspace, then merged.
    copy = Workspace(faces.root.parent / "copy")
    shutil.copytree(faces.root, copy.root)
    lines = faces.journal.read_bytes().splitlines(keepends=True)[: len(journal)]
    copy.journal.write_bytes(b"".join(lines))
    other = next(name for name in CLASSES if name != made.label)
    unseen = new_decisions(manifest, [(made.path, "relabel", other)], by="R4")
    append_decisions(copy.journal, unseen)
    assert curate("merge", copy.journal, "-w", faces.root).exit_code == 0
    disputed = disagreements(faces.read(), faces.read_journal())[made.path]
    assert any(by.startswith("consensus:net (") for by in disputed)


def test_drops_are_verdicts_and_an_undone_one_is_none(faces):
    manifest = faces.read()
    path = manifest["path"][RANDOM[0]]
    journal = faces.read_journal()
    dropped = [new_decisions(manifest, [(path, "drop", "")], by=by)[0] for by in ("R1", "R2")]
    ballot = gather_ballot(manifest, [*journal, *dropped])
    row = dict(zip(ballot.reviewers, ballot.votes[ballot.paths.index(path)], strict=True))
    assert ballot.verdicts[-1] == "drop"
    assert row["R1"] == row["R2"] == len(ballot.verdicts) - 1 != row["R3"]
    undone = [*journal, *dropped, *undo_batch(dropped, dropped[0].batch, by="R1")]
    votes = gather_ballot(manifest, undone).votes[ballot.paths.index(path)]
    assert (votes == len(ballot.verdicts) - 1).sum() == 1


def test_models_that_do_not_fit_are_named_and_left_out(curate, faces):
    table = faces.predictions / "net.csv"
    table.write_text(table.read_text().rpartition("\ns/")[0] + "\n")
    result = curate("decide", "--consensus", "-n", "--json", "-w", faces.root)
    assert json.loads(result.stdout)["by"] == "consensus:votes"
    assert "the verdicts are counted without models: net.csv: 1 folded row" in result.stderr


def test_two_reviewers_without_a_model_cannot_be_settled(curate, finished):
    none = curate("decide", "--consensus", "-w", finished.root)
    assert none.exit_code == 1
    assert "no image has the verdicts of two reviewers" in none.stderr
    path = finished.read()["path"][0]
    for by, word in (("A", "--drop"), ("B", "--keep")):
        assert curate("decide", path, word, "--by", by, "-w", finished.root).exit_code == 0
    for file in finished.find_predictions():
        file.unlink()
    before = finished.journal.read_bytes()
    two = curate("decide", "--consensus", "-w", finished.root)
    assert two.exit_code == 1
    assert "2 reviewers alone show not who is right" in two.stderr
    assert finished.journal.read_bytes() == before
    assert json.loads(curate("agreement", "--json", "-w", finished.root).stdout)["reviewers"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--consensus", "s/0000.png"), "take no PATH"),
        (("--consensus", "--keep"), "choose one of"),
        (("--consensus", "--limit", "3"), "--limit needs --accept-suggestions"),
        (("--consensus", "--by", "consensus:x"), "choose another name"),
        (("--keep", "s/0000.png", "--at-least", "0.9"), "--at-least needs --accept-suggestions or"),
    ],
)
def test_a_wrong_use_is_refused_and_records_nothing(curate, faces, options, message):
    before = faces.journal.read_bytes()
    result = curate("decide", *options, "-w", faces.root)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert faces.journal.read_bytes() == before


def test_an_image_without_enough_agreement_is_left_to_people(curate, faces):
    counts = json.loads(
        curate("decide", "--consensus", "--at-least", "0.9", "--json", "-w", faces.root).stdout
    )
    every = json.loads(curate("decide", "--consensus", "-n", "--json", "-w", faces.root).stdout)
    assert counts["left"] > 0
    assert (
        counts["decisions"] + every["decisions"] + every["left"]
        == counts["decisions"] + counts["left"]
    )
    strict = curate("decide", "--consensus", "--at-least", "1", "-w", faces.root).stdout
    assert "no consensus has a probability of at least 1 (the highest is 0." in strict
    assert strict.endswith("nothing recorded\n")


def test_a_line_of_a_consensus_is_derived_as_a_persons(faces):
    manifest = faces.read()
    path = manifest["path"][RANDOM[0]]
    line = new_decisions(manifest, [(path, "relabel", "sad")], by="A")[0]
    row = derive_verdicts(manifest, [replace(line, by="consensus:net")]).set_index("path").loc[path]
    assert (row["label"], row["reason"]) == ("sad", "human")
