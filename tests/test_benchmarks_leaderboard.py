"""The leaderboard: the schema of its files, where their figures come from, and the page."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import leaderboard_figures
import results

import leaderboard

ENTRIES = leaderboard.read_entries(leaderboard.FOLDER)


def test_the_page_is_what_the_files_give() -> None:
    assert leaderboard.PAGE.read_text() == leaderboard.render_page(ENTRIES)


def test_every_file_has_the_schema_and_one_from_the_tables_has_their_figures() -> None:
    named = {entry["model"]: entry for entry in ENTRIES}
    assert len(named) == len(ENTRIES)
    measured = list(leaderboard_figures.read_results(results.RESULTS))
    assert {"fast", "long", "five-layer"} <= {entry["model"] for entry in measured}
    for entry in measured:
        # A shallow clone does not know the commit.
        known = named[entry["model"]] | {"commit": entry["commit"]}
        assert known == entry or known["seeds"] > entry["seeds"]


def test_our_recipes_have_three_seeds() -> None:
    seeds = {entry["model"]: entry["seeds"] for entry in ENTRIES}
    assert min(seeds[recipe] for recipe in ("fast", "long", "five-layer")) >= 3


def test_a_file_of_runs_has_what_train_evaluate_measured() -> None:
    of_runs = [entry for entry in ENTRIES if ".zip/" in entry["source"] and entry["seeds"] == 1]
    assert len(of_runs) >= 3
    for entry in of_runs:
        run = results.ROOT / entry["source"].split(",")[0]
        measured = json.loads(leaderboard_figures.read_file(run / "evaluation-test/metrics.json"))
        # These workspaces knew identical copies alone.
        assert not measured["near_copies_known"]
        rows = {"official": measured, "official-no-exact": measured["without_copy_in_train"]}
        for test, scores in rows.items():
            figures = entry["scores"][test]
            assert figures["rows"] == scores["rows"]
            for name in leaderboard.MEASURES:
                assert figures[name]["mean"] == pytest.approx(scores[name], abs=1e-5), entry


ROW = ("fast", "official", "7", "3", "3,591 (2,647 without a copy)", "10.3", "18.1", "68.7 ± 0.8",
       "70.7 ± 0.1", "68.3 ± 0.4", "69.1 ± 0.1", "67.2", "")  # fmt: skip


def test_a_row_of_results_becomes_shares_and_what_it_lacks_is_null(tmp_path: Path) -> None:
    file = tmp_path / "RESULTS.md"
    table = results.to_table(["x"] * len(ROW), [ROW, ("fast", "clean", *ROW[2:])])
    results.replace_section(file, "recipes", table)
    (entry,) = leaderboard_figures.read_results(file)
    leaderboard.require_schema(entry, "fast")
    assert entry["scores"]["official"]["accuracy"] == {"mean": 0.707, "deviation": 0.001}
    assert entry["scores"]["official"]["macro_f1"] is None
    assert entry["scores"]["official-no-copy"]["accuracy"] == {"mean": 0.672, "deviation": None}
    assert entry["scores"]["official-no-copy"]["rows"] == 2647
    assert entry["commit"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": None}, "seeds must not be empty"),
        ({"recipe": None}, "recipe or code must not be empty"),
        ({"commit": "main"}, "commit main is no hash of a commit"),
        (
            {"scores": {"official": {}}},
            "scores must be official, official-no-exact, official-no-copy, crowd",
        ),
        ({"extra": 1}, "the fields must be model, recipe"),
        ({"accuracy": 70.7}, "official accuracy: must be null, or mean and deviation"),
        ({"accuracy": {"mean": 70.7, "deviation": None}}, "shares from 0 to 1"),
    ],
)
def test_a_file_without_the_schema_is_refused_in_one_line(
    change: dict[str, Any], message: str
) -> None:
    entry = json.loads(json.dumps(next(each for each in ENTRIES if each["model"] == "fast")))
    if "accuracy" in change:
        entry["scores"]["official"] |= change
    else:
        entry |= change
    with pytest.raises(SystemExit, match="x") as raised:
        leaderboard.require_schema(entry, "x.yml")
    assert message in str(raised.value).removeprefix("x.yml: ")
    assert "\n" not in str(raised.value)


def test_the_tests_of_a_run_leave_out_its_copies_in_training() -> None:
    manifest = pd.DataFrame(
        {
            "path": ["a", "b", "c", "d", "e", "f"],
            "given_label": ["happy", "sad", "sad", "happy", "happy", "sad"],
            "source_split": ["train", "train", "test", "test", "test", "test"],
            "pixel_hash": ["1", "2", "2", "3", "4", "5"],
            "duplicate_group": ["a", "b", "b", "a", "", "f"],
        }
    ).set_index("path")
    votes = {"d": '{"happy":9}', "e": '{"sad":6,"happy":4}', "f": '{"NF":8,"sad":2}'}
    tests = leaderboard_figures.find_tests(manifest, votes)
    assert {name: "".join(labels.index) for name, labels in tests.items()} == {
        "official": "cdef", "official-no-exact": "def", "official-no-copy": "ef", "crowd": "e",
    }  # fmt: skip
    assert tests["crowd"]["e"] == "sad"


def test_the_mean_and_deviation_are_those_of_the_seeds() -> None:
    tables = [{"official": {"rows": 4, "accuracy": share}} for share in (0.5, 0.75)]
    scores = leaderboard_figures.average(tables)
    assert scores["official"]["accuracy"] == {
        "mean": 0.625,
        "deviation": pytest.approx(np.std([0.5, 0.75], ddof=1), abs=1e-5),
    }
    assert scores["crowd"] == {"rows": None, **dict.fromkeys(leaderboard.MEASURES)}
    tables[1]["official"]["rows"] = 5
    with pytest.raises(SystemExit, match="different rows"):
        leaderboard_figures.average(tables)


def test_scores_of_somebody_else_become_a_file_and_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(leaderboard, "ROOT", tmp_path)
    monkeypatch.setattr(leaderboard, "FOLDER", tmp_path / "leaderboard")
    monkeypatch.setattr(leaderboard, "PAGE", tmp_path / "leaderboard.md")
    scores = dict.fromkeys(leaderboard.MEASURES, 0.5) | {"rows": 4}
    (tmp_path / "s0.json").write_text(json.dumps({"official": scores, "official-no-copy": scores}))
    words = "leaderboard.py add mine s0.json --code https://x.org/y --commit 0123abc"
    about = ["--training-data", "Training | <b>all</b>", "--protocol", "one view"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [*words.split(), *about])
    leaderboard.main()
    entry = yaml.safe_load((tmp_path / "leaderboard/mine.yml").read_text())
    assert entry["scores"]["official"]["macro_f1"] == {"mean": 0.5, "deviation": None}
    page = (tmp_path / "leaderboard.md").read_text()
    assert "| mine | 1 | 50.0 |  | 50.0 |  |" in page
    assert "Training \\| &lt;b>all" in page
    assert capsys.readouterr().out.startswith("1 models")
