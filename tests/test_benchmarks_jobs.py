"""`benchmarks/jobs.py`: jobs that stop, fail, run side by side, and are kept."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import jobs


def test_a_stopped_plan_goes_on_and_a_failed_job_does_not_stop_the_others(tmp_path: Path) -> None:
    write = ("echo x >> ran", "mkdir -p out", "echo '{\"accuracy\": 1}' > out/r.json")
    planned = [
        jobs.Job("base/one", 1, write, result="out/r.json"),
        jobs.Job("base/broken", 1, ("echo y >> ran; false",)),
        jobs.Job("base/two", 1, ("echo z >> ran",)),
    ]
    for _ in range(2):
        with pytest.raises(SystemExit, match=r"^1 jobs failed: base/broken$"):
            jobs.run_jobs(tmp_path, planned, 1.0)
    assert (tmp_path / "ran").read_text().split() == ["x", "y", "z", "y"]
    done = jobs.read_done(tmp_path)
    assert done["base/one"]["result"] == {"accuracy": 1}
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"job": "base/bro')  # a kill in the middle of a line
    assert set(jobs.read_done(tmp_path)) == {"base/one", "base/two"}
    jobs.run_jobs(tmp_path, [jobs.Job("base/three", 1, ("true",))], 1.0)
    assert set(jobs.read_done(tmp_path)) == {"base/one", "base/two", "base/three"}
    assert "base/one: done" in jobs.format_plan(planned, done)


def test_trainings_run_side_by_side_after_what_they_need(tmp_path: Path) -> None:
    """Each of two trainings waits for the other; a machine with a GPU is noted."""
    (tmp_path / "recipe.json").write_text(json.dumps({"machine": {"gpus": ["A GPU"]}}))
    planned = [jobs.Job("state/one", 1, ("mkdir ws",))]
    for name, other in (("a", "b"), ("b", "a")):
        wait = f"touch {name}; for k in $(seq 200); do [ -e {other} ] && exit 0; sleep 0.05; done"
        made = f"mkdir ws/{name}; cp recipe.json ws/{name}"
        planned.append(jobs.Job(f"leakfree/{name}/s0", 1, (made, f"{wait}; false"), f"ws/{name}"))
    jobs.run_jobs(tmp_path, planned, 1.0, at_once=2)
    done = jobs.read_done(tmp_path)
    assert len(done) == 3
    assert done["leakfree/a/s0"]["machine"] == "A GPU"


def test_a_new_folder_begins_with_what_was_kept_and_makes_what_was_lost(
    tmp_path: Path,
) -> None:
    kept = tmp_path / "kept.tar.xz"
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    line = {"job": "leakfree/a/s0", "seconds": 1.0}
    (old / "scores").mkdir()
    (old / "scores" / "leakfree-a-s0-test.csv").write_text("path,predicted\n1,happy\n")
    state = {"job": "state/one", "seconds": 1.0}
    (old / "results.jsonl").write_text("".join(json.dumps(x) + "\n" for x in (line, state)))
    jobs.save(old, kept)
    jobs.restore(new, kept)
    assert jobs.read_done(new) == jobs.read_done(old)
    predicted = new / "scores" / "leakfree-a-s0-test.csv"
    assert predicted.read_text() == "path,predicted\n1,happy\n"
    planned = [
        jobs.Job("leakfree/a/s0", 1, ("false",)),
        jobs.Job("state/one", 1, ("mkdir one",), makes="one"),
    ]
    assert jobs.list_done(new, planned) == {"leakfree/a/s0"}
    jobs.run_jobs(new, planned, 1.0)
    assert jobs.list_done(new, planned) == {"leakfree/a/s0", "state/one"}
