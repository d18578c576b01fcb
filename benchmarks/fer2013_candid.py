"""FER2013-Candid: the published curation of FER2013, made from its rows by commands to type.

    python benchmarks/fer2013_candid.py fer2013_rows.npz FOLDER [--oof] [--into manifests/fer2013]

fer2013_rows.npz has the arrays pixels (N, 48, 48) uint8, emotion (N,) codes 0 to 6, and usage (N,);
a fer2013.csv may be named instead. FOLDER keeps the CSV and the workspace: a stage that is up to
date is not run again, so the script can be killed and started again, and a workspace in which
`train oof` has run already (27 CPU-minutes), or its tables in FOLDER/manifests/predictions, can be
brought. `--oof` runs it.
The last commands publish the tables into `--into`, check them, and write README.md beside them,
whose every figure is counted in the tables.
"""

import argparse
import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from results import ROOT, run_command, to_table

from curate.files import new_temporary, replace_durably, write_atomically
from curate.sources.fer2013_csv import CODES

NAME, VERSION = "FER2013-Candid", "1.0"
# 80 bits keep 36,000 hashes apart, and the tables small enough for a repository.
DIGITS = "20"
CITE = (
    "FER2013-Candid 1.0, a curation of FER2013 (I. J. Goodfellow et al., Challenges in "
    "Representation Learning, 2013) by the Candid contributors"
)
OOF = ["train", "oof"]
STAGES = ("inspect", "dedup", "fold --k 5", " ".join(OOF), "flag", "split --ratios 70 15 15")
PUBLISH = ("--name", NAME, "--version", VERSION, "--licence", "CC0-1.0", "--digits", DIGITS)
CLEAN = "clean-70-15-15"
PARTS = {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", type=Path, help="fer2013_rows.npz, or fer2013.csv")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--oof", action="store_true", help="run `train oof` for suspicions")
    parser.add_argument("--into", type=Path, default=ROOT / "manifests" / "fer2013")
    options = parser.parse_args()
    table = options.rows
    if table.suffix == ".npz":
        table = options.folder / "fer2013.csv"
        if not table.is_file():
            write_table(options.rows, table)
    workspace = options.folder / "manifests"
    has_predictions = any((workspace / "predictions").glob("*.csv"))
    commands = list(list_commands(table, with_oof=options.oof or has_predictions))
    if has_predictions and not options.oof:
        commands.remove(OOF)
    env = {"CURATE_WORKSPACE": str(workspace)}
    for words in commands:
        if not is_done(words, workspace, env):
            print(f"$ {shlex.join(words)}", flush=True)
            print(run_command(words, env=env).stdout, flush=True)
    publish = ["curate", "publish", str(options.into), *PUBLISH, "--cite", CITE]
    print(run_command(publish, env=env).stdout)
    print(run_command(["curate", "publish", str(options.into), "--check"], env=env).stdout)
    write_atomically(options.into / "README.md", describe(options.into).encode())


def list_commands(table: Path, *, with_oof: bool) -> Iterator[list[str]]:
    """What makes the workspace, as a user types it."""
    yield ["curate", "build", f"fer2013={table}"]
    for stage in STAGES:
        words = stage.split()
        if with_oof or words[-1] not in ("oof", "flag"):
            yield words if words[0] == "train" else ["curate", *words]


def is_done(words: list[str], workspace: Path, env: Mapping[str, str]) -> bool:
    """Whether the stage has run, and no input has changed since."""
    if not (workspace / "manifest.csv").is_file():
        return False
    status = json.loads(run_command(["curate", "status", "--json"], env=dict(env)).stdout)
    return bool(status["stages"][words[1]] == "done")


def write_table(rows: Path, table: Path) -> None:
    """fer2013.csv of the arrays: emotion, pixels as 2,304 numbers, Usage."""
    arrays = np.load(rows)
    columns = zip(arrays["emotion"], arrays["pixels"], arrays["usage"], strict=True)
    words = np.array([str(level) for level in range(256)], object)
    table.parent.mkdir(parents=True, exist_ok=True)
    with new_temporary(table) as temporary:
        with temporary.open("w") as stream:
            stream.write("emotion,pixels,Usage\n")
            for code, face, usage in columns:
                stream.write(f"{code},{' '.join(words[face.ravel()])},{usage}\n")
        replace_durably(temporary, table)


