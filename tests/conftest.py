"""What several test files share: drawn faces on disk, and workspaces of them at two stages.

The templates are made once a session; a test gets a copy of its own and may ruin it. The faces
themselves are shared: a test that changes them copies them first.
"""

import os
import platform
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before TensorFlow is imported: sums in the order of the jobs of `train oof`, and tests side by
# side keep to their cores.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import cv2
import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from curate.cli.pipeline import app
from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from curate.workspace.manifest import VOCABULARY
from curate.workspace.predictions import write_predictions
from curate.workspace.workspace import Workspace

Curate = Callable[..., Result]

# Every stage after build in the order of the work; --workers 1 is the plain loop, without the
# second that a pool takes.
CHAIN = (
    ("inspect", "-j", "1"),
    ("dedup", "-j", "1"),
    ("fold", "--k", "3"),
    ("flag",),
    ("split", "--ratios", "60", "20", "20"),
    ("weights",),
)


# A worker takes whole files; the longest begin first, so that none is alone with one at the end.
LONGEST = (
    "test_workspace_killed.py", "test_recipes.py", "test_engine_network.py", "test_oof.py",
    "test_training_distribute.py", "test_training_resume.py", "test_workspace_damaged.py",
    "test_stages_laws.py", "test_export_folders.py", "test_engine_safe_path.py",
    "test_workspace_explained.py", "test_report_runs.py", "test_publish_apply.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than two cores: many tests wait for processes that they have started."""
    return min(4, max(3, os.cpu_count() or 1))


def call_curate(*args: object) -> Result:
    """Run the program in this process; a bug shows its traceback."""
    return CliRunner().invoke(
        app, [str(arg) for arg in args], prog_name="curate", catch_exceptions=False
    )


def read_files(root: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes, but for the lock files."""
    files = (
        file
        for file in sorted(root.rglob("*"))
        if file.is_file() and not file.name.endswith("lock")
    )
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


def predict(workspace: Workspace) -> Path:
    """A predictions table of every folded row: each sixth is believed to be of the next class."""
    folded = workspace.read().query("fold != ''").reset_index(drop=True)
    classes = [name for name in VOCABULARY if name in set(folded["given_label"])]
    given = folded["given_label"].map(classes.index).to_numpy()
    believed = (given + (np.arange(len(folded)) % 6 == 0)) % len(classes)
    probs = np.full((len(folded), len(classes)), 0.3 / (len(classes) - 1))
    probs[np.arange(len(folded)), believed] = 0.7
    table = folded[["path", "fold"]].assign(
        model="net", **{f"p_{name}": probs[:, k] for k, name in enumerate(classes)}
    )
    file = workspace.predictions / "net.csv"
    write_predictions(file, table[["path", "model", "fold", *(f"p_{name}" for name in classes)]])
    return file


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The folders that the tests name are not added to the list of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


def pytest_sessionstart(session: pytest.Session) -> None:
    """Print the Python of this run: `make test PYTHON=…` promises three."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and not hasattr(session.config, "workerinput"):
        reporter.write_line(f"Python {platform.python_version()} in {sys.prefix}")


def pytest_configure(config: pytest.Config) -> None:
    """A test process beside others ignores Ctrl-C, and so would every command that it starts."""
    if hasattr(config, "workerinput"):
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def curate() -> Curate:
    """`curate("dedup", "-w", folder)`, in this process."""
    return call_curate


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    from review_session import open_browser

    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    """A Ray cluster of two workers on this machine, which every map of the module joins.

    "local", since without an address Ray joins the cluster that another test has just started.
    """
    ray = pytest.importorskip("ray")
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def tiny_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """47 files in train/ and test/: 42 faces of 14 people, and one for each finding of a stage.

    - train/happy/copy.png has the pixels of train/happy/0.png, test/happy/copy.png those of
      train/happy/1.png
    - train/sad/near.png is test/sad/0.png made brighter; train/fear/conflict.png is train/sad/0.png
    - train/angry/blank.png is grey all over
    """
    root = tmp_path_factory.mktemp("sets") / "tiny"
    for number, expression in enumerate(EXPRESSIONS):
        for k in range(6):
            face = draw_face(
                expression, identity=number * 2 + k % 2, seed=100 * number + k, intensity=0.9
            )
            file = root / ("train" if k < 4 else "test") / expression / f"{k % 4}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), face)
    for source, copy in (
        ("train/happy/0.png", "train/happy/copy.png"),
        ("train/happy/1.png", "test/happy/copy.png"),
        ("train/sad/0.png", "train/fear/conflict.png"),
    ):
        shutil.copy(root / source, root / copy)
    brighter = cv2.convertScaleAbs(
        cv2.imread(str(root / "test/sad/0.png"), cv2.IMREAD_GRAYSCALE), alpha=0.9, beta=20
    )
    cv2.imwrite(str(root / "train/sad/near.png"), brighter)
    cv2.imwrite(str(root / "train/angry/blank.png"), np.full((48, 48), 127, np.uint8))
    return root


@pytest.fixture(scope="session")
def built_template(tiny_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which only build has run."""
    root = tmp_path_factory.mktemp("built") / "manifests"
    assert call_curate("build", tiny_faces, "-w", root, "-j", "1").exit_code == 0
    return root


@pytest.fixture(scope="session")
def finished_template(built_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which every stage has run, with two decisions in the journal."""
    root = tmp_path_factory.mktemp("finished") / "manifests"
    shutil.copytree(built_template, root)
    for stage in CHAIN:
        if stage[0] == "flag":
            predict(Workspace(root))
        assert call_curate(*stage, "-w", root).exit_code == 0
        if stage[0] == "fold":
            for decision in (
                ("tiny/train/sad/1.png", "--label", "fear"),
                ("tiny/train/sad/2.png", "--drop"),
            ):
                assert call_curate("decide", *decision, "--by", "a", "-w", root).exit_code == 0
    return root


@pytest.fixture
def built(built_template: Path, tmp_path: Path) -> Workspace:
    """A copy of the built workspace, free to change."""
    return Workspace(Path(shutil.copytree(built_template, tmp_path / "manifests")))


@pytest.fixture
def finished(finished_template: Path, tmp_path: Path) -> Workspace:
    """A copy of the finished workspace, free to change."""
    return Workspace(Path(shutil.copytree(finished_template, tmp_path / "manifests")))


@pytest.fixture(scope="session")
def published_template(finished_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished workspace in manifests/, and what it publishes in curation/."""
    root = tmp_path_factory.mktemp("published")
    shutil.copytree(finished_template, root / "manifests")
    done = call_curate("publish", root / "curation", "-w", root / "manifests", "-j", "1")
    assert done.exit_code == 0, done.output
    return root


@pytest.fixture
def published(published_template: Path, tmp_path: Path) -> Path:
    """A copy of that folder, free to change."""
    return Path(shutil.copytree(published_template, tmp_path / "published"))


@pytest.fixture(scope="session")
def bars_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of bars, one finished run `bars` that predicts most of them, and its log."""
    from bars import make_workspace

    from train.cli.training import app as train

    root = make_workspace(tmp_path_factory.mktemp("bars")).root
    words = (
        "run --name bars --epochs 4 --widths 8 --batch-size 8 --optimizer adam --learning-rate "
        "0.02 --dropout 0"
    )
    # So few steps have nothing to distil yet.
    words += " --self-distillation 0"
    done = CliRunner().invoke(
        train,
        [*words.split(), "--precision", "float32", "--tensorboard", "-w", str(root)],
        prog_name="train",
    )
    assert done.exit_code == 0, done.output
    return root


@pytest.fixture
def bars(bars_template: Path, tmp_path: Path) -> Workspace:
    """A copy of the workspace of bars, free to change."""
    return Workspace(Path(shutil.copytree(bars_template, tmp_path / "ws")))
