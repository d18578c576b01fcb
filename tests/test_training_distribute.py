"""Batches of `tf.data` equal those of the memory loop; replicas and workers equal one process."""

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bars import make_workspace
from conftest import call_curate
from scipy.stats import ks_2samp
from typer.testing import CliRunner, Result

from curate.errors import UsageError
from curate.workspace.workspace import Workspace
from train.cli.training import app
from train.data.batches import stream_batches
from train.data.dataset import Examples
from train.data.tf_batches import stream_dataset
from train.models.build import build_model
from train.models.self_distillation import SelfDistilledModel
from train.oof import margins
from train.recipes.presets import RECIPES
from train.training import distribute, tune
from train.training.fit import DivergedError, uses_tf_data

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"
)
# A rounding error is a whole step of Adam where the gradient is nearly 0: compare few, small steps.
SMALL = (
    "--widths", "8", "--batch-size", "16", "--epochs", "2", "--dropout", "0",
    "--precision", "float32", "--schedule", "plateau", "--plateau-patience", "1",
)  # fmt: skip
DISTILLED = ("--self-distillation", "0.9")
RECIPE = replace(
    RECIPES["fast"],
    batch_size=4,
    shear=10.0,
    brightness=(0.5, 1.5),
    erase=0.5,
    self_distillation=0.5,
)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="train")


class Mapped:
    """Images that are not in memory."""

    def __init__(self, images: np.ndarray):
        self.images = images

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self.images[rows]


