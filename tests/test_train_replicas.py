"""Replicas share each batch without overlap, end each epoch as one, and survive what single processes survive."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from test_train_resume import assert_same_run, call, read_epoch, stop_after
from test_train_workspace import make_workspace

from curate.workspace import Workspace
from train.data import Examples
from train.feed import count_steps, stream_batches
from train.fit import make_model
from train.recipes import FAST, RECIPES, override
from train.replicas import Lead, list_network, list_remembered, read_variables, settle_replicas, write_variables

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
# Twelve steps an epoch: one mean between, one at its end.
SMALL = (
    "--widths", "4", "--batch-size", "2", "--replicas", "2", "--epochs", "4", "--dropout", "0.5", "--precision", "float32",
    "--self-distillation", "0.5",
)  # fmt: skip


def make_examples(count: int) -> Examples:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 48, 48), np.uint8)
    return Examples(images, np.arange(count), rng.integers(0, 3, count), rng.uniform(0.5, 2, count).astype(np.float32))


@pytest.mark.parametrize("count", [23, 17, 16, 5])
def test_the_shares_of_the_replicas_are_the_batches_of_one_process(count: int) -> None:
    train = make_examples(count)
    shared = override(FAST, batch_size=4, replicas=2, self_distillation=0.5)
    alone = stream_batches(override(shared, batch_size=8, replicas=1), 3, train, (0,))
    shares = [stream_batches(shared, 3, train, (0,), replica=number) for number in (0, 1)]
    for _ in range(2 * count_steps(shared, count)):
        whole, parts = next(alone), [next(share) for share in shares]
        for place, expected in enumerate(whole):
            joined = np.concatenate([part[place] for part in parts])
            rows = np.concatenate([part[1][:, -1] for part in parts])
            found = np.argsort(rows, kind="stable"), np.argsort(whole[1][:, -1], kind="stable")
            if len(rows) == len(whole[0]):
                assert np.array_equal(joined[found[0]], expected[found[1]])
            else:  # one row was left for two replicas
                assert len(rows) == 2
                assert np.array_equal(joined, np.concatenate([expected, expected]))


class FakeLink:
    """A replica that says what it was told to."""

    def __init__(self, says: Callable[[], Any]):
        self.says, self.heard = says, []

    def send(self, values: Any) -> None:
        self.heard.append(values)

    def recv(self) -> Any:
        return self.says()


def test_an_epoch_ends_with_the_mean_of_the_replicas_and_the_beliefs_of_all_rows() -> None:
    recipe = override(FAST, widths=(4,), replicas=3, self_distillation=0.5)
    model = make_model(recipe, 3, 6, "float32")
    remembered = list_remembered(model)
    rng = np.random.default_rng(1)
    write_variables(remembered, [rng.random(v.shape).astype(v.dtype) for v in remembered])
    place = next(number for number, variable in enumerate(remembered) if variable is model.beliefs)
    others = [[rng.random(v.shape).astype(v.dtype) for v in remembered] for _ in range(2)]
    lead = Lead([FakeLink(lambda: (others[0], {"loss": 2.0})), FakeLink(lambda: (others[1], {"loss": 6.0}))])  # type: ignore[list-item]
    lead.set_model(model)
    lead.on_epoch_begin(0)
    before = read_variables(remembered)
    assert all(
        np.array_equal(told, own) for link in lead.links for told, own in zip(link.heard[0], before, strict=True)
    )
    # Each replica has seen two of the six rows.
    beliefs = [before[place].copy() for _ in range(3)]
    for number in range(3):
        beliefs[number][2 * number : 2 * number + 2] = number + 1
    model.beliefs.assign(beliefs[0])
    others[0][place], others[1][place] = beliefs[1], beliefs[2]
    lead.end_epoch({"loss": 1.0})
    logs = {"loss": 1.0, "val_loss": 9.0}
    lead.on_epoch_end(0, logs)
    assert logs == {"loss": 3.0, "val_loss": 9.0}
    after = read_variables(remembered)
    assert np.allclose(after[place], np.repeat([[1.0], [2.0], [3.0]], 2, axis=0), atol=1e-5)
    for number, mean in enumerate(after):
        if number != place and np.issubdtype(mean.dtype, np.floating):
            assert np.allclose(mean, np.mean([before[number], others[0][number], others[1][number]], axis=0), atol=1e-6)


def test_between_epochs_only_the_networks_meet() -> None:
    model = make_model(override(FAST, widths=(4,), replicas=2, self_distillation=0.5), 3, 6, "float32")
    network = list_network(model)
    assert {variable.path.split("/")[-1] for variable in network} == {
        "kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance",
    }  # fmt: skip
    own = read_variables(network)
    link = FakeLink(lambda: [value + 2 for value in own])
    lead = Lead([link])  # type: ignore[list-item]
    lead.set_model(model)
    lead.params = {"steps": 20}
    for batch in range(8):
        lead.on_train_batch_end(batch, {})
    assert len(link.heard) == 1
    assert all(np.allclose(now, was + 1) for now, was in zip(read_variables(network), own, strict=True))


def test_the_data_decide_how_many_replicas_there_are() -> None:
    rows = 2 * 100 * FAST.batch_size
    assert settle_replicas(FAST, rows).replicas == 2
    assert settle_replicas(FAST, 10 * rows).replicas == 2
    assert settle_replicas(FAST, rows - FAST.batch_size).replicas == 1
    assert settle_replicas(FAST, 3).replicas == 1
    assert settle_replicas(FAST, rows, strategy="mirrored").replicas == 1
    assert settle_replicas(FAST, rows, in_memory=False).replicas == 1
    assert settle_replicas(replace(FAST, replicas=3), 3).replicas == 3
    assert {name for name, recipe in RECIPES.items() if settle_replicas(recipe, 2 * rows).replicas != 1} == {
        "fast",
        "long",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--replicas", "65"), "--replicas 65: must be in 0..64"),
        (
            ("--replicas", "2", "--strategy", "mirrored", "--self-distillation", "0"),
            "--replicas 2: --strategy mirrored shares the batches already: leave it out",
        ),
        (("--replicas", "2", "--stream"), "--replicas 2: needs the images in memory: leave it out"),
    ],
)
def test_replicas_that_cannot_be_are_refused(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    made = make_workspace(tmp_path)
    done = call("run", "-w", made.root, *words)
    assert (done.exit_code, done.stderr) == (2, f"train: {message}\n")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("replicas"))


def test_ctrl_c_and_resume_end_as_an_unbroken_run(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("run", "-w", workspace.root, "--name", "whole", *SMALL).exit_code == 0
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        assert call("run", "-w", workspace.root, "--name", "torn", *SMALL).exit_code == 130
    assert not _replicas_of(os.getpid())
    done = call("run", "-w", workspace.root, "--resume", "--name", "torn")
    assert done.exit_code == 0, done.output
    assert_same_run(workspace, "torn")
    made = json.loads((workspace.root / "runs" / "torn" / "recipe.json").read_text())
    assert made["recipe"]["replicas"] == 2
    history = pd.read_csv(workspace.root / "runs" / "whole" / "history.csv")
    assert history["loss"].between(0, 10).all()


def test_whoever_is_killed_takes_the_others_along_and_the_finished_epochs_stay(workspace: Workspace) -> None:
    folder = workspace.root / "runs" / "killed"
    words = ["train", "run", "-w", str(workspace.root), "--name", "killed"]
    first = _start([*words, *SMALL, "--epochs", "500"])
    replica = _wait_for_epoch(first, folder, 1)
    replica.kill()
    message = first.communicate(timeout=60)[1]
    assert first.returncode == 1
    kept = read_epoch(folder)
    assert message == (
        f"train: {folder}: a process of the training died (out of memory?): --replicas 1 needs none beside the first; {kept} of "
        f"500 epochs are kept: `train run --resume --name killed -w {workspace.root}` goes on\n"
    )  # fmt: skip
    second = _start([*words, "--resume"])
    replica = _wait_for_epoch(second, folder, kept + 1)
    os.kill(second.pid, signal.SIGKILL)
    second.wait()
    assert psutil.wait_procs([replica], timeout=15)[1] == [], "a replica outlived the command"


def _start(words: list[str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", *words]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def _wait_for_epoch(process: "subprocess.Popen[str]", folder: Path, epoch: int) -> psutil.Process:
    """The process beside the first one, once so many epochs are kept."""
    give_up = time.monotonic() + 120
    while read_epoch(folder) < epoch and time.monotonic() < give_up:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    [replica] = _replicas_of(process.pid)
    return replica


def _replicas_of(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children() if "spawn_main" in " ".join(child.cmdline())]
