"""The way of `train run` through the code: how many modules it enters, and that it builds once."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from bars import make_workspace
from conftest import call_curate
from typer.testing import CliRunner

import train
from curate.workspace.workspace import Workspace
from train.cli.training import app
from train.data.batches import make_validation
from train.data.dataset import load_images, read_dataset, select_examples
from train.evaluation.metrics import score_predictions
from train.runs.load import load_run
from train.runs.record import read_finished_run
from train.training import fit
from train.training.checkpoint import Checkpoint

ROOT = Path(train.__file__).parent.parent
MAX_MODULES = 25
WORDS = ("--widths", "4", "--batch-size", "16", "--epochs", "2")

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"
)


def call_run(workspace: Workspace, *words: str) -> int:
    arguments = ["run", "-w", str(workspace.root), *words]
    return CliRunner().invoke(app, arguments, prog_name="train").exit_code


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """With class_weights.csv, and with the images in the cache by a first run."""
    workspace = make_workspace(tmp_path_factory.mktemp("path"))
    assert call_curate("weights", "-w", workspace.root).exit_code == 0
    assert call_run(workspace, "--name", "first", *WORDS, "--class-weights") == 0
    return workspace


@pytest.fixture
def workspace(template: Workspace, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(template.root, tmp_path / "ws")))


@contextmanager
def trace_modules() -> Iterator[set[str]]:
    """The files of curate and train in which a function is called."""
    entered: set[str] = set()
    programs = (f"{ROOT}/curate/", f"{ROOT}/train/")

    def note(frame: FrameType, event: str, _: Any) -> None:
        # Called for every function of every library: it must cost little.
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(programs) and frame.f_code.co_name != "<module>":
            entered.add(file)

    sys.setprofile(note)
    try:
        yield entered
    finally:
        sys.setprofile(None)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The precision of every network that is built."""
    built: list[str] = []
    real = fit.build_model

    def build(recipe: Any, classes: int, precision: str = "float32") -> Any:
        built.append(precision)
        return real(recipe, classes, precision)

    for module in ("train.training.fit", "train.training.tune", "train.runs.load"):
        monkeypatch.setattr(f"{module}.build_model", build)
    return built


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_run_with_class_weights_enters_at_most_25_modules_and_builds_one_network(
    workspace: Workspace, builds: list[str], precision: str
) -> None:
    words = ("--name", "traced", *WORDS, "--precision", precision, "--class-weights")
    with trace_modules() as entered:
        assert call_run(workspace, *words) == 0
    sys.stdout.write("\n  ".join([f"{len(entered)} modules:", *sorted(entered)]) + "\n")
    assert len(entered) <= MAX_MODULES
    assert builds == [precision]


def test_a_resumed_run_builds_one_network(
    workspace: Workspace, builds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Checkpoint, epoch: int, logs: dict[str, float] | None = None) -> None:
        real(self, epoch, logs)
        raise KeyboardInterrupt

    real = Checkpoint.on_epoch_end
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "on_epoch_end", stop)
        assert call_run(workspace, "--name", "torn", *WORDS) == 130
    builds.clear()
    assert call_run(workspace, "--resume", "--name", "torn") == 0
    assert len(builds) == 1


def test_the_scores_of_a_mixed_precision_run_are_those_of_a_float32_network(
    workspace: Workspace,
) -> None:
    words = ("--name", "mixed", *WORDS, "--precision", "mixed_bfloat16")
    assert call_run(workspace, *words) == 0
    folder = workspace.root / "runs" / "mixed"
    record = read_finished_run(folder)
    dataset = read_dataset(workspace, record.recipe)
    images = load_images(workspace, dataset.manifest)
    val = select_examples(dataset, images, "val", record.recipe)
    batches = make_validation(record.recipe, len(record.classes), val)
    probs = np.asarray(load_run(record).predict(batches, verbose=0), np.float64)
    scores = score_predictions(val.targets, probs / probs.sum(axis=1, keepdims=True))
    assert json.loads((folder / "metrics.json").read_text())["val"] == scores
