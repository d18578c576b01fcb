"""A killed run goes on after its last finished epoch and ends as an unbroken one.

Ctrl-C keeps the finished epochs.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bars import CLASSES, make_workspace
from typer.testing import CliRunner, Result

from curate.workspace.manifest import write_manifest
from curate.workspace.workspace import Workspace
from train.backend import keras
from train.cli.training import app
from train.evaluation.metrics import find_best
from train.recipes.presets import FAST
from train.recipes.recipe import override
from train.runs.errors import RunError
from train.runs.find import find_unfinished_run
from train.runs.folder import lock_folder, make_folder
from train.runs.record import read_run_record
from train.training import fit, series
from train.training.checkpoint import Checkpoint
from train.training.plan import require_free
from train.training.series import restore_options

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"
)
# A resumed run must drop the same units and restore the predictions of the rows.
SMALL = (
    "--widths", "4", "--batch-size", "16", "--epochs", "5", "--dropout", "0.5",
    "--precision", "float32", "--schedule", "plateau", "--plateau-patience", "1",
    "--plateau-factor", "0.5", "--self-distillation", "0.5",
)  # fmt: skip


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="train")


def read_weights(folder: Path) -> list[np.ndarray]:
    import h5py

    found: list[np.ndarray] = []
    with h5py.File(folder / "best.weights.h5") as file:
        file["layers"].visititems(
            lambda _, item: found.append(np.array(item)) if hasattr(item, "shape") else None
        )
    return found


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = make_workspace(tmp_path_factory.mktemp("resume"))
    assert call("run", "-w", made.root, "--name", "whole", *SMALL).exit_code == 0
    return made


@pytest.fixture
def copy(unbroken: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(unbroken.root, tmp_path / "ws")
    return Workspace(tmp_path / "ws")


@pytest.fixture(scope="module")
def begun_template(unbroken: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """With the run `begun`, which Ctrl-C ended after its first epoch."""
    made = Workspace(Path(shutil.copytree(unbroken.root, tmp_path_factory.mktemp("begun") / "ws")))
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 1)
        assert call("run", "-w", made.root, "--name", "begun", *SMALL).exit_code == 130
    return made


@pytest.fixture
def begun(begun_template: Workspace, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(begun_template.root, tmp_path / "ws")))


def stop_after(monkeypatch: pytest.MonkeyPatch, epoch: int, of_seed: int = 0) -> None:
    real = Checkpoint.on_epoch_end

    def stop(self: Any, number: int, logs: Any = None) -> None:
        real(self, number, logs)
        if number + 1 == epoch and (of_seed == 0 or self.folder.name.endswith(f"-s{of_seed}")):
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "on_epoch_end", stop)


def assert_same_run(workspace: Workspace, name: str) -> None:
    runs = workspace.root / "runs"
    whole, resumed = (pd.read_csv(runs / one / "history.csv") for one in ("whole", name))
    pd.testing.assert_frame_equal(whole, resumed, rtol=1e-4)
    pairs = zip(read_weights(runs / "whole"), read_weights(runs / name), strict=True)
    assert all(np.allclose(one, two, atol=1e-4) for one, two in pairs)


def test_ctrl_c_keeps_the_finished_epochs_and_resume_ends_as_an_unbroken_run(
    copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        stopped = call("run", "-w", copy.root, "--name", "torn", *SMALL)
    folder = copy.root / "runs" / "torn"
    assert (stopped.exit_code, stopped.stderr) == (
        130,
        f"train: {folder}: interrupted; 2 of 5 epochs are kept: "
        f"`train run --resume --name torn -w {copy.root}` goes on\n",
    )
    taken = call("run", "-w", copy.root, "--name", "torn", *SMALL)
    assert (taken.exit_code, taken.stderr) == (
        1,
        f"train: {folder}: holds an unfinished run: "
        f"`train run --resume --name torn -w {copy.root}` goes on with it, or choose another "
        "--name\n",
    )
    spent = json.loads((folder / "state.json").read_text())
    spent |= {"seconds": spent["seconds"] + 1000, "cpu_seconds": spent["cpu_seconds"] + 2000}
    (folder / "state.json").write_text(json.dumps(spent))
    assert len(pd.read_csv(folder / "history.csv")) == 2
    assert (folder / "best.weights.h5").is_file()
    done = call("run", "-w", copy.root, "--resume")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("run: fast, 5 epochs")
    assert ", in float32 (requested), " in done.output
    assert_same_run(copy, "torn")
    assert (
        not list(folder.glob("epoch-*"))
        + list(folder.glob("state.json"))
        + list(folder.glob(".lock"))
    )
    metrics = json.loads((folder / "metrics.json").read_text())
    assert 1000 < metrics["seconds"] < 1100
    assert 2000 < metrics["resources"]["cpu_seconds"] < 2100


def test_a_network_larger_than_the_memory_is_one_line(copy: Workspace) -> None:
    refused = call("run", "-w", copy.root, "--name", "large", "--widths", "1000000")
    assert refused.exit_code == 1
    assert "not enough memory (OOM when allocating tensor with shape[3,3,1000000," in refused.stderr
    assert refused.stderr.endswith("--size, of processes -j; nothing was changed\n")
    assert not (copy.root / "runs" / "large").exists()


def test_resume_without_an_unfinished_run_or_on_another_manifest_is_an_error(
    copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = copy.root / "runs"
    none = call("run", "-w", copy.root, "--resume")
    assert (none.exit_code, none.stderr) == (
        1,
        f"train: {runs}: no unfinished run here: leave --resume out\n",
    )
    whole = call("run", "-w", copy.root, "--resume", "--name", "whole")
    assert whole.stderr == (
        f"train: {runs / 'whole'}: there is no unfinished run here: leave --resume out, or name "
        "another\n"
    )
    stop_after(monkeypatch, 1)
    call("run", "-w", copy.root, "--name", "torn", *SMALL)
    made = json.loads((runs / "torn" / "recipe.json").read_text())
    (runs / "torn" / "recipe.json").write_text(json.dumps(made | {"manifest_sha256": "0"}))
    changed = call("run", "-w", copy.root, "--resume")
    assert changed.stderr == (
        f"train: {runs / 'torn'}: the manifest has changed since this run began: train anew, "
        "without --resume\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--epochs", "9"), "--epochs 9: {folder} began with 5"),
        (("--recipe", "five-layer"), "--recipe five-layer: {folder} began with fast"),
        (("--seed", "3"), "--seed 3: {folder} began with 0"),
        (("--seeds", "3"), "--seeds 3: {folder} began with 1"),
        (("--stream",), "--stream True: {folder} began with False"),
        (("--classes", "happy,sad"), "--classes happy,sad: {folder} began with all"),
        (
            (
                "--widths",
                "4",
                "--epochs",
                "5",
                "--recipe",
                "fast",
                "--seed",
                "0",
                "--precision",
                "float32",
            ),
            "",
        ),
    ],
)
def test_an_option_that_a_resumed_run_did_not_begin_with_is_refused(
    begun: Workspace, words: tuple[str, ...], message: str
) -> None:
    done = call("run", "-w", begun.root, "--resume", "-n", *words)
    folder = begun.root / "runs" / "begun"
    if message:
        rest = ": leave the option out, or train anew without --resume\n"
        assert (done.exit_code, done.stderr) == (2, f"train: {message.format(folder=folder)}{rest}")
    else:
        assert done.output.startswith(
            "run: would train fast for up to 5 epochs in float32 (requested) on train 47 rows"
        )


def test_a_run_that_another_backend_began_is_refused(begun: Workspace) -> None:
    folder = begun.root / "runs" / "begun"
    made = json.loads((folder / "recipe.json").read_text())
    (folder / "recipe.json").write_text(json.dumps(made | {"backend": "jax"}))
    done = call("run", "-w", begun.root, "--resume")
    assert (done.exit_code, done.stderr) == (
        1,
        f"train: {folder}: began under the Keras backend jax, and this is tensorflow: "
        "set KERAS_BACKEND=jax, or train anew without --resume\n",
    )


def test_best_weights_that_a_kill_kept_from_the_disk_are_those_of_the_state(
    begun: Workspace,
) -> None:
    folder = begun.root / "runs" / "begun"
    state, best = json.loads((folder / "state.json").read_text()), read_weights(folder)
    assert state["epoch"] == state["best_epoch"] == 1
    (folder / "best.weights.h5").unlink()
    (folder / "state.json").write_text(
        json.dumps(state | {"best": 2.0})
    )  # no later epoch is better
    done = call("run", "-w", begun.root, "--resume")
    assert "5 epochs (best 1)" in done.output
    assert all(
        np.array_equal(one, two) for one, two in zip(best, read_weights(folder), strict=True)
    )


def test_seeds_on_a_manifest_that_changes_meanwhile_are_refused(
    copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = series.train

    def train_and_edit(*arguments: Any, **options: Any) -> Any:
        result = real(*arguments, **options)
        write_manifest(copy.manifest, copy.read().assign(width="99"))
        return result

    monkeypatch.setattr(series, "train", train_and_edit)
    done = call("run", "-w", copy.root, "--seeds", "2", "--name", "many", *SMALL, "--epochs", "1")
    assert (done.exit_code, done.stderr) == (
        1,
        f"train: {copy.manifest}: has changed since this training began: train anew under another "
        "--name\n",
    )


def test_a_run_that_is_being_trained_is_left_alone(begun: Workspace) -> None:
    runs = begun.root / "runs"
    folder = runs / "begun"
    with lock_folder(folder):
        for words, message in (
            (
                ("--resume",),
                f"{runs}: no unfinished run here but one that another command trains (begun): "
                "leave --resume out",
            ),
            (
                ("--resume", "--name", "begun"),
                f"{folder}: another command trains this run: wait for it",
            ),
            (
                ("--name", "begun"),
                f"{folder}: another command trains this run: choose another --name",
            ),
        ):
            done = call("run", "-w", begun.root, *words)
            assert (done.exit_code, done.stderr) == (1, f"train: {message}\n")
    assert find_unfinished_run(runs) == folder


def test_a_resumed_run_has_the_options_that_it_began_with(begun: Workspace) -> None:
    folder = begun.root / "runs" / "begun"
    record = read_run_record(folder)
    began = {"precision": "float32", "strategy": "none", "stream": False, "tensorboard": False}
    assert record.options == began
    others = began | {"strategy": "mirrored", "stream": True, "tensorboard": True}
    options = restore_options(replace(record, options=others))
    assert (options.strategy, options.stream, options.tensorboard) == ("mirrored", True, True)
    assert (options.name, options.runs, options.seed, options.precision) == (
        "begun",
        folder.parent,
        0,
        "float32",
    )
    # One worker finishes what several began.
    others["strategy"] = "multiworker"
    assert restore_options(replace(record, options=others)).strategy == "none"


def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    made = [
        make_folder(tmp_path, "now-fast", end, is_given=False).name
        for end in ("", "", "-s0", "-s0", "")
    ]
    assert made == ["now-fast", "now-fast-2", "now-fast-s0", "now-fast-2-s0", "now-fast-3"]
    (tmp_path / "now-fast" / "metrics.json").touch()
    with pytest.raises(RunError, match="already exists: choose another --name"):
        make_folder(tmp_path, "now-fast", is_given=True)


def test_a_training_that_diverges_ends_with_an_error_that_names_the_fix(copy: Workspace) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "plan_rate", lambda *_: 1e38)
        done = call("run", "-w", copy.root, "--name", "wild", *SMALL)
    folder = copy.root / "runs" / "wild"
    assert done.exit_code == 1
    assert done.stderr.startswith(f"train: {folder}: training diverged at epoch 1 of 5 (")
    assert "lower --learning-rate" in done.stderr
    assert done.stderr.endswith("; 0 of 5 epochs are kept\n")
    assert (
        find_best(
            [{"val_accuracy": float("nan")}, {"val_accuracy": 0.5}, {"val_accuracy": 0.4}],
            "accuracy",
        )
        == 2
    )


def test_epochs_whose_scores_are_kept_alike_are_a_tie() -> None:
    checkpoint = Checkpoint(override(FAST, monitor="loss"))
    checkpoint.set_model(SimpleNamespace(get_weights=list))
    for epoch, loss in enumerate((0.7, 0.5 + 2e-8, 0.5 + 1e-8, 0.6)):
        checkpoint.on_epoch_end(epoch, {"val_loss": loss, "val_accuracy": 0.5})
    assert checkpoint.state.best_epoch == find_best(checkpoint.state.history, "loss") == 2


def read_epoch(folder: Path) -> int:
    file = folder / "state.json"
    return int(json.loads(file.read_text())["epoch"]) if file.is_file() else 0


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
def test_a_run_that_a_signal_ended_goes_on_where_it_was(
    copy: Workspace, how: signal.Signals
) -> None:
    folder = copy.root / "runs" / "torn"
    # The share of the predictions depends on the number of epochs, which changes here.
    words = ["-w", str(copy.root), *SMALL, "--self-distillation", "0", "--stop-patience", "0"]
    command = [sys.executable, "-m", "train", "run", "--name", "torn", *words, "--epochs", "500"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    give_up = time.monotonic() + 200
    while read_epoch(folder) < 3 and time.monotonic() < give_up:
        time.sleep(0.02)
    os.kill(process.pid, how)
    stderr = process.communicate()[1]
    state = json.loads((folder / "state.json").read_text())
    assert 3 <= state["epoch"] < 500
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert (
            f"interrupted; {state['epoch']} of 500 epochs are kept: "
            "`train run --resume --name torn -w " in stderr
        )
        return  # what follows is no other than after a kill
    assert call("run", "--name", "plain", *words).exit_code == 0
    made = json.loads((folder / "recipe.json").read_text())
    made["recipe"]["epochs"] = state["epoch"] + 2
    (folder / "recipe.json").write_text(json.dumps(made))
    assert call("run", "-w", copy.root, "--resume", "--name", "torn").exit_code == 0
    history = pd.read_csv(folder / "history.csv")
    assert len(history) == state["epoch"] + 2
    whole = pd.read_csv(copy.root / "runs" / "plain" / "history.csv")
    pd.testing.assert_frame_equal(history.head(5), whole, rtol=1e-4)


def test_several_seeds_report_mean_and_spread_and_resume_goes_on_with_all_of_them(
    copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = (*SMALL, "--epochs", "1")
    with monkeypatch.context() as patch:
        stop_after(patch, 1, of_seed=1)
        stopped = call("run", "-w", copy.root, "--seeds", "2", "--name", "many", *short)
    assert stopped.exit_code == 130
    assert stopped.stderr.endswith(f"`train run --resume --name many -w {copy.root}` goes on\n")
    done = call("run", "-w", copy.root, "--resume", "--seeds", "2")
    assert done.exit_code == 0, done.output
    first, second, last = done.output.splitlines()
    assert first.startswith("run: fast, finished before: val accuracy ")
    assert second.startswith("run: fast, 1 epoch (best 1), ")
    assert last.startswith("run: fast, 2 seeds: val accuracy ")
    assert " ± " in last
    seeds = [
        json.loads((copy.root / "runs" / f"many-s{k}" / "recipe.json").read_text())["seed"]
        for k in (0, 1)
    ]
    assert seeds == [0, 1]
    shutil.rmtree(copy.root / "runs" / "many-s1")
    assert find_unfinished_run(copy.root / "runs").name == "many-s0"


def test_a_folder_that_a_killed_command_left_empty_is_in_nobodys_way(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "own", is_given=True)
    for left in (".lock", "train_rows.csv", ".recipe.json.17.tmp"):
        (folder / left).touch()
    require_free(folder)
    assert make_folder(tmp_path, "own", is_given=True) == folder
    (folder / "recipe.json").write_text("{}")
    (folder / "metrics.json").write_text("{}")
    with pytest.raises(RunError, match="already exists"):
        make_folder(tmp_path, "own", is_given=True)


def test_a_run_broken_off_in_its_first_epoch_starts_from_its_weights_again(
    copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = copy.root / "runs" / "whole" / "best.weights.h5"
    words = (*SMALL, "--epochs", "1", "--weights", weights)
    assert call("run", "-w", copy.root, "--name", "warm", *words).exit_code == 0

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "on_epoch_begin", stop, raising=False)
        assert call("run", "-w", copy.root, "--name", "torn", *words).exit_code == 130
    changed = weights.with_name("kept.h5")
    weights.rename(changed)
    refused = call("run", "-w", copy.root, "--resume", "--name", "torn")
    assert refused.exit_code == 1
    assert f"--weights {weights}: no such file from here" in refused.stderr
    weights.write_bytes(b"others")
    other = call("run", "-w", copy.root, "--resume", "--name", "torn")
    assert f"--weights {weights}: has changed since this training began" in other.stderr
    changed.rename(weights)
    done = call("run", "-w", copy.root, "--resume", "--name", "torn")
    assert done.exit_code == 0, done.output
    one, two = (pd.read_csv(copy.root / "runs" / name / "history.csv") for name in ("warm", "torn"))
    pd.testing.assert_frame_equal(one, two, rtol=1e-4)
    longer = (*SMALL, "--epochs", "2", "--weights", weights)
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        assert call("run", "-w", copy.root, "--name", "late", *longer).exit_code == 130
    weights.unlink()  # its state has weights of its own
    done = call("run", "-w", copy.root, "--resume", "--name", "late")
    assert done.exit_code == 0, done.output


def test_what_the_weights_at_the_start_have_learned_counts_as_learned(copy: Workspace) -> None:
    runs = copy.root / "runs"
    manifest = copy.read()
    turned = manifest["split"].replace({"train": "test", "test": "train"})
    write_manifest(copy.manifest, manifest.assign(split=turned))
    weights = runs / "whole" / "best.weights.h5"
    words = (*SMALL, "--epochs", "1", "--weights", weights)
    assert call("run", "-w", copy.root, "--name", "warm", *words).exit_code == 0
    record = read_run_record(runs / "warm")
    learned = set(record.read_learned_rows()["path"])
    assert learned == set(manifest["path"][manifest["split"].isin(["train", "test"])])
    done = call("evaluate", runs / "warm", "--tta", "1", "-w", copy.root)
    assert "0 rows have no" in done.output
    assert "learned from: the split is another one" in done.output


def test_weights_of_an_unknown_run_are_noted_wherever_scores_are_shown_and_in_their_heirs(
    copy: Workspace, tmp_path: Path
) -> None:
    runs, alone = copy.root / "runs", tmp_path / "alone.weights.h5"
    shutil.copy(runs / "whole" / "best.weights.h5", alone)
    words = (*SMALL, "--epochs", "1", "--weights")
    began = call("run", "-w", copy.root, "--name", "warm", *words, alone)
    assert "has learned is not known, as its run is not beside it" in began.output
    heir = call("run", "-w", copy.root, "--name", "heir", *words, runs / "warm/best.weights.h5")
    assert "is not known, as its run began with such weights" in heir.output
    for name in ("warm", "heir"):
        assert not read_run_record(runs / name).knows_learned
        done = call("evaluate", runs / name, "--tta", "1", "-w", copy.root)
        assert f"the start of {name} had learned is not known" in done.stderr
        assert "no known copy in train (what its weights had learned before" in done.stdout
        card = call("card", runs / name, "-w", copy.root)
        assert card.exit_code == 0, card.output
        assert "no known copy in train" in (runs / name / "README.md").read_text()
    assert read_run_record(runs / "whole").knows_learned


def test_val_rows_that_the_weights_at_the_start_have_learned_are_counted_before_training(
    copy: Workspace,
) -> None:
    manifest = copy.read()
    turned = manifest["split"].replace({"train": "val", "val": "train"})
    write_manifest(copy.manifest, manifest.assign(split=turned))
    weights = copy.root / "runs" / "whole" / "best.weights.h5"
    words = (*SMALL, "--epochs", "1", "--weights", weights)
    many = int((manifest["split"] == "train").sum())
    for command in (("run", "-n"), ("tune", "-n", "--trials", "1")):
        done = call(*command, "-w", copy.root, *words)
        assert f"learned from {many} of the {many} rows of val" in " ".join(done.output.split())
    classes = ("--classes", "happy,sad")
    refused = call("run", "-w", copy.root, "--name", "other", *words, *classes)
    assert refused.exit_code == 2
    assert "its run has the classes angry, happy, sad, and this one happy, sad" in refused.stderr


def test_a_test_split_that_chose_the_epoch_of_a_run_is_noted(copy: Workspace) -> None:
    manifest = copy.read()
    words = ("evaluate", copy.root / "runs" / "whole", "--tta", "1", "-w", copy.root)
    assert "was chosen" not in call(*words).output
    turned = manifest["split"].replace({"val": "test", "test": "val"})
    write_manifest(copy.manifest, manifest.assign(split=turned))
    many = int((manifest["split"] == "val").sum())
    note = f"{many} rows are in test now by whose scores the epoch of whole was chosen"
    assert note in " ".join(call(*words).output.split())
    # And so is the epoch of a run that starts from its weights.
    weights = ("--weights", copy.root / "runs" / "whole" / "best.weights.h5")
    warm = ("run", "-w", copy.root, "--name", "warm", *SMALL, "--epochs", "1", *weights)
    assert call(*warm).exit_code == 0
    done = call("evaluate", copy.root / "runs" / "warm", "--tta", "1", "-w", copy.root)
    assert note.replace("whole", "warm") in " ".join(done.output.split())


def test_class_weights_that_change_between_two_seeds_are_refused(
    copy: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "w.csv"
    table.write_text("class,weight\n" + "".join(f"{name},1.5\n" for name in CLASSES))
    real = Checkpoint.on_epoch_end

    def change(self: Any, number: int, logs: Any = None) -> None:
        real(self, number, logs)
        table.write_text("class,weight\n" + "".join(f"{name},2.5\n" for name in CLASSES))

    monkeypatch.setattr(Checkpoint, "on_epoch_end", change)
    words = (*SMALL, "--epochs", "1", "--class-weights", table)
    done = call("run", "-w", copy.root, "--seeds", "2", "--name", "series", *words)
    assert done.exit_code == 1
    assert "the class weights have changed since this training began" in done.stderr


def test_a_full_disk_is_one_line_whatever_hdf5_raises(
    copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: Any) -> None:
        raise RuntimeError("Unable to flush file\n(errno = 28, 'No space left on device')")

    monkeypatch.setattr(keras.Model, "save_weights", fill)
    done = call("run", "-w", copy.root, "--name", "full", *SMALL)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "cannot be written (No space left on device): free or unlock the disk" in done.stderr
