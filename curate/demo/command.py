"""demo: the whole chain on a drawn dataset whose truth is known.

Draws the faces, runs both programs as a user would (as subprocesses, on files), plays the reviewer who looks at the
first tenth of the ranking, at every label conflict and at a random sample, and compares what was found with what was
planted, and the test accuracy before with that after. The fresh faces are other people, drawn clean; no stage ever
sees them.
"""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from curate.console import print_line
from curate.demo.planting import draw_fresh, plant_dataset
from curate.demo.scoring import LOOKED_AT, format_findings, score_curation
from curate.errors import CandidError, WorkspaceError
from curate.result import Result
from curate.workspace.manifest import table_bytes
from curate.workspace.workspace import Workspace

MARK = ".candid-demo"
SOURCE = "faces"
TRAINING = ("--epochs", 10)
OUT_OF_FOLD = ("--epochs", 12)  # about 300 steps instead of the default 1,000, which take minutes
FOLDS = 3  # two models less than by default: the demo should end while somebody is watching
SAMPLE = 200  # judged at random: what the number of wrong labels is estimated from
VIEWS = 4  # of test-time augmentation
FRESH_SHARE = 0.3  # fresh faces per drawn face: 750 give the accuracy to about two points


def demo(folder: Path, *, faces: int, seed: int) -> Result:
    """Run everything below `folder`, which is made anew.

    Raises
    ------
    WorkspaceError  if the folder holds something that is no demo
    CandidError  if a command fails; its own message stands above
    """
    start = time.perf_counter()
    _clear(folder)
    before, after, fresh = (
        Workspace(folder / name) for name in ("before", "manifests", "fresh-manifests")
    )
    print_line(
        f"Drawing {faces:,} faces with planted copies and wrong labels, and fresh ones of other people …"
    )
    plant_dataset(folder / SOURCE, faces=faces, seed=seed)
    truth = pd.read_csv(folder / f"{SOURCE}-planted.csv", dtype=str, keep_default_na=False)
    truth["path"], truth["copy_of"] = _prefixed(truth["path"]), _prefixed(truth["copy_of"])
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
    findings = score_curation(
        truth, after.read(), pd.read_csv(after.pairs, dtype=str, keep_default_na=False)
    )
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
    """The decisions of a person who knows the truth and looks at the first tenth of the ranking, at every conflict, and at a
    random sample: the images that `curate relabel --random` shows.

    Returns
    -------
    table of path, action, label for `curate decide --from`
    """
    rank = manifest["issue_rank"].replace("", "0").astype(int)
    kept = manifest["status"] == "keep"
    sample = manifest["path"].isin(
        manifest[kept].sort_values("sha256", kind="stable")["path"].head(SAMPLE)
    )
    queue = (
        (rank > 0) & (rank <= round(LOOKED_AT * rank.max()))
        | (manifest["label_conflict"] == "true")
        | sample
    )
    seen = manifest[queue & kept].merge(truth[["path", "true_label"]], on="path")
    is_wrong = seen["given_label"] != seen["true_label"]
    return pd.DataFrame(
        {
            "path": seen["path"],
            "action": is_wrong.map({True: "relabel", False: "keep"}),
            "label": seen["true_label"].where(is_wrong, ""),
        }
    )


def format_scores(scores: dict[str, dict[str, float]]) -> str:
    """Accuracy before and after, on each one's own test split and on the fresh faces."""
    lines = [
        f"{'accuracy of a model trained on it':<34}{'own test split':>16}{'fresh faces, true labels':>27}"
    ]
    for name, score in scores.items():
        own, fresh = (f"{100 * score[key]:.1f} %" for key in ("own_test", "fresh"))
        lines.append(f"{name + ' curation':<34}{own:>16}{fresh:>27}")
    return "\n".join(lines)


def _train_and_score(workspace: Workspace, fresh: Workspace, seed: int) -> dict[str, float]:
    _curate(workspace, "weights")
    _run(
        "train",
        "run",
        "-w",
        workspace.root,
        "--class-weights",
        "--name",
        "demo",
        "--seed",
        seed,
        *TRAINING,
    )
    run = workspace.root / "runs" / "demo"
    _run("train", "evaluate", run, "-w", workspace.root, "--tta", VIEWS)
    _run("train", "evaluate", run, "-w", fresh.root, "--rows", "all", "--tta", VIEWS)
    return {
        "own_test": _read_accuracy(run, "test"),
        "fresh": _read_accuracy(run, f"{fresh.root.name}-all"),
    }


def _curate(workspace: Workspace, command: str, *options: object) -> None:
    _run("curate", command, "-w", workspace.root, *options)


def _run(program: str, *words: object) -> None:
    """Run a command as a user would, show it with its summary."""
    command = [str(word) for word in words]
    print_line(f"$ {program} {' '.join(command)}")
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", program, *command], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise CandidError(
            f"demo: `{program} {' '.join(command)}` ended with exit code {done.returncode}"
        )
    print_line(f"{done.stdout.rstrip()} [{time.perf_counter() - start:.1f} s]")


def _prefixed(paths: "pd.Series[str]") -> "pd.Series[str]":
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
    return float(json.loads((run / f"evaluation-{rows}" / "metrics.json").read_text())["accuracy"])
