"""`benchmarks/curation_pays.py`: its plan, its reviewer, its planted noise, and its figures."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curate.workspace.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import curation_pays
import curation_reviewer
import curation_tables

JOBS = list(curation_pays.plan(Path("fer2013"), Path("votes.csv"), curation_pays.FULL))


def test_the_plan_takes_at_most_twenty_hours_and_its_names_are_unique() -> None:
    assert sum(job.minutes for job in JOBS) <= 20 * 60
    assert len({job.name for job in JOBS}) == len(JOBS)
    assert len({job.result for job in JOBS if job.result}) == sum(bool(job.result) for job in JOBS)


def test_every_command_works_in_a_workspace_that_an_earlier_one_made() -> None:
    made: set[str] = set()
    scores = 0
    for job in JOBS:
        for command in job.commands:
            copied = re.match(r"cp -r (\S+) (\S+)", command)
            built = re.search(r"(?:curate build .* -w|flip clean \S+) (\S+)", command)
            if copied:
                assert copied[1] in made, job.name
                made.add(copied[2])
            elif built:
                made.add(built[1])
            for place in re.findall(r" -w (\S+?)(?:;|$)", command):
                assert place in made, job.name
            scored = re.search(r"score (\S+)/runs/\S+ (\S+) (\S+) ", command)
            if scored:
                assert {scored[1], scored[2], scored[3]} <= made
                scores += 1
    assert scores


def test_the_rows_that_answer_most_come_first_and_seed_0_before_the_others() -> None:
    trained = [job.name for job in JOBS if job.run]
    leading = ["a", "e-posterior-200", "e-posterior-1000", "d-200", "d-1000", "d-0", "e-oof"]
    assert trained[:7] == [f"leakfree/{row}/s0" for row in leading]
    rows = [name for name in trained if name.startswith("leakfree/")]
    seeds = [int(name[-1]) for name in rows]
    assert seeds == sorted(seeds)
    for row in ("a", "b", "c", "f", "g", *(f"e-posterior-{keys}" for keys in (500, 2000))):
        assert all(
            f"{split}/{row}/s{k}" in trained for split in ("leakfree", "official") for k in range(3)
        )


def test_all_models_of_the_plan_are_trained_alike() -> None:
    trainings = [job.commands[0] for job in JOBS if job.run]
    assert all(" --epochs 12 " in command for command in trainings)
    allowed = {"--name", "--seed", "--epochs", "--targets", "--belief-weight", "--class-weights"}
    allowed |= {"--self-distillation"}
    assert {word for command in trainings for word in re.findall(r"--\S+", command)} <= allowed


@pytest.fixture
def votes(finished: Workspace, tmp_path: Path) -> Path:
    """The crowd calls all faces happy, but two that are no face or of a class that is missing."""
    paths = finished.read()["path"].tolist()
    table = pd.DataFrame({"path": paths, "happiness": 7, "contempt": 0, "NF": 0})
    table.loc[[2, 3], "happiness"] = 0
    table.loc[2, "NF"], table.loc[3, "contempt"] = 9, 9
    table.to_csv(tmp_path / "votes.csv", index=False)
    return tmp_path / "votes.csv"


@pytest.mark.filterwarnings("ignore:.*pred_probs_list only has one element")
@pytest.mark.parametrize("order", curation_reviewer.ORDERS)
def test_the_reviewer_never_sees_test_and_nothing_twice(
    finished: Workspace, votes: Path, tmp_path: Path, order: str
) -> None:
    out = tmp_path / "keys.csv"
    curation_reviewer.judge(finished.root, votes, 1000, order, out, 0)
    judged = pd.read_csv(out, keep_default_na=False).set_index("path")
    manifest = finished.read().set_index("path")
    is_open = (manifest["status"] == "keep") & manifest["split"].isin(["train", "val"])
    decided = {made.path for made in finished.read_journal()}
    wanted = set(manifest.index[is_open]) - decided
    copies = manifest.index[manifest["duplicate_of"].isin(judged.index[judged["action"] == "drop"])]
    assert set(judged.index) == wanted | set(copies)
    for path, row in judged.iterrows():
        given = manifest.at[path, "given_label"]
        if row["action"] in ("keep", "relabel"):
            assert (row["action"] == "keep") == (given == "happy")
    first = pd.read_csv(tmp_path / "keys.csv")["path"].iloc[:5].tolist()
    curation_reviewer.judge(finished.root, votes, 5, order, out, 0)
    assert pd.read_csv(out)["path"].iloc[:5].tolist() == first
    if order == "queue":
        ranks = manifest.loc[first, "issue_rank"].astype(int).tolist()
        assert ranks == sorted(ranks)


def test_what_the_reviewer_cannot_name_is_no_verdict() -> None:
    classes = {"happy", "sad"}
    for majority, decision in {
        "happy": ("keep", ""), "sad": ("relabel", "sad"), "NF": ("drop", ""),
        "contempt": ("unsure", ""), "tie": ("unsure", ""), "unknown": ("unsure", ""),
    }.items():  # fmt: skip
        assert curation_reviewer.decide("happy", majority, classes) == decision


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_exactly_the_share_of_the_labels_is_flipped(share: float) -> None:
    names = ["angry", "fear", "happy"]
    truth = np.arange(1000) % 3
    confusions = np.array([[90, 10, 0], [10, 90, 0], [0, 0, 100]])
    for counts in (None, confusions):
        given = curation_reviewer.flip_labels(truth, counts, share, 0, names)
        is_flipped = given != np.array(names)[truth]
        assert is_flipped.mean() == share
        again = curation_reviewer.flip_labels(truth, counts, share, 0, names)
        assert (given == again).all()
    if share:
        assert (given[is_flipped & (truth == 0)] == "fear").mean() > 0.99


def test_scores_count_the_rows_that_they_name() -> None:
    table = pd.DataFrame(
        {
            "path": list("abcd"), "label": ["happy", "sad", "sad", "happy"],
            "predicted": ["happy", "happy", "sad", "happy"],
            "crowd": ["happy", "happy", "unknown", ""], "copy_free": [True, True, True, False],
            "p_happy": [0.9, 0.8, 0.1, 0.6], "p_sad": [0.1, 0.2, 0.9, 0.4],
        }
    )  # fmt: skip
    scores = curation_reviewer.score_table(table)
    assert [(scores[name]["rows"], scores[name]["accuracy"]) for name in scores] == [
        (4, 0.75),
        (3, pytest.approx(2 / 3)),
        (2, 1.0),
    ]


def write_scores(folder: Path, row: str, predicted: list[str]) -> dict[str, object]:
    """A finished job of the leak-free split with these predictions of ten happy faces."""
    table = pd.DataFrame({"path": [f"a/{k}" for k in range(10)], "label": "sad"})
    table = table.assign(predicted=predicted, crowd="happy", copy_free=True)
    (folder / "scores").mkdir(exist_ok=True)
    for rows in ("val", "test"):
        table.to_csv(folder / "scores" / f"leakfree-{row}-s0-{rows}.csv", index=False)
    right = float(np.mean([name == "happy" for name in predicted]))
    scores = {"rows": 10, **dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1"), right)}
    result = {
        rows: dict.fromkeys(("official", "copy_free", "crowd"), scores) for rows in ("val", "test")
    }
    return {"job": f"leakfree/{row}/s0", "seconds": 1.0, "result": result}


def test_a_gain_is_paired_by_image_and_val_chooses_the_best_row(tmp_path: Path) -> None:
    lines = [
        write_scores(tmp_path, "a", ["happy"] * 4 + ["sad"] * 6),
        write_scores(tmp_path, "b", ["sad"] + ["happy"] * 8 + ["sad"]),
    ]
    rows = curation_tables.group_models({line["job"]: line for line in lines})["leakfree"]
    gain = curation_tables.compare_rows(tmp_path, rows["a"], rows["b"])
    # 5 won, 1 lost of 10: the exact p is 2 * (1 + 6) / 2^6.
    assert gain["text"].startswith("+40.0 (")
    assert gain["p"] == pytest.approx(14 / 64)
    assert "a difference of 68.6 points" in gain["smallest"]  # 2.8 * sqrt(.6 / 10)
    assert "b: without copies | 80.0 |" in curation_tables.choose_best(tmp_path, "leakfree", rows)
    table = curation_tables.format_rows(tmp_path, rows)
    assert "| a: as shipped, copies too | 1 | 40.0 |" in table
    curation_tables.draw_plot(rows, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000


def test_the_share_of_corrected_errors_is_per_thousand_keys() -> None:
    state = {"keys": 200, "rows": 1000, "given": 640, "label": 700, "posterior": 750}
    assert curation_tables.format_corrected(state, "label") == "300"
    assert curation_tables.format_corrected(state, "posterior") == "550"
    assert curation_tables.format_corrected({**state, "keys": 0}, "label") == ""


def test_the_tables_and_the_plot_are_written_from_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        write_scores(tmp_path, "a", ["happy"] * 4 + ["sad"] * 6),
        write_scores(tmp_path, "b", ["sad"] + ["happy"] * 8 + ["sad"]),
        {"job": "state/leakfree-suspects", "seconds": 1.0},
        {
            "job": "state/leakfree-random-200",
            "seconds": 1.0,
            "result": {"keys": 200, "rows": 1000, "given": 640, "label": 700, "posterior": 750},
        },
    ]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (tmp_path / "results.jsonl").write_text(text)
    for name in ("RESULTS", "README", "PLOT"):
        monkeypatch.setattr(curation_tables, name, tmp_path / name)
    (tmp_path / "README").write_text("<!-- curation-pays -->\n<!-- /curation-pays -->\n")
    curation_tables.write_tables(tmp_path)
    written = (tmp_path / "RESULTS").read_text()
    assert "| leakfree-random-200 | 200 | 1000 | 64.0 | 70.0 | 75.0 | 300 | 550 |" in written
    assert "| b: without copies | 1 | 80.0 |" in written
    summary = (tmp_path / "README").read_text()
    assert "Scored on the 10 test images" in summary
    assert "| without copies | 80.0 |" in summary
    assert (tmp_path / "PLOT").is_file()
