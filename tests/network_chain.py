"""The whole chain on drawn faces, for tests/test_engine_network.py: `network_chain.py FOLDER PART`.

PART is `chain` (every stage, training, a model for other programs, exports and pages) or `review`
(a session of `curate relabel`, and the FiftyOne dataset). Each command must end with 0.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

from conftest import call_curate
from review_session import draw_workspace
from typer.testing import CliRunner

from curate.relabel.session import session_files
from curate.workspace.workspace import Workspace

FACES = 42
SMALL = ("--widths", "4", "--epochs", "1", "--batch-size", "16", "--self-distillation", "0")


def run_chain(workspace: Workspace) -> None:
    """Every stage, one epoch, every export that needs no service, both pages."""
    from train.cli.training import app

    root, out = workspace.root, workspace.root.parent / "out"

    def curate(*words: object) -> None:
        done = call_curate(*words, "-w", root)
        assert done.exit_code == 0, done.output

    def train(*words: object) -> None:
        arguments = [*map(str, words), "-w", str(root)]
        done = CliRunner().invoke(app, arguments, prog_name="train", catch_exceptions=False)
        assert done.exit_code == 0, done.output

    curate("inspect", "-j", 1)
    train("oof", "--models", "hog", "-j", 1)
    curate("flag")
    curate("split", "--ratios", 60, 20, 20)
    curate("weights")
    train("run", "--name", "small", "--class-weights", *SMALL)
    train("evaluate")
    train("report")
    train("export", "--format", "onnx")
    train("predict", next((root.parent / "faces" / "sad").iterdir()), "--no-detect", "--out", out)
    curate("export", "folder", root.parent / "folder")
    curate("export", "csv", root.parent / "table.csv")
    curate("audit", "--html", "--csv")
    curate("report")


def run_review(workspace: Workspace) -> None:
    """A session of the review, ended by Ctrl-C, and the export by FiftyOne."""
    words = ("relabel", "--no-browser", "--by", "a", "-w", str(workspace.root))
    session = subprocess.Popen([sys.executable, "-P", "-m", "curate", *words])
    ready = session_files(workspace, "a").ready
    deadline = time.monotonic() + 200
    while not ready.is_file() and session.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(1)
    session.send_signal(signal.SIGINT)
    assert session.wait(60) == 0
    target = workspace.root.parent / "fiftyone"
    done = call_curate("export", "fiftyone", target, "-w", workspace.root)
    assert done.exit_code == 0, done.output


if __name__ == "__main__":
    drawn = draw_workspace(Path(sys.argv[1]), FACES)
    {"chain": run_chain, "review": run_review}[sys.argv[2]](drawn)