def make_examples(rows: int) -> Examples:
    random = np.random.default_rng(0)
    images = Mapped(random.integers(0, 255, (rows, 48, 48)).astype(np.uint8))
    return Examples(
        images, np.arange(rows), random.integers(0, 3, rows), random.random(rows).astype(np.float32)
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = make_workspace(tmp_path_factory.mktemp("stream"))
    for name, share in (("one", "0.9"), ("plain", "0")):
        words = ("--name", name, *SMALL, "--self-distillation", share)
        assert call("run", "-w", made.root, *words).exit_code == 0
    one, plain = (read_history(made, name)["loss"] for name in ("one", "plain"))
    assert abs(one - plain).max() > 0.005  # the comparisons below would see a missing share
    return made


def read_history(workspace: Workspace, name: str) -> pd.DataFrame:
    return pd.read_csv(workspace.root / "runs" / name / "history.csv")


def test_the_stream_of_tf_data_has_the_bytes_of_the_loop() -> None:
    train = make_examples(10)
    assert uses_tf_data(train)
    streamed = stream_dataset(RECIPE, 3, train, (7,)).as_numpy_iterator()
    for _, ours, theirs in zip(
        range(9), stream_batches(RECIPE, 3, train, (7,)), streamed, strict=False
    ):
        assert all(
            (one == two).all() and one.dtype == two.dtype
            for one, two in zip(ours, theirs, strict=True)
        )


def test_the_stream_has_the_distribution_of_the_loop_under_another_seed() -> None:
    """An upright bright bar off the middle shows shift, zoom and rotation of each warp."""
    images = np.full((600, 48, 48), 40, np.uint8)
    images[:, 10:30, 12:17] = 200
    train = Examples(Mapped(images), np.arange(600), np.zeros(600, int), np.ones(600, np.float32))
    recipe = replace(RECIPE, batch_size=600, rotation=20.0)
    seen = []
    for seed, source in ((1, stream_batches), (2, stream_dataset)):
        pixels = np.asarray(next(iter(source(recipe, 3, train, (seed,))))[0], float)[..., 0]
        seen.append(measure_bars(pixels))
    assert set(seen[0]) == {"x", "y", "area", "angle", "light"}
    for name, ours in seen[0].items():
        assert ks_2samp(ours, seen[1][name]).pvalue > 0.01, name
        other = measure_bars(np.asarray(images, float))[name]
        assert np.ptp(ours) > 0.1
        assert np.ptp(other) == pytest.approx(0)


def measure_bars(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Centroid, area, angle from upright and light of the bright part of each image."""
    light = pixels.max(axis=(1, 2))
    bright = pixels > 0.6 * light[:, None, None]
    area = bright.sum(axis=(1, 2))
    rows, columns = np.mgrid[:48, :48]
    y, x = ((bright * axis).sum(axis=(1, 2)) / area for axis in (rows, columns))
    dx, dy = columns - x[:, None, None], rows - y[:, None, None]
    xx, yy, xy = ((bright * product).sum(axis=(1, 2)) for product in (dx * dx, dy * dy, dx * dy))
    return {"x": x, "y": y, "area": area, "angle": np.arctan2(2 * xy, yy - xx) / 2, "light": light}


def test_margins_are_read_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    train = make_examples(10)
    requested: list[int] = []

    class Watched(Mapped):
        def __getitem__(self, rows: np.ndarray) -> np.ndarray:
            requested.append(len(rows))
            return super().__getitem__(rows)

    def believe(pixels: np.ndarray, **_: object) -> np.ndarray:
        shares = 1.0 + pixels[:, :3, 0, 0].astype(float)
        return shares / shares.sum(axis=1, keepdims=True)

    def follow() -> np.ndarray:
        follower = margins.MarginRecorder(
            replace(train, images=Watched(train.images.images)), epochs=1
        )
        follower.set_model(SimpleNamespace(predict=believe))
        follower.on_epoch_end(0)
        return follower.margins

    whole = follow()
    monkeypatch.setattr(margins, "BLOCK", 4)
    assert (follow() == whole).all()
    assert requested == [10, 4, 4, 2]


@pytest.mark.parametrize(
    ("task", "cluster", "number"),
    [
        ({"type": "chief", "index": 0}, {"chief": ["a:1"], "worker": ["b:1"]}, 0),
        ({"type": "worker", "index": 0}, {"chief": ["a:1"], "worker": ["b:1"]}, 1),
        ({"type": "worker", "index": 0}, {"worker": ["a:1", "b:1"]}, 0),
        ({"type": "worker", "index": 1}, {"worker": ["a:1", "b:1"]}, 1),
    ],
)
def test_one_worker_writes_the_chief_if_there_is_one(
    task: dict[str, object],
    cluster: dict[str, list[str]],
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    assert distribute.find_worker("multiworker") == number
    assert distribute.find_worker("none") == 0


def test_the_shares_of_the_replicas_make_up_the_batch() -> None:
    train = make_examples(10)
    whole = list(zip(range(3), stream_batches(RECIPE, 3, train, (0,)), strict=False))
    shares = [
        stream_dataset(RECIPE, 3, train, (0,), own_replicas=[r], replicas=2).as_numpy_iterator()
        for r in (0, 1)
    ]
    for _, (pixels, _, weights) in whole:
        one, two = (next(share) for share in shares)
        assert (one[0] == pixels[0::2]).all()
        assert (two[2] == weights[1::2]).all()
    both = stream_dataset(
        RECIPE, 3, make_examples(5), (0,), own_replicas=[0, 1], replicas=2
    ).as_numpy_iterator()
    assert [len(next(both)[2]) for _ in range(4)] == [
        2,
        2,
        1,
        1,
    ]  # the last batch has one row, which counts for two


def test_a_stream_trains_as_the_loop(workspace: Workspace) -> None:
    words = ("--name", "stream", *SMALL, *DISTILLED, "--stream")
    assert call("run", "-w", workspace.root, *words).exit_code == 0
    pd.testing.assert_frame_equal(
        read_history(workspace, "one"), read_history(workspace, "stream"), rtol=1e-3
    )


WITH_TWO_CPUS = """
import sys
import tensorflow

(cpu,) = tensorflow.config.list_physical_devices("CPU")
logical = [tensorflow.config.LogicalDeviceConfiguration()] * 2
tensorflow.config.set_logical_device_configuration(cpu, logical)
from train.cli.training import app
from train.training.distribute import list_cpus

print(len(list_cpus()))
app(sys.argv[1:], prog_name="train")
"""


@pytest.mark.long
@pytest.mark.parametrize(("alone", "share"), [("one", "0.9"), ("plain", "0")])
def test_two_replicas_of_a_mirrored_strategy_have_the_loss_of_one(
    workspace: Workspace, alone: str, share: str
) -> None:
    how = ("--self-distillation", share, "--strategy", "mirrored")
    words = ("run", "-w", str(workspace.root), "--name", f"mirrored-{alone}", *SMALL, *how)
    command = [sys.executable, "-c", WITH_TWO_CPUS, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "2"), done.stderr
    pd.testing.assert_frame_equal(
        read_history(workspace, alone), read_history(workspace, f"mirrored-{alone}"), rtol=1e-3
    )


@pytest.mark.long
def test_two_workers_on_this_machine_have_the_loss_of_one(workspace: Workspace) -> None:
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            ports.append(free.getsockname()[1])
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    words = [
        sys.executable,
        "-m",
        "train",
        "run",
        "-w",
        str(workspace.root),
        "--name",
        "two",
        *SMALL,
        *DISTILLED,
    ]
    workers = []
    for k in range(2):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": k}})
        process = subprocess.Popen(
            [*words, "--strategy", "multiworker"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "TF_CONFIG": config},
        )
        workers.append(process)
    outputs = [worker.communicate(timeout=200)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    assert outputs[1].splitlines()[-1] == "run: worker 1 is done; the first worker writes the run"
    pd.testing.assert_frame_equal(
        read_history(workspace, "one"), read_history(workspace, "two"), rtol=1e-3
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--strategy", "tpu"), "--strategy tpu: must be one of none, mirrored, multiworker"),
        (
            ("--strategy", "multiworker"),
            "--strategy multiworker: TF_CONFIG names no cluster: set it on every worker as "
            "TensorFlow documents",
        ),
        (
            ("--strategy", "multiworker", "--resume"),
            "--resume and --strategy multiworker exclude each other: go on with one worker",
        ),
    ],
)
def test_a_strategy_that_cannot_be_had_is_one_line(
    workspace: Workspace, words: tuple[str, ...], message: str
) -> None:
    done = call("run", "-w", workspace.root, *words)
    assert (done.exit_code, done.stderr) == (2, f"train: {message}\n")


def test_self_distillation_refuses_more_rows_than_it_has_numbers_for() -> None:
    network = build_model(replace(RECIPE, widths=(2,)), 3, "float32")
    with pytest.raises(UsageError, match=r"at most 16,777,216 rows .*: add --self-distillation 0$"):
        SelfDistilledModel(network, 2**24 + 1)


def test_tuning_begins_with_the_recipe_and_writes_every_trial(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested: list[str] = []
    real = tune.select_examples
    monkeypatch.setattr(
        tune,
        "select_examples",
        lambda made, images, split, *others: (
            requested.append(split) or real(made, images, split, *others)
        ),
    )
    done = call(
        "tune",
        "-w",
        workspace.root,
        "--trials",
        "2",
        "--epochs",
        "1",
        "--widths",
        "4",
        "--batch-size",
        "20",
    )
    assert done.exit_code == 0, done.output
    assert requested == ["train", "val"]
    folder = workspace.root / "tuning" / "fast"
    trials = pd.read_csv(folder / "trials.csv")
    assert trials.loc[0, ["learning_rate", "batch_size"]].tolist() == [0.005, 20]
    assert trials["batch_size"].isin((20, *tune.BATCH_SIZES)).all()
    assert trials["learning_rate"].between(0.0005, 0.05).all()
    best = json.loads((folder / "best.json").read_text())
    assert best["val_accuracy"] == trials["val_accuracy"].max()
    assert (folder / "trials.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(tune, "find_spec", lambda _: None)
    missing = call("tune", "-w", workspace.root)
    assert (
        missing.stderr == "train: tune: Optuna is not installed: `pip install 'candid-fer[tune]'`\n"
    )


def test_a_trial_that_falls_behind_or_diverges_is_pruned(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optuna

    ends = iter(["whole", "behind", "diverged"])

    def end(
        *_: object, callbacks: list[tune._Report], **__: object
    ) -> tuple[None, list[dict[str, float]]]:
        how = next(ends)
        if how == "diverged":
            raise DivergedError("training diverged")
        callbacks[0].is_pruned = how == "behind"
        return None, [{"val_accuracy": 0.5 if how == "whole" else 0.25, "val_loss": 1.0}]

    studies = []
    real = optuna.create_study
    monkeypatch.setattr(tune, "fit_model", end)
    monkeypatch.setattr(
        optuna, "create_study", lambda **options: studies.append(real(**options)) or studies[0]
    )
    out = workspace.root / "pruned"
    done = call("tune", "-w", workspace.root, "--trials", "3", "--epochs", "2", "--out", out)
    assert done.exit_code == 0, done.output
    assert [trial.state.name for trial in studies[0].trials] == ["COMPLETE", "PRUNED", "PRUNED"]
    assert pd.read_csv(out / "trials.csv")["val_accuracy"].tolist() == [0.5, 0.25, 0.0]


def test_ctrl_c_keeps_the_best_of_the_trials_that_are_done(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = iter([0.25, 0.5])

    def end(*_: object, **__: object) -> tuple[None, list[dict[str, float]]]:
        score = next(ends, None)
        if score is None:
            raise KeyboardInterrupt
        return None, [{"val_accuracy": score, "val_loss": 1.0}]

    monkeypatch.setattr(tune, "fit_model", end)
    out = workspace.root / "interrupted"
    done = call("tune", "-w", workspace.root, "--trials", "3", "--epochs", "1", "--out", out)
    assert done.exit_code == 130
    assert "2 of 3 trials are kept: the command with --resume goes on" in done.stderr
    assert len(pd.read_csv(out / "trials.csv")) == 2
    assert json.loads((out / "best.json").read_text())["val_accuracy"] == 0.5
    assert (out / "trials.png").is_file()


@pytest.mark.parametrize("broken_after", [1, 3])
def test_a_search_that_was_broken_off_draws_as_an_unbroken_one(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken_after: int
) -> None:
    def end(*_: object, **__: object) -> tuple[None, list[dict[str, float]]]:
        number = next(calls)
        if number == stop:
            raise KeyboardInterrupt
        return None, [{"val_accuracy": (number % 3) / 4, "val_loss": 1.0}]

    monkeypatch.setattr(tune, "fit_model", end)
    words = ("tune", "-w", workspace.root, "--trials", "12", "--epochs", "1", "--out")
    calls, stop = itertools.count(), -1
    assert call(*words, tmp_path / "whole").exit_code == 0
    calls, stop = itertools.count(), broken_after
    assert call(*words, tmp_path / "torn").exit_code == 130
    calls, stop = itertools.count(broken_after), -1
    assert call(*words, tmp_path / "torn", "--resume").exit_code == 0
    whole, torn = ((tmp_path / name / "trials.csv").read_bytes() for name in ("whole", "torn"))
    assert whole == torn


def test_a_search_that_was_broken_off_goes_on_with_its_trials(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optuna

    root = Path(shutil.copytree(workspace.root, tmp_path / "ws"))
    scores = {0: 0.25, 1: 0.75, 2: None, 3: 0.5, 4: 0.125}
    calls = itertools.count()

    def end(*_: object, callbacks: list[Any], **__: object) -> tuple[None, list[dict[str, float]]]:
        number = next(calls)
        score = scores[number]
        if score is None:
            raise KeyboardInterrupt
        callbacks[0].is_pruned = number == 0
        return None, [{"val_accuracy": score, "val_loss": 1.0}]

    studies = []
    real = optuna.create_study
    monkeypatch.setattr(tune, "fit_model", end)
    monkeypatch.setattr(
        optuna, "create_study", lambda **options: studies.append(real(**options)) or studies[-1]
    )
    words = ("tune", "-w", root, "--recipe", "five-layer", "--epochs", "1")
    assert call(*words, "--resume").stderr.endswith(
        "five-layer: holds no search: leave --resume out to search anew\n"
    )
    assert call(*words, "--trials", "3").exit_code == 130
    folder = root / "tuning" / "five-layer"
    before = pd.read_csv(folder / "trials.csv")
    other = call(*words, "--resume", "--trials", "4", "--seed", "1")
    assert other.stderr.endswith(
        "five-layer: was searched with seed 0, now it is 1: make them equal, or leave --resume out "
        "to search anew\n"
    )
    planned = call(*words, "--trials", "4", "--resume", "--dry-run")
    assert planned.output.startswith("tune: would train 2 models of five-layer")
    (folder / "trials.csv").unlink()  # of a process that was killed before it wrote the table
    done = call(*words, "--trials", "4", "--resume")
    assert done.exit_code == 0, done.output
    after = pd.read_csv(folder / "trials.csv")
    assert after["trial"].tolist() == [0, 1, 2, 3]
    pd.testing.assert_frame_equal(after[:2], before)
    assert after["learning_rate"].is_unique
    assert [trial.state.name for trial in studies[-1].trials[:2]] == ["PRUNED", "COMPLETE"]
    assert studies[-1].best_value == 0.75
    best = (folder / "best.json").read_bytes()
    (folder / "best.json").unlink()  # of a process that was killed behind its last trial
    assert call(*words, "--trials", "4", "--resume").exit_code == 0
    assert (folder / "best.json").read_bytes() == best
    decided = call_curate("decide", "bars/happy/05.png", "--drop", "-w", root)
    assert decided.exit_code == 0, decided.output
    changed = call(*words, "--trials", "5", "--resume")
    assert "was searched with manifest.csv of SHA-256" in changed.stderr
    (folder / "search.json").write_text("{}")
    damaged = call(*words, "--trials", "5", "--resume")
    assert damaged.exit_code == 1
    assert damaged.stderr.endswith("leave --resume out to search anew\n")


def test_where_every_trial_diverges_there_is_no_best_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: object, **__: object) -> None:
        raise DivergedError("training diverged")

    monkeypatch.setattr(tune, "fit_model", diverge)
    out = workspace.root / "diverged"
    done = call("tune", "-w", workspace.root, "--trials", "2", "--epochs", "2", "--out", out)
    assert (done.exit_code, done.stderr) == (
        1,
        f"train: {out}: training diverged in all 2 trials: lower --learning-rate\n",
    )
    assert not (out / "best.json").exists()


def test_a_trial_that_optuna_gives_up_stops() -> None:
    reports: list[tuple[float, int]] = []
    trial = SimpleNamespace(
        report=lambda value, epoch: reports.append((value, epoch)),
        should_prune=lambda: len(reports) == 2,
    )
    report = tune._Report(trial)
    model = SimpleNamespace(stop_training=False)
    report.set_model(model)
    for epoch in range(2):
        assert not model.stop_training
        report.on_epoch_end(epoch, {"val_accuracy": 0.5})
    assert (reports, model.stop_training, report.is_pruned) == ([(0.5, 0), (0.5, 1)], True, True)
