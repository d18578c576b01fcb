"""Recipes trained in full on FER2013, under the dataset's own split, a clean and a random one.

    python benchmarks/recipes.py ~/data/fer2013 FOLDER [--recipe fast] [--split official]
        [--seeds 3] [-- --epochs 30 …]

Words after `--` go to `train run`. `official` has every image in the split with which it is shipped
(test: PrivateTest), `clean` is `curate dedup` and `curate split --ratios 70 15 15`, `random` is
scikit-learn's stratified split of all images into the same shares, copies included. Balanced is the
mean recall of the classes, by ten TTA views. The columns `without` score the same predictions on
the test images that have no exact copy in train, and on those that have no copy at all by `curate
dedup`. An ensemble is the mean of the probabilities of all seeds.

FOLDER keeps workspaces, runs and figures: finished runs are not trained again, interrupted ones are
resumed. The section `recipes` of RESULTS.md shows the runs of FOLDER; rows of other runs stay as
they are. docs/fer2013.md shows the recipes as they are, weighted and as ensembles. Minutes are
those of the run's own record, of all its processes, whatever ran beside them; the import of
TensorFlow, some seconds, is not counted.
"""

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from results import (
    FER2013,
    RESULTS,
    describe_machine,
    read_table,
    replace_section,
    run_command,
    to_table,
)
from sklearn.model_selection import train_test_split

from curate.workspace.workspace import Workspace
from train.recipes.presets import RECIPES
from train.runs.folder import METRICS, is_unfinished

SPLITS = ("official", "clean", "random")
TTA_VIEWS = "10"
ENSEMBLE = ", ensemble of "
# Rows of docs/fer2013.md: recipes as they are, weighted, and as ensembles.
SHOWN = re.compile(rf"[\w-]+( --class-weights balanced)?({ENSEMBLE}.*)?")
KEY = "recipe", "split", "classes"
SCORES = (
    "one view, %",
    f"{TTA_VIEWS} views, %",
    "balanced, %",
    "without exact copies, %",
    "without any copy, %",
)
HEADER = (*KEY, "models", "test images", "minutes a model", "CPU min", *SCORES, "published")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path, help="folder of FER2013's images")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--split", choices=SPLITS, default="official")
    parser.add_argument("--classes", default="7")
    parser.add_argument("--seeds", type=int, default=3)
    options, words = parser.parse_known_args()
    words = [word for word in words if word != "--"]
    place = options.folder / f"{options.split}-{options.classes}"
    if not (place / "ready").is_file():
        prepare(options.dataset, place, options.split, options.classes)
        (place / "ready").touch()
    results = options.folder / "results.jsonl"
    recipe = " ".join([options.recipe, *words])
    stem = "-".join([options.recipe, *(word.lstrip("-").replace(",", "x") for word in words)])
    tasks = [(recipe, seed, [seed]) for seed in range(options.seeds)]
    if options.seeds > 1:
        tasks.append((f"{recipe}{ENSEMBLE}{options.seeds} seeds", 0, list(range(options.seeds))))
    for label, first_seed, seeds in tasks:
        key = {"recipe": label, "split": options.split, "classes": options.classes}
        key["seed"] = first_seed
        lines = results.read_text().splitlines() if results.is_file() else []
        if any(key.items() <= json.loads(line).items() for line in lines):
            continue
        how = ["--recipe", options.recipe, *words, "--classes", options.classes]
        for seed in seeds:
            train(place, f"{stem}-s{seed}", [*how, "--seed", str(seed)])
        figures = key | score(place, [f"{stem}-s{seed}" for seed in seeds])
        with results.open("a") as file:
            file.write(json.dumps(figures) + "\n")
        print(figures, file=sys.stderr, flush=True)
    write(pd.read_json(results, lines=True, dtype={"classes": str}))


def prepare(dataset: Path, place: Path, split: str, classes: str) -> None:
    """`place/manifests` for training, and `place/copies` with the duplicate groups."""
    if split == "random":
        dataset = link_random_split(dataset, place / "images")
    for name in ("manifests", "copies"):
        env = {"CURATE_WORKSPACE": str(place / name)}
        run_command(["curate", "build", f"fer2013={dataset}"], env=env)
        if name == "copies" or split == "clean":
            run_command(["curate", "inspect"], env=env)
            run_command(["curate", "dedup"], env=env)
    how = ["--ratios", "70", "15", "15"] if split == "clean" else ["--from-source"]
    env = {"CURATE_WORKSPACE": str(place / "manifests")}
    run_command(["curate", "split", *how, "--classes", classes], env=env)


