"""flag with a class posterior: posterior.csv, the suggestions, the counts and what undoes them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from convention import RANDOM, ROWS, draw_workspace, to_table
from tables import CLASSES

from curate.stages.flag import flag
from curate.workspace.journal.decisions import new_decisions
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.predictions import read_posterior
from curate.workspace.workspace import Workspace


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, np.ndarray]:
    return draw_workspace(tmp_path_factory.mktemp("posterior") / "m")


@pytest.fixture
def faces(drawn: tuple[Workspace, np.ndarray], tmp_path: Path) -> tuple[Workspace, np.ndarray]:
    """A workspace to write into, and what people call each face."""
    shutil.copytree(drawn[0].root, tmp_path / "m")
    return Workspace(tmp_path / "m"), drawn[1]


@pytest.fixture
def judge(curate, tmp_path):
    """Judge some rows as a person, and run flag."""

    def judge_rows(workspace: Workspace, names: np.ndarray, rows: np.ndarray) -> dict:
        to_table(workspace, names, rows).to_csv(tmp_path / "d.csv", index=False)
        root = ("-w", workspace.root)
        assert curate("decide", "--from", tmp_path / "d.csv", "--by", "R", *root).exit_code == 0
        return json.loads(curate("flag", "--json", *root).stdout)

    return judge_rows


def test_flag_writes_the_posterior_and_suggests_by_it(judge, faces):
    workspace, names = faces
    found = judge(workspace, names, RANDOM[:200])
    assert found["posterior"]["is_used"]
    assert found["posterior"]["gain"] > 0
    manifest = workspace.read()
    text = pd.read_csv(workspace.posterior, dtype=str)
    assert list(text.columns) == ["path", "p_angry", "p_happy", "p_sad"]
    assert text["path"].tolist() == manifest["path"].tolist()
    probs = read_posterior(workspace.posterior, manifest).drop(columns="path").to_numpy()
    assert probs.sum(axis=1) == pytest.approx(1, abs=1e-6)
    is_suggested = (manifest["suggested_label"] != "").to_numpy()
    first = np.array(CLASSES)[probs.argmax(axis=1)]
    assert (manifest["suggested_label"] == first)[is_suggested].all()
    unseen = np.setdiff1d(np.arange(ROWS), RANDOM[:200])
    given = (manifest["given_label"].to_numpy() == names)[unseen].mean()
    assert (first == names)[unseen].mean() > given + 0.05
    given_column = [CLASSES.index(name) for name in manifest["given_label"]]
    error = 1 - probs[np.arange(ROWS), given_column]
    by_rank = np.argsort(manifest["issue_rank"].astype(int))
    assert (np.diff(error[by_rank]) <= 2e-6).all()


def test_the_counts_bracket_the_truth_in_total_per_pair_and_with_the_suggestions(judge, faces):
    workspace, names = faces
    found = judge(workspace, names, RANDOM[:200])
    manifest = workspace.read()
    given, label = manifest["given_label"].to_numpy(), manifest["label"].to_numpy()
    accepted = np.where(
        (manifest["suggested_label"] != "") & (manifest["reason"] != "human"),
        manifest["suggested_label"],
        label,
    )
    left = (manifest["reason"] != "human").to_numpy()
    truths = [
        (found["errors"], (given != names).sum()),
        (found["errors_left"], (given != names)[left].sum()),
        (found["right"]["now"], (label == names).sum()),
        (found["right"]["accepted"], (accepted == names).sum()),
    ]
    for bounds, truth in truths:
        assert bounds["low"] <= truth <= bounds["high"]
        assert bounds["low"] <= bounds["count"] <= bounds["high"]
    assert found["right"]["rows"] == ROWS
    pairs = pd.read_csv(workspace.root / "label_errors.csv").set_index(
        ["given_label", "suggested_label"]
    )
    planted = pairs.loc[("happy", "angry")]
    true = ((given == "happy") & (names == "angry")).sum()
    assert planted["low"] <= true <= planted["high"]
    assert pairs.drop(index=("happy", "angry"))["high"].max() < planted["low"]


def test_when_all_is_judged_the_counts_are_exact(faces):
    workspace, names = faces
    manifest = workspace.read()
    wanted = [tuple(row) for row in to_table(workspace, names, np.arange(ROWS)).to_numpy()]
    judged = derive_verdicts(manifest, new_decisions(manifest, wanted, by="R"))
    tables = [pd.read_csv(file, dtype={"fold": str}) for file in workspace.find_predictions()]
    counts = flag(judged, tables).counts
    wrong = int((manifest["given_label"] != names).sum())
    assert counts["posterior"]["is_used"]
    assert counts["errors"] == {"low": wrong, "count": wrong, "high": wrong}
    assert counts["errors_left"] == {"low": 0, "count": 0, "high": 0}
    assert counts["right"]["now"]["count"] == ROWS


def test_a_posterior_that_is_no_longer_of_use_is_removed(curate, judge, faces):
    workspace, names = faces
    judge(workspace, names, RANDOM[:200])
    assert workspace.posterior.is_file()
    batch = workspace.read_journal()[0].batch
    assert curate("undo", batch, "--by", "R", "-w", workspace.root).exit_code == 0
    found = json.loads(curate("flag", "--json", "-w", workspace.root).stdout)
    assert found["posterior"] == {"is_used": False, "verdicts": 0, "needed": 50}
    assert not workspace.posterior.exists()
    assert set(workspace.read()["reason"]) == {""}


def test_a_dry_run_writes_no_posterior_and_a_second_run_the_very_bytes(curate, faces, tmp_path):
    workspace, names = faces
    to_table(workspace, names, RANDOM[:200]).to_csv(tmp_path / "d.csv", index=False)
    curate("decide", "--from", tmp_path / "d.csv", "--by", "R", "-w", workspace.root)
    assert curate("flag", "-n", "-w", workspace.root).exit_code == 0
    assert not workspace.posterior.exists()
    curate("flag", "-w", workspace.root)
    before = workspace.posterior.read_bytes()
    curate("flag", "-w", workspace.root)
    assert workspace.posterior.read_bytes() == before


def test_the_most_suspect_alone_leave_the_rule_of_today_and_the_summary_says_why(
    curate, judge, faces
):
    workspace, names = faces
    curate("flag", "-w", workspace.root)
    suspects = np.argsort(workspace.read()["issue_rank"].astype(int))[:110].to_numpy()
    found = judge(workspace, names, suspects)
    assert not found["posterior"]["is_used"]
    summary = curate("flag", "-w", workspace.root).stdout
    assert "the verdicts are of the most suspect images alone" in summary
    assert "judge a random sample of 200" in summary


def test_a_model_under_the_name_of_the_posterior_is_never_overwritten(curate, faces):
    workspace, _ = faces
    (workspace.predictions / "net.csv").rename(workspace.posterior)
    before = workspace.posterior.read_bytes()
    result = curate("flag", "-w", workspace.root)
    assert result.exit_code == 1
    assert "is a model's table" in result.stderr
    assert "rename the table" in result.stderr
    assert workspace.posterior.read_bytes() == before


def test_the_posterior_says_which_rows_its_models_learned_from(faces):
    workspace, names = faces
    manifest = workspace.read()
    manifest["votes"] = [json.dumps({name: 10}) for name in names]
    table = pd.read_csv(workspace.predictions / "net.csv", dtype={"fold": str})
    first = table.assign(within=["train", "", ""] * (ROWS // 3))
    second = table.assign(within=["", "train", ""] * (ROWS // 3))
    both = flag(manifest, [first, second]).tables["predictions/posterior.csv"]
    assert (both["within"] == "train").all()  # from the votes of the others
    mixed = flag(manifest, [first, table]).tables["predictions/posterior.csv"]
    assert "within" not in mixed  # the second model learned from all rows


def test_a_posterior_that_may_become_targets_learns_no_verdict_on_val_and_test(faces):
    workspace, names = faces
    manifest = workspace.read()
    manifest["split"] = (["train"] * 4 + ["val", "test"]) * (ROWS // 6)
    table = pd.read_csv(workspace.predictions / "net.csv", dtype={"fold": str})
    within = table.assign(within=["train", ""] * (ROWS // 2))
    manifest["votes"] = [json.dumps({name: 10}) for name in names]
    others = manifest.copy()
    is_held_out = others["split"] != "train"
    others.loc[is_held_out, "votes"] = json.dumps({"sad": 10})
    found = [
        flag(rows, [within]).tables["predictions/posterior.csv"] for rows in (manifest, others)
    ]
    assert found[0].equals(found[1])
    assert set(found[0].loc[~is_held_out, "within"]) == {"train"}
    assert set(found[0].loc[is_held_out, "within"]) == {"train", ""}  # of the models
    everywhere = [
        flag(rows, [table]).tables["predictions/posterior.csv"] for rows in (manifest, others)
    ]
    assert not everywhere[0].equals(everywhere[1])


def test_a_model_from_outside_is_one_more_clue(faces):
    workspace, names = faces
    manifest = workspace.read()
    votes = np.full(ROWS, "", object)
    votes[RANDOM[:200]] = [json.dumps({names[row]: 10}) for row in RANDOM[:200]]
    manifest["votes"] = votes
    tables = [pd.read_csv(file, dtype={"fold": str}) for file in workspace.find_predictions()]
    seen = np.eye(3)[[CLASSES.index(name) for name in names]]
    noise = np.random.default_rng(3).normal(0, 1.0, (ROWS, 3))
    probs = np.exp(1.5 * seen + noise)
    columns = [f"p_{name}" for name in CLASSES]
    outside = pd.DataFrame(probs / probs.sum(axis=1, keepdims=True), columns=columns)
    unseen = np.setdiff1d(np.arange(ROWS), RANDOM[:200])
    agreement = []
    for independent in ({}, {"outside.csv": manifest[["path"]].join(outside)}):
        found = flag(manifest, tables, independent=independent)
        assert found.counts["posterior"]["is_used"]
        table = found.tables["predictions/posterior.csv"][columns].astype(float)
        first = np.array(CLASSES)[table.to_numpy().argmax(axis=1)]
        agreement.append((first == names)[unseen].mean())
    assert agreement[1] > agreement[0] + 0.02


def test_status_shows_how_many_labels_are_right_and_what_the_next_looks_find(curate, judge, faces):
    workspace, names = faces
    found = judge(workspace, names, RANDOM[:200])
    text = curate("status", "-w", workspace.root).stdout
    right = found["right"]
    assert f"the next 100 decisions find about {found['next_looks']['errors']}" in text
    assert f"{right['now']['count']:,} of {ROWS:,} are right ({right['now']['low']:,} to " in text
    assert f"{right['accepted']['count']:,} with every suggestion" in text
    errors = json.loads(curate("status", "--json", "-w", workspace.root).stdout)["errors"]
    assert errors["right"] == right


def test_labels_that_people_confirm_stay_and_no_posterior_overrules_them(faces):
    workspace, _ = faces
    manifest = workspace.read()
    votes = np.full(ROWS, "", object)
    for row in RANDOM[:200]:
        votes[row] = json.dumps({manifest.at[row, "given_label"]: 10})
    manifest["votes"] = votes
    tables = [pd.read_csv(file, dtype={"fold": str}) for file in workspace.find_predictions()]
    found = flag(manifest, tables)
    assert not found.counts["posterior"]["is_used"]
    assert found.obsolete == ("predictions/posterior.csv",)


def test_votes_of_the_crowd_are_verdicts_too(faces):
    workspace, names = faces
    manifest = workspace.read()
    votes = np.full(ROWS, "", object)
    votes[RANDOM[:200]] = [json.dumps({names[row]: 10}) for row in RANDOM[:200]]
    manifest["votes"] = votes
    tables = [pd.read_csv(file, dtype={"fold": str}) for file in workspace.find_predictions()]
    counts = flag(manifest, tables).counts
    assert counts["posterior"]["is_used"]
    assert counts["posterior"]["verdicts"] == 200
