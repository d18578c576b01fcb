"""`curate demo`: all commands on a drawn dataset whose truth is known.

Comes in: a number of faces and a seed. Goes out: a folder with the dataset, its workspaces and a
report; findings against planted defects, and test accuracy before and after curation.

The demo draws the faces, runs both programs as a user would (as subprocesses, on files), and plays
the reviewer, who judges the first tenth of the ranking, every label conflict and a random sample.
The fresh faces are clean and of other people; no stage reads them.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from curate.console import print_line
from curate.demo.planting import draw_fresh, plant_dataset
from curate.demo.scoring import REVIEWED_SHARE, format_findings, score_curation
from curate.errors import CandidError, WorkspaceError
from curate.parts import require_part
from curate.result import Result
from curate.workspace.manifest import table_bytes
from curate.workspace.workspace import Workspace

MARK = ".candid-demo"
PACKAGES = str(Path(__file__).parents[2])  # the folder of `curate` and `train`
SOURCE = "faces"
TRAINING = ("--epochs", 10)
OUT_OF_FOLD = ("--epochs", 12)  # about 300 steps instead of the default 1,000, which take minutes
FOLDS = 3  # two fewer than by default: the demo should end while the user waits
SAMPLE = 200  # images judged at random, from which the number of wrong labels is estimated
TTA_VIEWS = 4
FRESH_SHARE = 0.3  # fresh faces per drawn face: 750 give the accuracy to about two points


def demo(folder: Path, *, faces: int, seed: int) -> Result:
    """Run everything inside `folder`; an earlier demo there is removed.

    Raises
    ------
    PartError  if TensorFlow is not installed
    WorkspaceError  if the folder holds anything but a demo
    CandidError  if a command fails; its own message is printed before
    """
    start = time.perf_counter()
    require_part("tensorflow")
    _clear(folder)
    before = Workspace(folder / "before")
    after = Workspace(folder / "manifests")
    fresh = Workspace(folder / "fresh-manifests")
    print_line(
        f"Drawing {faces:,} faces with planted copies and wrong labels, "
        "and fresh ones of other people …"
    )
    plant_dataset(folder / SOURCE, faces=faces, seed=seed)
    truth = _read_table(folder / f"{SOURCE}-planted.csv")
    truth["path"] = _add_source(truth["path"])
    truth["copy_of"] = _add_source(truth["copy_of"])
    draw_fresh(folder / "fresh", faces=round(FRESH_SHARE * faces), seed=seed)
    _curate(fresh, "build", folder / "fresh")

    print_line("\nBefore: the dataset as shipped, its own split")
    _curate(before, "build", folder / SOURCE)
    _curate(before, "split", "--from-source")
    scores = {"before": _train_and_score(before, fresh, seed)}

    print_line("\nCuration")
    _curate(after, "build", folder / SOURCE)
    for command in (["inspect"], ["dedup"], ["fold", "--k", FOLDS, "--seed", seed]):
        _curate(after, *command)
    _run("train", "oof", "-w", after.root, "--seed", seed, *OUT_OF_FOLD)
    _curate(after, "flag")
    findings = score_curation(truth, after.read(), _read_table(after.pairs))
    review = folder / "review.csv"
    review.write_bytes(table_bytes(play_reviewer(after.read(), truth)))
    _curate(after, "decide", "--from", review, "--by", "demo-reviewer")
    _curate(after, "flag")
    planted = int((truth["is_mislabelled"] == "true").sum())
    print_line(f"({planted:,} wrong labels were planted.)")
    _curate(after, "dedup")
    _curate(after, "split", "--ratios", 70, 15, 15, "--seed", seed)

    print_line("\nAfter")
    scores["after"] = _train_and_score(after, fresh, seed)
    _curate(after, "audit")
    _curate(after, "check")
    _curate(after, "report")
    print_line("\nFound against planted\n" + format_findings(findings))
    print_line("\n" + format_scores(scores))
    seconds = round(time.perf_counter() - start)
    return Result(
        f"demo: {faces:,} faces, {seconds} s; look at {after.root / 'report.html'}",
        counts={
            "seconds": seconds,
            "findings": [asdict(finding) for finding in findings],
            "scores": scores,
        },
    )


def play_reviewer(manifest: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """The decisions of a reviewer who knows the truth.

    The reviewer judges the first tenth of the ranking, every label conflict, and a random sample:
    the images that `curate relabel --random` shows.

    Returns
    -------
    table of path, action, label for `curate decide --from`
    """
    rank = manifest["issue_rank"].replace("", "0").astype(int)
    kept = manifest["status"] == "keep"
    is_first = (rank > 0) & (rank <= round(REVIEWED_SHARE * rank.max()))
    is_conflict = manifest["label_conflict"] == "true"
    sample = manifest[kept].sort_values("sha256", kind="stable")["path"].head(SAMPLE)
    is_queued = is_first | is_conflict | manifest["path"].isin(sample)
    reviewed = manifest[is_queued & kept].merge(truth[["path", "true_label"]], on="path")
    is_wrong = reviewed["given_label"] != reviewed["true_label"]
    return pd.DataFrame(
        {
            "path": reviewed["path"],
            "action": is_wrong.map({True: "relabel", False: "keep"}),
            "label": reviewed["true_label"].where(is_wrong, ""),
        }
    )


def format_scores(scores: dict[str, dict[str, float]]) -> str:
    """Accuracy before and after curation, on the own test split and on the fresh faces."""
    header = ("accuracy of a model trained on it", "own test split", "fresh faces, true labels")
    lines = ["{:<34}{:>16}{:>27}".format(*header)]
    for name, score in scores.items():
        own, fresh = (f"{100 * score[key]:.1f} %" for key in ("own_test", "fresh"))
        lines.append(f"{name + ' curation':<34}{own:>16}{fresh:>27}")
    return "\n".join(lines)


def _train_and_score(workspace: Workspace, fresh: Workspace, seed: int) -> dict[str, float]:
    """Train on the workspace, and evaluate on its test split and on the fresh faces."""
    _curate(workspace, "weights")
    name = ("--name", "demo", "--seed", seed)
    _run("train", "run", "-w", workspace.root, "--class-weights", *name, *TRAINING)
    run = workspace.root / "runs" / "demo"
    _run("train", "evaluate", run, "-w", workspace.root, "--tta", TTA_VIEWS)
    _run("train", "evaluate", run, "-w", fresh.root, "--rows", "all", "--tta", TTA_VIEWS)
    return {
        "own_test": _read_accuracy(run, "test"),
        "fresh": _read_accuracy(run, f"{fresh.root.name}-all"),
    }


def _curate(workspace: Workspace, command: str, *options: object) -> None:
    _run("curate", command, "-w", workspace.root, *options)


def _run(program: str, *words: object) -> None:
    """Run a command as a user would; print it and its summary."""
    command = [str(word) for word in words]
    print_line(f"$ {program} {' '.join(command)}")
    start = time.perf_counter()
    # -P: a train.py in the current folder is not ours.
    path = os.pathsep.join(filter(None, (PACKAGES, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-P", "-m", program, *command],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CandidError(
            f"demo: `{program} {' '.join(command)}` ended with exit code {done.returncode}"
        )
    print_line(f"{done.stdout.rstrip()} [{time.perf_counter() - start:.1f} s]")


def _read_table(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def _add_source(paths: "pd.Series[str]") -> "pd.Series[str]":
    """Paths as the manifest has them, with the source in front; "" stays ""."""
    return (SOURCE + "/" + paths).where(paths != "", "")


def _clear(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise WorkspaceError(
            f"{folder}: is not empty and no demo: name a new folder, as in `curate demo NEW`"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARK).touch()


def _read_accuracy(run: Path, rows: str) -> float:
    metrics = json.loads((run / f"evaluation-{rows}" / "metrics.json").read_text())
    return float(metrics["accuracy"])
