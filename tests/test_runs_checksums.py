"""What damage in a run's folder changes no result in silence: weights, records, tables, jobs."""

import contextlib
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from damage import CONTENT, DAMAGES, Case, Fuzzer
from test_runs_damaged import call, change_record, refuse

from curate.files import SEAL_BYTES, holds_seal
from curate.images.thumbnails import write_array
from curate.stderr import forget_changes, print_notes
from curate.workspace.predictions import write_predictions
from curate.workspace.workspace import Workspace
from train.oof.hog_model import Hog
from train.oof.jobs import Job
from train.recipes.presets import FAST
from train.recipes.recipe import Recipe, from_json, option_fields, to_json
from train.runs.errors import RunError
from train.runs.load import load_run
from train.runs.record import read_finished_run, read_run_record

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"
)
SCORED = ("run", "--dry-run", "--widths", "4", "-w", "{ws}")
COMMANDS = (SCORED, ("evaluate", "--dry-run", "-w", "{ws}"), ("oof", "--dry-run", "-w", "{ws}"))


def test_weights_with_one_changed_byte_are_refused_wherever_it_is(bars: Workspace) -> None:
    record = read_finished_run(bars.root / "runs" / "bars")
    whole = record.weights.read_bytes()
    assert holds_seal(record.weights)
    load_run(record)
    places = random.Random(0).sample(range(len(whole) - SEAL_BYTES), 40)
    for place in (*places, 0, len(whole) - SEAL_BYTES - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        record.weights.write_bytes(damaged)
        with pytest.raises(RunError, match="its checksum does not fit: the file is damaged"):
            load_run(record)
    record.weights.write_bytes(whole)
    load_run(record)


def test_weights_of_an_earlier_version_are_used_with_a_note(bars: Workspace) -> None:
    run = bars.root / "runs" / "bars"
    words = ("evaluate", run, "--rows", "val", "-w", bars.root)
    new = call(*words)
    assert (new.exit_code, new.stderr) == (0, "")
    weights = run / "best.weights.h5"
    weights.write_bytes(weights.read_bytes()[:-SEAL_BYTES])
    old = call(*words)
    assert (old.exit_code, old.stdout) == (0, new.stdout)
    assert old.stderr == (
        f"{weights}: has no checksum, so damage would go unnoticed: train again to have one\n"
    )


def test_a_record_without_a_digest_is_read_without_a_note(bars: Workspace) -> None:
    run = bars.root / "runs" / "bars"
    values = json.loads((run / "recipe.json").read_text())
    for name in ("record_sha256", "train_rows_sha256"):
        del values[name]
    (run / "recipe.json").write_text(json.dumps(values))
    done = call("evaluate", run, "--rows", "val", "-n", "-w", bars.root)
    assert (done.exit_code, done.stderr) == (0, "")


def test_a_recipe_that_was_changed_is_noted(bars: Workspace) -> None:
    run = bars.root / "runs" / "bars"
    file = run / "recipe.json"
    file.write_text(file.read_text().replace('"stop_patience": 10', '"stop_patience": 11'))
    done = call("evaluate", run, "--rows", "val", "-n", "-w", bars.root)
    assert done.exit_code == 0
    assert done.stderr.startswith(f"{file}: was changed after Candid wrote it")
    assert done.stderr.count("\n") == 1


ODD = (None, "x", -1, True, [], {}, 1e400, float("nan"), 10**400, [[1]], ["x"], "0")


@pytest.mark.parametrize("name", [item.name for item in option_fields()])
def test_a_field_of_a_recipe_of_another_type_or_out_of_its_range_is_named(name: str) -> None:
    plain = to_json(Recipe("n", "a", "p", "fast"))
    refused = 0
    for value in ODD:
        with contextlib.suppress(ValueError):
            from_json({**plain, name: value})  # it may be a value that the option takes
            continue
        with pytest.raises(ValueError, match=rf"^recipe: {name} .*: must be ."):
            from_json({**plain, name: value})
        refused += 1
    assert refused >= 8


RECORD = {
    "seed": ("x", -1, None, True, 1.5, 1 << 70, []),
    "classes": (None, "angry", [], ["angry"], ["angry", "angry"], [7, "sad"], [["sad"], "sad"]),
    "class_weights": (1, {"sad": "x"}, {"sad": -1}, {"sad": float("inf")}, {"none": 1}, []),
    "manifest_sha256": (None, 1, []),
    "precision": (None, 1),
    "started_at": (None, 1, {}),
    "backend": (1, []),
    "options": (None, [], {"stream": "x"}, {"precision": 1}),
    "workspace": (None, 1, "", "a\0b"),
    "series": (
        [],
        "x",
        {},
        {"name": 1, "seed": 0, "seeds": 1},
        {"name": "a", "seed": 0, "seeds": 0},
    ),
    "view": (1, None, "9", []),
    "recipe": (None, [], "x", {}),
}


@pytest.mark.parametrize("name", list(RECORD))
def test_a_field_of_a_record_that_no_run_writes_is_one_line(bars: Workspace, name: str) -> None:
    run = bars.root / "runs" / "bars"
    for value in RECORD[name]:
        change_record(run, **{name: value})
        message = refuse("evaluate", run, "--rows", "val", "-n", "-w", bars.root)
        assert message.startswith(f"{run / 'recipe.json'}: cannot be read (")
        assert message.endswith("): name another run, or train again")


def test_train_rows_that_were_changed_are_refused(bars: Workspace) -> None:
    run = bars.root / "runs" / "bars"
    rows = read_run_record(run).read_train_rows()
    rows.iloc[1:].to_csv(run / "train_rows.csv", index=False)
    assert refuse("evaluate", run, "-w", bars.root) == (
        f"{run / 'train_rows.csv'}: cannot be read (it was changed after the training): "
        "name another run, or train again"
    )


def test_predictions_of_an_evaluation_that_were_changed_are_not_compared(bars: Workspace) -> None:
    runs = bars.root / "runs"
    shutil.copytree(runs / "bars", runs / "other")
    for name in ("bars", "other"):
        assert call("evaluate", runs / name, "--rows", "val", "-w", bars.root).exit_code == 0
    words = ("compare", runs / "bars", runs / "other", "--rows", "val")
    assert call(*words).exit_code == 0
    file = runs / "other" / "evaluation-val" / "predictions.csv"
    table = pd.read_csv(file, dtype=str)
    table.loc[0, "predicted"] = "sad" if table.loc[0, "predicted"] != "sad" else "angry"
    table.to_csv(file, index=False)
    assert refuse(*words) == (
        f"{file}: cannot be read (it was changed after the evaluation): run `train evaluate` again"
    )


def test_a_damaged_job_of_oof_is_no_job_that_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_changes()
    table = pd.DataFrame({"path": ["a/1", "a/2"], "model": "m", "fold": "0", "p_sad": 0.25})
    table["p_happy"] = 0.75
    of_hog = Job(Hog(), 0, "0", tmp_path / "hog.csv", "float32")
    of_network = Job(FAST, 0, "0", tmp_path / "fast.csv", "float32")
    for job in (of_hog, of_network):
        assert not job.is_done()
        write_predictions(job.file, table, is_sealed=True)
    assert of_hog.is_done()
    assert not of_network.is_done()  # its margins are missing
    write_array(of_network.margins, np.zeros(2))
    assert of_network.is_done()
    print_notes()
    assert capsys.readouterr().err == ""
    for job, file in ((of_hog, of_hog.file), (of_network, of_network.margins)):
        whole = file.read_bytes()
        for damaged in (whole.replace(b"0", b"1", 1), whole[:90], whole + b"x", b""):
            file.write_bytes(damaged)
            assert not job.is_done()
        print_notes()
        assert f"{file}: has not the checksum it was written with" in capsys.readouterr().err
        file.write_bytes(whole)
        assert job.is_done()


def test_no_damage_to_a_run_ends_in_a_traceback_or_changes_a_result_in_silence(
    bars_template: Path, tmp_path: Path
) -> None:
    fuzzer = Fuzzer(bars_template, tmp_path)
    found = []
    for number in range(36):
        chance = random.Random(number)
        words = chance.choice(COMMANDS)
        file = chance.choice(fuzzer.list_read("train", words))
        case = Case("train", words, file, chance.choice((*DAMAGES, *CONTENT)), number)
        verdict = fuzzer.run(case)
        if verdict.finding:
            found.append(f"{case.name}: {verdict.finding}\n{verdict.text}")
    assert not found, "\n\n".join(found)
