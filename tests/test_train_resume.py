"""A run that was killed goes on at its last finished epoch and ends as an unbroken one; Ctrl-C keeps what there is."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_train_workspace import make_workspace
from typer.testing import CliRunner, Result

from curate.workspace import Workspace
from train import watch
from train.cli import app

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
# Dropout is on: a resumed run must drop the same units.
SMALL = (
    "--widths", "4", "--batch-size", "16", "--epochs", "5", "--dropout", "0.5", "--precision", "float32",
    "--schedule", "plateau", "--plateau-patience", "1", "--plateau-factor", "0.5",
)  # fmt: skip


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="train")


def read_weights(folder: Path) -> list[np.ndarray]:
    import h5py

    found: list[np.ndarray] = []
    with h5py.File(folder / "best.weights.h5") as file:
        file["layers"].visititems(lambda _, item: found.append(np.array(item)) if hasattr(item, "shape") else None)
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


def stop_after(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    real = watch.WatchVal.on_epoch_end

    def stop(self: Any, number: int, logs: Any = None) -> None:
        real(self, number, logs)
        if number + 1 == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch.WatchVal, "on_epoch_end", stop)


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
        130, f"train: {folder}: interrupted; 2 of 5 epochs are kept: `train run --resume --name torn` goes on\n",
    )  # fmt: skip
    assert len(pd.read_csv(folder / "history.csv")) == 2
    assert (folder / "best.weights.h5").is_file()
    done = call("run", "-w", copy.root, "--resume")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("run: fast, 5 epochs")
    assert_same_run(copy, "torn")
    assert not list(folder.glob("epoch-*")) + list(folder.glob("state.json"))


def test_resume_without_an_unfinished_run_or_on_another_manifest_is_an_error(
    copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = copy.root / "runs"
    none = call("run", "-w", copy.root, "--resume")
    assert (none.exit_code, none.stderr) == (1, f"train: {runs}: no unfinished run here: leave --resume out\n")
    whole = call("run", "-w", copy.root, "--resume", "--name", "whole")
    assert (
        whole.stderr
        == f"train: {runs / 'whole'}: there is no unfinished run here: leave --resume out, or name another\n"
    )
    stop_after(monkeypatch, 1)
    call("run", "-w", copy.root, "--name", "torn", *SMALL)
    made = json.loads((runs / "torn" / "recipe.json").read_text())
    (runs / "torn" / "recipe.json").write_text(json.dumps(made | {"manifest_sha256": "0"}))
    changed = call("run", "-w", copy.root, "--resume")
    assert changed.stderr == (
        f"train: {runs / 'torn'}: the manifest has changed since this run began: train anew, without --resume\n"
    )


def test_a_run_killed_with_nine_goes_on_where_it_was(copy: Workspace) -> None:
    folder = copy.root / "runs" / "torn"
    words = [sys.executable, "-m", "train", "run", "-w", str(copy.root), "--name", "torn", *SMALL, "--epochs", "500"]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True)
    give_up = time.monotonic() + 120
    while not list(folder.glob("epoch-0003*")) and time.monotonic() < give_up:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    state = json.loads((folder / "state.json").read_text())
    assert 3 <= state["epoch"] < 500
    made = json.loads((folder / "recipe.json").read_text())
    made["recipe"]["epochs"] = state["epoch"] + 2
    (folder / "recipe.json").write_text(json.dumps(made))
    assert call("run", "-w", copy.root, "--resume", "--name", "torn").exit_code == 0
    history = pd.read_csv(folder / "history.csv")
    assert len(history) == state["epoch"] + 2
    whole = pd.read_csv(copy.root / "runs" / "whole" / "history.csv")
    pd.testing.assert_frame_equal(history.head(5), whole, rtol=1e-4)


def test_several_seeds_tell_mean_and_spread(copy: Workspace) -> None:
    done = call("run", "-w", copy.root, "--seeds", "2", "--name", "twice", *SMALL, "--epochs", "1")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert len(lines) == 3
    assert lines[-1].startswith("run: fast, 2 seeds: val accuracy ")
    assert " ± " in lines[-1]
    seeds = [json.loads((copy.root / "runs" / f"twice-s{k}" / "recipe.json").read_text())["seed"] for k in (0, 1)]
    assert seeds == [0, 1]