def link_random_split(dataset: Path, images: Path) -> Path:
    """Links to all files in train/, val/ and test/, split as in the studies: copies are ignored."""
    files = np.array(sorted(str(file) for file in dataset.rglob("*.jpg")))
    labels = np.array([Path(file).parent.name for file in files])
    every = np.arange(len(files))
    train, rest = train_test_split(every, test_size=0.3, stratify=labels, random_state=0)
    val, test = train_test_split(rest, test_size=0.5, stratify=labels[rest], random_state=0)
    for name, rows in (("train", train), ("val", val), ("test", test)):
        for row in rows:
            link = images / name / labels[row] / f"{row:05d}.jpg"
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(os.path.realpath(files[row]))
    return images


def train(place: Path, name: str, words: list[str]) -> None:
    """Train one model; resume it if it was interrupted, do nothing if it is finished."""
    env = {"CURATE_WORKSPACE": str(place / "manifests")}
    folder = place / "manifests" / "runs" / name
    how = ["--resume"] if is_unfinished(folder) else words
    if not (folder / METRICS).is_file():
        run_command(["train", "run", "--name", name, *how, "--json"], env=env)


def score(place: Path, names: list[str]) -> dict[str, Any]:
    """A model, or several as an ensemble, on test."""
    workspace = Workspace(place / "manifests")
    folders = [workspace.root / "runs" / name for name in names]
    records = [json.loads((folder / METRICS).read_text()) for folder in folders]
    words = ["train", "evaluate", *map(str, folders), "--tta", TTA_VIEWS, "--json"]
    metrics = json.loads(run_command(words, env={"CURATE_WORKSPACE": str(workspace.root)}).stdout)
    predictions = pd.read_csv(Path(metrics["folder"]) / "predictions.csv")
    right = (predictions["label"] == predictions["predicted"]).to_numpy()
    copies = Workspace(place / "copies").read()
    leaked = has_known_copy_in_train(copies, workspace.read(), predictions["path"])
    cpu_seconds = [record["resources"]["cpu_seconds"] for record in records]
    return {
        "rows": len(right),
        "models": len(names),
        "minutes": float(np.mean([record["seconds"] for record in records])) / 60,
        "cpu_minutes": float(np.mean(cpu_seconds)) / 60,
        "one_view": metrics["one_view"]["accuracy"],
        "views": metrics["accuracy"],
        "balanced": metrics["balanced_accuracy"],
        "no_exact_copy": metrics["without_copy_in_train"]["accuracy"],
        "no_copy": float(right[~leaked].mean()),
        "without_copy": int((~leaked).sum()),
    }


def has_known_copy_in_train(
    copies: pd.DataFrame, trained: pd.DataFrame, paths: "pd.Series[str]"
) -> np.ndarray:
    """(N,) whether a copy of each image, exact or not, is among the train rows."""
    group = copies["duplicate_group"].where(copies["duplicate_group"] != "", copies["path"])
    group.index = pd.Index(copies["path"])
    is_trained = (trained["split"] == "train") & (trained["status"] == "keep")
    return group.loc[paths].isin(group.loc[trained.loc[is_trained, "path"]]).to_numpy()


def write(results: pd.DataFrame) -> None:
    rows = {tuple(row[: len(KEY)]): row for row in read_table(RESULTS, "recipes")}
    rows |= {key: to_row(key, group) for key, group in results.groupby(list(KEY), sort=False)}
    shown = [row for row in rows.values() if SHOWN.fullmatch(row[0])]
    note = (
        "Measured by `python benchmarks/recipes.py FER2013 FOLDER`; mean and standard deviation "
        f"over seeds. Balanced accuracy and both columns `without` are by {TTA_VIEWS} views. "
        "Minutes are wall time, of the studies' recipes beside other work. The last row was "
        f"measured on {describe_machine()}."
    )
    table = to_table(HEADER, list(rows.values()))
    replace_section(RESULTS, "recipes", f"## Recipes in full\n\n{note}\n\n{table}")
    replace_section(FER2013, "recipes", f"{note}\n\n{to_table(HEADER, shown)}")
    print(table)


def to_row(key: tuple[str, ...], group: pd.DataFrame) -> list[str]:
    """A row of the table: the runs of one recipe, split and choice of classes."""
    names = ("one_view", "views", "balanced", "no_exact_copy", "no_copy")
    scores = [format_spread(100 * group[name]) for name in names]
    test = f"{group['rows'].iloc[0]:,} ({group['without_copy'].iloc[0]:,} without a copy)"
    minutes = f"{group['minutes'].mean():.1f}", f"{group['cpu_minutes'].mean():.1f}"
    published = RECIPES[key[0]].published if key[0] in RECIPES else ""
    return [*key, str(group["models"].sum()), test, *minutes, *scores, published]


def format_spread(values: "pd.Series[float]") -> str:
    mean = f"{values.mean():.1f}"
    return mean if len(values) == 1 else f"{mean} ± {values.std():.1f}"


if __name__ == "__main__":
    main()
