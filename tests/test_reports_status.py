"""status: how many wrong labels are probably left, and what the next looks will find."""

import json

import numpy as np
from tables import make_manifest

from curate.reports.status import read_status
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.manifest import write_manifest
from curate.workspace.predictions import write_predictions
from curate.workspace.workspace import Workspace

ROWS = 400


def judge(workspace, rng):
    """400 rows that the model doubts as the crowd does; the crowd has judged 300 of them."""
    wrong = rng.random(ROWS) < 0.2
    votes = [
        json.dumps({"sad" if bad else "happy": 10}) if k < 300 else ""
        for k, bad in enumerate(wrong)
    ]
    manifest = make_manifest(
        [{"given_label": "happy", "votes": text} for text in votes[:-1]] + [{"given_label": "sad"}]
    )
    manifest["fold"] = [str(k % 2) for k in range(ROWS)]
    workspace.root.mkdir()
    write_manifest(workspace.manifest, derive_verdicts(manifest, []))
    happy = np.clip(np.where(wrong, 0.35, 0.65) + rng.normal(0, 0.1, ROWS), 0.01, 0.99).round(6)
    table = manifest[["path", "fold"]].assign(model="net", p_happy=happy, p_sad=1 - happy)
    write_predictions(
        workspace.predictions / "net.csv", table[["path", "model", "fold", "p_happy", "p_sad"]]
    )
    return wrong


def test_status_says_how_many_errors_are_left_and_what_the_next_looks_find(curate, tmp_path):
    workspace = Workspace(tmp_path / "m")
    wrong = judge(workspace, np.random.default_rng(0))
    assert "labels     not judged yet" in curate("status", "-w", workspace.root).stdout
    assert curate("flag", "-w", workspace.root).exit_code == 0
    errors = read_status(workspace).errors
    assert errors["errors_left"]["low"] <= wrong.sum() <= errors["errors_left"]["high"]
    rows = workspace.read()
    first = (
        rows[rows["suggested_label"] != ""]  # the queue of `curate relabel`
        .assign(rank=lambda rows: rows["issue_rank"].astype(int))
        .nsmallest(100, "rank")
    )
    found = wrong[first.index].sum()
    assert abs(errors["next_looks"]["errors"] - found) <= 10
    looks = f"the next {len(first)} decisions find about"
    assert looks in curate("status", "-w", workspace.root).stdout


def test_what_a_person_has_decided_is_not_left(curate, tmp_path):
    workspace = Workspace(tmp_path / "m")
    wrong = judge(workspace, np.random.default_rng(0))
    curate("flag", "-w", workspace.root)
    before = read_status(workspace).errors["errors_left"]["count"]
    decisions = workspace.read().loc[wrong, ["path"]].head(40).assign(action="relabel", label="sad")
    decisions.to_csv(tmp_path / "d.csv", index=False)
    assert (
        curate("decide", "--from", tmp_path / "d.csv", "--by", "R", "-w", workspace.root).exit_code
        == 0
    )
    assert "when flag ran last; run it again" in curate("status", "-w", workspace.root).stdout
    curate("flag", "-w", workspace.root)
    assert abs(before - 40 - read_status(workspace).errors["errors_left"]["count"]) <= 5


def test_without_verdicts_status_says_how_to_get_them(curate, finished):
    curate("flag", "-w", finished.root)
    assert (
        "50 verdicts with 5 wrong and 5 right are needed: judge more at random"
        in curate("status", "-w", finished.root).stdout
    )