def describe(folder: Path) -> str:
    """README.md of the curation in `folder`, every figure from its tables."""
    record = json.loads((folder / "curation.json").read_text())
    files = sorted([*folder.glob("*.csv"), *folder.glob("splits/*.csv")])
    tables = {file.relative_to(folder).as_posix(): read_text(file) for file in files}
    images, labels = tables["images.csv"], tables["labels.csv"]
    with_oof = bool((labels["suspicion_rank"] != "").any())
    commands = list(list_commands(Path("fer2013.csv"), with_oof=with_oof))
    commands.append(["curate", "publish", "manifests/fer2013", *PUBLISH, "--cite", CITE])
    typed = "\n".join(f"    {shlex.join(words)}" for words in commands)
    sizes = [
        [f"`{name}`", f"{len(table):,}", f"{(folder / name).stat().st_size / 1e6:.1f}"]
        for name, table in tables.items()
    ]
    values = {
        "name": record["name"], "version": record["version"], "cite": record["cite"],
        "digits": record["pixel_sha256"]["digits"], "rows": f"{len(images):,}", "commands": typed,
        "tables": to_table(["table", "rows", "MB"], sizes),
        "findings": describe_findings(images, tables["pairs.csv"]),
        "leaks": to_table(*count_leaks(images, tables)),
        "splits": to_table(*count_splits(record)),
        "suspicions": describe_suspicions(labels),
        "verdicts": describe_verdicts(record["decisions"], labels),
        "kept": f"{(images['status'] == 'keep').sum():,}",
    }  # fmt: skip
    template = (Path(__file__).parent / "fer2013_candid.md").read_text()
    return template.format(**values)


def read_text(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def describe_findings(images: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """A list: what was found, and how many images of it were dropped."""
    grouped = images[images["group"] != ""].groupby("group")
    labels = grouped["given_label"].nunique()
    conflicts = labels[labels > 1]
    in_conflict = images["group"].isin(list(conflicts.index)).sum()
    bands, dropped = pairs["band"].value_counts(), images["reason"].value_counts()
    findings = images.loc[images["quality"] != "", "quality"].value_counts().sort_index()
    no_face = ", ".join(f"{name} {number:,}" for name, number in findings.items())
    return "\n".join(
        [
            f"- copies: {bands.get('sure', 0):,} sure pairs make {len(labels):,} groups of "
            f"{grouped.size().sum():,} images; {bands.get('look', 0):,} more pairs need a look",
            f"- dropped as redundant: {dropped.get('exact_copy', 0):,} exact and "
            f"{dropped.get('near_copy', 0):,} near copies under the label of the kept image",
            f"- label conflicts: {len(conflicts):,} groups ({in_conflict:,} images) whose copies "
            "have several labels; none is dropped for that",
            f"- no face: {len(images[images['quality'] != '']):,} images ({no_face}), dropped",
        ]
    )


def count_leaks(
    images: pd.DataFrame, tables: Mapping[str, pd.DataFrame]
) -> tuple[list[str], list[list[str]]]:
    """Per class: PrivateTest as shipped, without exact copies and without any copy in Training."""
    tests = [images.loc[images["source_split"] == "test", "given_label"]]
    for name in ("official-no-exact", "official-no-copy"):
        split = tables[f"splits/{name}.csv"]
        tests.append(split.loc[split["split"] == "test", "given_label"])
    header = ["class", "PrivateTest", "without exact copies", "without any copy", "left, %"]
    rows = []
    for name in (*sorted(CODES), "all"):
        counts = [int((test == name).sum()) if name in CODES else len(test) for test in tests]
        left = 100 * counts[2] / max(counts[0], 1)
        rows.append([name, *(f"{count:,}" for count in counts), f"{left:.0f}"])
    return header, rows


def count_splits(record: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Images of each part of each split."""
    splits = record["splits"].items()
    rows = [[f"`{name}`", *(f"{counts[part]:,}" for part in PARTS)] for name, counts in splits]
    return ["split", *PARTS], rows


def describe_suspicions(labels: pd.DataFrame) -> str:
    ranked = labels[labels["suspicion_rank"] != ""]
    if ranked.empty:
        return "No suspicions are in this version: `train oof` has not been run for it."
    marks = ranked["issue"].value_counts()
    suggested = (ranked["suggested_label"] != "").sum()
    return (
        f"`labels.csv` ranks {len(ranked):,} labels by how much out-of-fold models doubt them: "
        f"{marks.get('wrong', 0):,} are marked wrong and {marks.get('ambiguous', 0):,} ambiguous, "
        f"{suggested:,} have a suggestion."
    )


def describe_verdicts(decisions: Mapping[str, int], labels: pd.DataFrame) -> str:
    if not decisions["human"]:
        return "No person has judged an image yet: every suspicion is the models' alone."
    people = labels.loc[labels["verdict"] != "", "verdict_by"].nunique()
    return f"{decisions['human']:,} images have a person's verdict, by {people} reviewers."


if __name__ == "__main__":
    main()
