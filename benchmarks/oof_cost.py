"""What `train oof` costs before a change and after it, and what its models find.

    python benchmarks/oof_cost.py BEFORE_CHECKOUT ~/data/fer2013 VOTES.csv --folder FOLDER

BEFORE_CHECKOUT is a clone of the repository at the commit to compare with. Each fold is trained by
both, one right after the other and in turns the first, with the default models and options; CPU
seconds are user and system time of every process. `--k 2` takes a quarter of the time: a model then
learns from half of the images. The wrong labels are those of `label_issues.py` by all votes at
hand. What is finished is kept in FOLDER, so a killed run goes on. After each fold it writes the
section of RESULTS.md for this processor and number of folds; what the models find is in it once all
folds are trained.
"""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from chain_cost import describe_commit
from label_issues import (
    average_precision,
    compare,
    describe_training,
    judge_by_crowd,
    read_workspace,
)
from results import (
    RESULTS,
    ROOT,
    describe_machine,
    describe_processor,
    replace_section,
    run_command,
    to_table,
)

from curate.files import write_atomically
from curate.label_issues.evidence import gather_evidence
from curate.label_issues.scores import SCORES, agree
from curate.workspace.receipts import read_receipts
from curate.workspace.votes import read_votes
from curate.workspace.workspace import Workspace

SIDES = ("before", "after")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("votes", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--k", type=int, default=5, help="folds")
    options = parser.parse_args()
    folder = options.folder.resolve()
    checkouts = {"before": options.before.resolve(), "after": ROOT}
    prepare(folder, options.dataset.resolve(), options.k)
    notes = folder / "seconds.json"
    seconds = json.loads(notes.read_text()) if notes.is_file() else {}
    for fold in range(options.k):
        for side in SIDES[:: -1 if fold % 2 else 1]:
            key = f"{side} {fold}"
            if key not in seconds:
                seconds[key] = train(checkouts[side], folder / side, fold)
                write_atomically(notes, json.dumps(seconds, indent=1).encode())
            print(f"{key}: {seconds[key]:.0f} CPU-seconds", flush=True)
        write(folder, seconds, fold + 1, options)


def prepare(folder: Path, dataset: Path, folds: int) -> None:
    """A folded workspace for each side."""
    if all((folder / side).is_dir() for side in SIDES):
        return
    first, second = (folder / side for side in SIDES)
    making = folder / ".making"
    for unfinished in (first, making):
        shutil.rmtree(unfinished, ignore_errors=True)
    for words in (["build", str(dataset)], ["inspect"], ["dedup"], ["fold", "--k", str(folds)]):
        run_program(ROOT, "curate", [*words, "-w", str(first)], folder.parent)
    shutil.copytree(first, making)
    making.rename(second)


def train(checkout: Path, workspace: Path, fold: int) -> float:
    """CPU seconds of one fold of every default model."""
    for file in workspace.glob(f".cache/oof/*/*-f{fold}.*"):  # of a run that was killed
        file.unlink()
    words = ["oof", "--fold", str(fold), "-w", str(workspace)]
    return run_program(checkout, "train", words, workspace.parent)


def run_program(checkout: Path, program: str, words: list[str], folder: Path) -> float:
    # From a folder without packages, so that those of the checkout are imported.
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", program, *words]
    return run_command(command, cwd=folder, env={"PYTHONPATH": str(checkout)}).cpu_seconds


def write(
    folder: Path, seconds: Mapping[str, float], folds: int, options: argparse.Namespace
) -> None:
    """The section of RESULTS.md, with so many folds trained by both sides."""
    spent = {side: [seconds[f"{side} {fold}"] for fold in range(folds)] for side in SIDES}
    ratios = np.divide(spent["after"], spent["before"])
    found, difference = [[], []], ""
    header = ["", f"CPU s of {folds} of {options.k} folds"]
    if folds == options.k:
        found, difference = measure_found(folder, read_votes(options.votes))
        header += [
            "models", "they and the copies agree with the given labels", "strict AP", "majority AP",
        ]  # fmt: skip
    rows = [
        [side, f"{sum(spent[side]):,.0f}", *cells] for side, cells in zip(SIDES, found, strict=True)
    ]
    body = (
        f"`before` is {describe_commit(options.before)}. A fold takes {np.mean(ratios):.2f} times "
        f"the CPU time ({min(ratios):.2f} to {max(ratios):.2f} by fold).{difference} Measured by "
        f"`python benchmarks/oof_cost.py` on {describe_machine()}."
    )
    kind = f"{describe_processor()}, {options.k} folds"
    text = f"## What `train oof` costs: {kind}\n\n{body}\n\n{to_table(header, rows)}"
    replace_section(RESULTS, "oof_cost-" + re.sub(r"\W+", "-", kind), text)
    print(text, flush=True)


def measure_found(folder: Path, votes: dict[str, str]) -> tuple[list[list[str]], str]:
    """For each side its models and what they find; and the difference in strict AP."""
    rows, scores, judged = [], {}, {}
    for side in SIDES:
        _, folded, tables, classes = read_workspace(Workspace(folder / side))
        judged = judge_by_crowd(folded, votes)
        evidence = gather_evidence(folded, list(tables.values()), classes)
        scores[side] = SCORES["combined"](evidence)
        models = read_receipts(folder / side)["oof"]["options"]["models"]
        named = [name + describe_training(model, seeds=1) for name, model in models.items()]
        found = [
            f"{average_precision(judged[rule], scores[side], judged['counted']):.3f}"
            for rule in ("strict", "majority")
        ]
        agreement = f"{100 * agree(evidence.believed, evidence.labels):.1f} %"
        rows.append([" + ".join(named), agreement, *found])
    difference = compare(judged, scores["after"], scores["before"])
    return rows, (
        f" Strict AP less that of before: {difference}, with 95 % of 1,000 bootstrap draws, on "
        f"{judged['counted'].sum():,} images with votes."
    )


if __name__ == "__main__":
    main()
