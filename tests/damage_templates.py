"""The folders that are damaged: a workspace with every file of `curate`, and one with runs."""

import shutil
from pathlib import Path

from bars import make_workspace
from conftest import call_curate
from typer.testing import CliRunner

from curate.workspace.workspace import Workspace

# Commands of `curate`, with the files that each one reads; `*` ends a name.
CURATE: tuple[tuple[str, ...], ...] = (
    ("status",),
    ("status", "--json"),
    ("check",),
    ("check", "--files"),
    ("audit", "--csv"),
    ("audit", "--html"),
    ("report",),
    ("log",),
    ("agreement",),
    ("inspect", "-j", "1"),
    ("dedup", "-j", "1", "--exact-only"),
    ("dedup", "-j", "1", "--only-new"),
    ("fold", "--k", "3"),
    ("flag",),
    ("split",),
    ("split", "--from-source"),
    ("weights",),
    ("build", "-j", "1"),
    ("decide", "tiny/train/sad/0.png", "--label", "fear", "--by", "b"),
    ("decide", "--from", "{ws}/decided.csv", "--by", "b"),
    ("merge", "{ws}/other.jsonl"),
    ("export", "csv", "{ws}/set.csv"),
    ("export", "folder", "{ws}/set"),
    ("relabel", "--dry-run", "--by", "b"),
)
TRAIN: tuple[tuple[str, ...], ...] = (
    ("run", "--dry-run", "--class-weights", "--widths", "4"),
    ("run", "--resume", "--name", "torn"),
    ("run", "--resume", "--name", "torn", "--dry-run"),
    ("evaluate", "{ws}/runs/bars", "--rows", "val"),
    ("evaluate",),
    ("compare", "{ws}/runs/bars", "{ws}/runs/other", "--rows", "val"),
    ("occlude", "{ws}/runs/bars", "--sample", "4", "--patch", "24"),
    ("embed", "{ws}/runs/bars", "--most", "12"),
    (
        "predict",
        "{ws}/face.png",
        "--no-detect",
        "--out",
        "{ws}/predicted",
        "--run",
        "{ws}/runs/bars",
    ),
    ("export", "{ws}/runs/bars"),
    ("oof", "--models", "hog", "-j", "1"),
    ("preview", "--out", "{ws}/sheet.png"),
    ("tune", "--dry-run", "--class-weights", "--widths", "4"),
)


def make_curated(finished: Path, root: Path) -> Path:
    """The finished workspace, with caches, another journal and a table of decisions."""
    shutil.copytree(finished, root)
    for words in (("dedup", "-j", "1"), ("flag",), ("split",), ("weights",), ("report",)):
        assert call_curate(*words, "-w", root).exit_code == 0
    journal = Workspace(root).journal.read_text().replace('"by": "a"', '"by": "c"')
    (root / "other.jsonl").write_text(journal)
    (root / "decided.csv").write_text("path,action,label\ntiny/train/sad/0.png,relabel,fear\n")
    return root


def call_train(*words: object) -> int:
    """Run `train` in this process."""
    from train.cli.training import app

    done = CliRunner().invoke(app, [str(word) for word in words], prog_name="train")
    assert done.exit_code in (0, 130), f"{done.output} {done.exception!r}"
    return done.exit_code


def make_trained(root: Path) -> Path:
    """The workspace of bars with two evaluated runs, an unfinished one, weights and predictions."""
    from train.training.checkpoint import Checkpoint

    made = make_workspace(root.parent / "making").root
    shutil.move(made, root)
    assert call_curate("weights", "-w", root).exit_code == 0
    words = ("--epochs", "2", "--widths", "4", "--batch-size", "16", "--optimizer", "adam")
    words += ("--self-distillation", "0", "--precision", "float32", "-w", root)
    for name in ("bars", "other"):
        seed = ("--seed", "1") if name == "other" else ()
        call_train("run", "--name", name, *seed, *words, "--class-weights")
        call_train("evaluate", root / "runs" / name, "--rows", "val", "-w", root)
    real = Checkpoint.on_epoch_end

    def stop(self: Checkpoint, epoch: int, logs: dict[str, float] | None = None) -> None:
        real(self, epoch, logs)
        raise KeyboardInterrupt

    Checkpoint.on_epoch_end = stop
    try:
        call_train("run", "--name", "torn", *words)
    finally:
        Checkpoint.on_epoch_end = real
    call_train("oof", "--models", "hog", "-j", "1", "-w", root)
    shutil.copy(root.parent / "making" / "images" / "sad" / "03.png", root / "face.png")
    return root
