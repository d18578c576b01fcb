"""Planted wrong labels on drawn faces: how early they are ranked, and how well they are counted.

    python benchmarks/planted_errors.py [--only ranking|count] [--seeds 10] [--faces 2100]
        [--kept FILE]

Clean faces are drawn, and 5, 10 and 20 % of their labels replaced, each by a class with which it is
confused. The ranking of the default models is measured for the first seed. The number of wrong
labels is estimated for every seed as a user would: `train oof --models hog`, 200 images judged that
are chosen at random as by `curate relabel --random`, `curate flag` again; where there are too few
errors among them for an estimate, a hundred more. The counts are kept in FILE; those in it are not
made again. Writes the sections `planted-ranking` and `planted-count` of RESULTS.md.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from label_issues import score_all
from results import RESULTS, describe_machine, replace_section, to_table
from sklearn.metrics import average_precision_score

from curate.demo.planting import draw_fresh, draw_wrong_label
from curate.label_issues.evidence import gather_evidence
from curate.labels import VOCABULARY
from curate.workspace.predictions import read_predictions
from curate.workspace.workspace import Workspace

SHARES = (0.05, 0.10, 0.20)
VERDICTS, MORE = 200, 100
REVIEWED_SHARE = 0.10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("ranking", "count"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--faces", type=int, default=2100)
    parser.add_argument("--kept", type=Path)
    options = parser.parse_args()
    kept = options.kept.read_text().splitlines() if options.kept and options.kept.is_file() else []
    ranking, counting = [], [json.loads(line) for line in kept]
    known = {(found["share"], found["seed"]) for found in counting}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(1 if options.only == "ranking" else options.seeds):
            shares = SHARES
            if options.only == "count":
                shares = [share for share in SHARES if (share, seed) not in known]
            clean = Path(scratch) / f"clean-{seed}"
            if shares:
                draw_fresh(clean, faces=options.faces, seed=seed)
            for share in shares:
                root = Path(scratch) / f"planted-{seed}-{share}"
                true = plant(clean, root, share, seed)
                workspace = Workspace(root / "manifests")
                prepare(workspace, root / "faces", seed)
                if seed == 0 and options.only != "count":
                    ranking += rank(workspace, true, share)
                if options.only != "ranking" and (share, seed) not in known:
                    counting.append({"share": share, "seed": seed, **count(workspace, true)})
                    print(counting[-1], file=sys.stderr, flush=True)
                    if options.kept:
                        lines = [json.dumps(found) + "\n" for found in counting]
                        options.kept.write_text("".join(lines))
                shutil.rmtree(root)
    if ranking:
        write_ranking(ranking, options.faces)
    if counting:
        write_count(counting, options.faces)


def plant(clean: Path, root: Path, share: float, seed: int) -> dict[str, str]:
    """Copy the faces into class folders, a share into wrong ones; file name -> true label."""
    files = sorted(clean.glob("*/*"))
    random = np.random.default_rng([seed, round(1000 * share)])
    wrong = set(random.permutation(len(files))[: round(share * len(files))].tolist())
    true = {}
    for number, file in enumerate(files):
        label = file.parent.name
        given = draw_wrong_label(random, label) if number in wrong else label
        target = root / "faces" / given / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        true[file.name] = label
    return true


def prepare(workspace: Workspace, faces: Path, seed: int) -> None:
    run("curate", "build", faces, "-w", workspace.root)
    run("curate", "fold", "--seed", seed, "-w", workspace.root)
    run("train", "oof", "--models", "hog", "--seed", seed, "-w", workspace.root)


def rank(workspace: Workspace, true: dict[str, str], share: float) -> list[list[str]]:
    """A row per score: average precision, and the share of the planted among the first tenth."""
    run("train", "oof", "-w", workspace.root)
    manifest = workspace.read()
    tables = {file.stem: read_predictions(file, manifest) for file in workspace.find_predictions()}
    classes = [name for name in VOCABULARY if name in set(manifest["given_label"])]
    evidence = gather_evidence(manifest, list(tables.values()), classes)
    wrong = is_wrong(manifest, true)
    rows = []
    for name, score in score_all(evidence, tables, manifest, classes).items():
        first = np.argsort(-score, kind="stable")[: round(REVIEWED_SHARE * len(score))]
        found = wrong[first].sum() / wrong.sum()
        precision = f"{average_precision_score(wrong, score):.3f}"
        rows.append([f"{share:.0%}", name, precision, f"{100 * found:.1f} %"])
    (workspace.predictions / "fast.csv").unlink()
    return rows


def count(workspace: Workspace, true: dict[str, str]) -> dict[str, int]:
    """Judge random images and flag again until there is an interval; the planted number too."""
    judged, errors = VERDICTS, judge(workspace, true, VERDICTS)
    while "low" not in errors:
        judged += MORE
        errors = judge(workspace, true, judged)
    return {"planted": int(is_wrong(workspace.read(), true).sum()), "judged": judged, **errors}


def judge(workspace: Workspace, true: dict[str, str], many: int) -> dict[str, int]:
    """The estimate of `curate flag` after so many verdicts.

    The judged images are those that `curate relabel --random` shows first.
    """
    manifest = workspace.read()
    sample = np.argsort(manifest["sha256"].to_numpy(), kind="stable")[:many]
    wrong = is_wrong(manifest, true)
    chosen = manifest.iloc[sample]
    labels = true_labels(chosen, true)
    action = np.where(wrong[sample], "relabel", "keep")
    label = np.where(wrong[sample], labels, "")
    file = workspace.root.parent / "verdicts.csv"
    verdicts = pd.DataFrame({"path": chosen["path"], "action": action, "label": label})
    verdicts.to_csv(file, index=False)
    run("curate", "decide", "--from", file, "--by", "truth", "-w", workspace.root)
    flagged = json.loads(run("curate", "flag", "--json", "-w", workspace.root))
    errors: dict[str, int] = flagged["errors"]
    return errors


def true_labels(rows: pd.DataFrame, true: dict[str, str]) -> "pd.Series[str]":
    return rows["path"].map(lambda path: true[Path(path).name])


def is_wrong(manifest: pd.DataFrame, true: dict[str, str]) -> np.ndarray:
    return (manifest["given_label"] != true_labels(manifest, true)).to_numpy()


def write_ranking(ranking: list[list[str]], faces: int) -> None:
    table = to_table(["planted", "score", "AP", "found in the first 10 %"], ranking)
    body = (
        f"Measured by `python benchmarks/planted_errors.py`: {faces:,} drawn faces, the default "
        f"models, no verdicts; {describe_machine()}.\n\n{table}"
    )
    replace_section(RESULTS, "planted-ranking", f"## Planted wrong labels: the ranking\n\n{body}")


def write_count(counting: list[dict[str, int]], faces: int) -> None:
    rows = []
    for share in SHARES:
        own = [found for found in counting if found["share"] == share]
        covered = sum(found["low"] <= found["planted"] <= found["high"] for found in own)
        width = np.median([found["high"] - found["low"] for found in own])
        middle = np.median([found["count"] for found in own])
        judged = [str(found["judged"]) for found in own if found["judged"] > VERDICTS]
        estimate = f"{middle:.0f}", f"{width:.0f}", f"{covered} of {len(own)}"
        more = ", ".join(judged) or "none"
        rows.append([f"{share:.0%}", own[0]["planted"], *estimate, more])
    interval = ["median width of the interval", "intervals that cover the number"]
    more = "judged where 200 were too few"
    header = ["planted", "wrong labels", "median estimate", *interval, more]
    body = (
        f"Measured by `python benchmarks/planted_errors.py`: {faces:,} drawn faces, `hog` alone, "
        f"{VERDICTS} images judged that were chosen at random; 95 % intervals; "
        f"{describe_machine()}.\n\n{to_table(header, rows)}"
    )
    replace_section(RESULTS, "planted-count", f"## Planted wrong labels: their number\n\n{body}")


def run(program: str, *words: object) -> str:
    command = [sys.executable, "-m", program, *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
