"""`benchmarks/studies.py`: its plan, and the tables that it makes of finished jobs."""

import json
import re
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import studies
import studies_tables

JOBS = list(studies.plan(Path("fer2013"), Path("ck48")))


def test_names_are_unique_and_every_command_works_in_a_workspace_that_was_made() -> None:
    assert len({job.name for job in JOBS}) == len(JOBS)
    made: set[str] = set()
    for job in JOBS:
        places = set(re.findall(r"-w (\w+)", " ".join(job.commands)))
        assert places <= made | {job.makes}, job.name
        made |= {job.makes}
    assert made >= {"copies", "official", "random", "clean", "seven"}


def test_every_training_is_a_command_of_today() -> None:
    from typer.testing import CliRunner

    from train.cli.training import app

    trainings = {
        re.sub(r"--(name|seed) \S+ |-w \w+", "", command).strip()
        for job in JOBS
        for command in job.commands
        if command.startswith("train run")
    }
    assert trainings
    for command in trainings:
        done = CliRunner().invoke(app, [*command.split()[1:], "-w", "nowhere"])
        assert "nowhere" in done.output, done.output  # not an unknown or refused option


def write_job(folder: Path, job: str, answers: dict[str, list[str]]) -> None:
    """A finished training of ten happy faces, with what it predicted by each number of views."""
    table = pd.DataFrame({"path": range(10), "label": "happy", **answers})
    scores = folder / "scores"
    scores.mkdir(exist_ok=True)
    table.to_csv(scores / f"{job.replace('/', '-')}-test.csv", index=False)
    share = float((table["v1"] == "happy").mean())
    test = {"1": {"all": {"accuracy": share}}}
    result = {"epochs": 3, "minutes": 2.0, "test": test}
    with (folder / "results.jsonl").open("a") as file:
        file.write(json.dumps({"job": job, "machine": "here", "result": result}) + "\n")


def test_a_gain_by_views_is_paired_and_averaged_over_seeds(tmp_path: Path) -> None:
    right, half = ["happy"] * 10, ["happy"] * 5 + ["sad"] * 5
    for seed, by_ten in ((0, right), (1, half)):
        answers = {"v1": half, "vflip": half, "v5": half, "v10": by_ten, "v20": half}
        write_job(tmp_path, f"official/fast/s{seed}", answers)
    done = studies_tables.read_done(tmp_path)
    text = studies_tables.tabulate_views(tmp_path, {job: done[job]["result"] for job in done})
    row = text.splitlines()[-1]
    assert "| `fast` | 2 | 50.0 ± 0.0 | +0.0 (+0.0 to +0.0) |" in row
    assert re.search(r"\+25\.0 \(\+\d+\.\d to \+\d+\.\d\)", row)


def test_a_score_that_was_not_measured_leaves_its_cell_empty() -> None:
    assert studies_tables.format_mean([0.627]) == "62.7"
    assert studies_tables.format_mean([0.6, 0.62]) == "61.0 ± 1.4"
    assert studies_tables.format_mean([0.6, float("nan")]) == ""


def test_the_runs_of_the_zip_are_in_the_table_of_fernet() -> None:
    text = studies_tables.tabulate_fernet(studies_tables.read_zip())
    assert re.search(r"\| widths 32 to 512 \| random \| 1 \| 60\.0 \| 62\.7 \|", text)
