"""Recipes trained in full on FER2013: under the dataset's own split, ours without leaks, and a random one with them.

    python benchmarks/recipes.py ~/data/fer2013 FOLDER [--recipe fast] [--split official] [--seeds 3] [-- --epochs 30 …]

Words behind `--` go to `train run`. `official` has every image of the set in the split it is shipped with (test: PrivateTest),
`clean` is `curate dedup` and `curate split --ratios 70 15 15`, `random` is scikit-learn's stratified split of all images into
the same shares, copies in it or not. Balanced is the mean recall of the classes, by ten views. The columns `without` score the
same predictions on the test images that have no exact copy in train, and on those that have no copy at all by `curate dedup`.
An ensemble is the mean of the probabilities of all seeds.
FOLDER keeps workspaces, runs and figures: what is there is not trained again, and a training that was broken off goes on. The
section `recipes` of RESULTS.md shows all that FOLDER holds; a row of it that FOLDER knows nothing of stays as it was printed
before. The README shows the recipes as they are, weighted and as ensembles. Minutes are those of the run's own record, of all
processes that took part, whatever ran beside them; the seconds that TensorFlow takes to be imported are not in them.
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
    README,
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
VIEWS = "10"
ENSEMBLE = ", ensemble of "
# What the README shows: recipes as they are, weighted, and as ensembles.
SHOWN = re.compile(rf"[\w-]+( --class-weights balanced)?({ENSEMBLE}.*)?")
KEY = "recipe", "split", "classes"
HEADER = (
    *KEY, "models", "test images", "minutes a model", "CPU min", "one view, %", f"{VIEWS} views, %",
    "balanced, %", "without exact copies, %", "without any copy, %", "published",
)  # fmt: skip


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
    for label, seed, members in tasks:
        model = {"recipe": label, "split": options.split, "classes": options.classes, "seed": seed}
        known = (
            [json.loads(line) for line in results.read_text().splitlines()]
            if results.is_file()
            else []
        )
        if any(model.items() <= figures.items() for figures in known):
            continue
        how = ["--recipe", options.recipe, *words, "--classes", options.classes]
        for member in members:
            train(place, f"{stem}-s{member}", [*how, "--seed", str(member)])
        figures = model | score(place, [f"{stem}-s{member}" for member in members])
        with results.open("a") as file:
            file.write(json.dumps(figures) + "\n")
        print(figures, file=sys.stderr, flush=True)
    write(pd.read_json(results, lines=True, dtype={"classes": str}))


def prepare(dataset: Path, place: Path, split: str, classes: str) -> None:
    """`place/manifests`, which is trained on, and `place/copies`, which knows the copies."""
    if split == "random":
        dataset = link_random_split(dataset, place / "images")
    for name in ("manifests", "copies"):
        env = {"CURATE_WORKSPACE": str(place / name)}
        run_command(["curate", "build", f"fer2013={dataset}"], env=env)
        if name == "copies" or split == "clean":
            run_command(["curate", "inspect"], env=env)
            run_command(["curate", "dedup"], env=env)
    how = ["--ratios", "70", "15", "15"] if split == "clean" else ["--from-source"]
    run_command(
        ["curate", "split", *how, "--classes", classes],
        env={"CURATE_WORKSPACE": str(place / "manifests")},
    )


def link_random_split(dataset: Path, images: Path) -> Path:
    """Links to all files in train/, val/ and test/, drawn as the studies draw: stratified, blind to copies."""
    files = np.array(sorted(str(file) for file in dataset.rglob("*.jpg")))
    labels = np.array([Path(file).parent.name for file in files])
    train, rest = train_test_split(
        np.arange(len(files)), test_size=0.3, stratify=labels, random_state=0
    )
    val, test = train_test_split(rest, test_size=0.5, stratify=labels[rest], random_state=0)
    for name, rows in (("train", train), ("val", val), ("test", test)):
        for row in rows:
            link = images / name / labels[row] / f"{row:05d}.jpg"
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(os.path.realpath(files[row]))
    return images


def train(place: Path, name: str, words: list[str]) -> None:
    """One model, or on with it where it was broken off; nothing where it is there."""
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
    words = ["train", "evaluate", *map(str, folders), "--tta", VIEWS, "--json"]
    metrics = json.loads(run_command(words, env={"CURATE_WORKSPACE": str(workspace.root)}).stdout)
    beliefs = pd.read_csv(Path(metrics["folder"]) / "predictions.csv")
    right = (beliefs["label"] == beliefs["predicted"]).to_numpy()
    leaked = has_known_copy_in_train(
        Workspace(place / "copies").read(), workspace.read(), beliefs["path"]
    )
    return {
        "rows": len(right),
        "models": len(names),
        "minutes": float(np.mean([record["seconds"] for record in records])) / 60,
        "cpu_minutes": float(np.mean([record["resources"]["cpu_seconds"] for record in records]))
        / 60,
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
    photograph = copies["duplicate_group"].where(copies["duplicate_group"] != "", copies["path"])
    photograph.index = pd.Index(copies["path"])
    seen = trained.loc[(trained["split"] == "train") & (trained["status"] == "keep"), "path"]
    return photograph.loc[paths].isin(photograph.loc[seen]).to_numpy()


def write(results: pd.DataFrame) -> None:
    rows = {tuple(row[: len(KEY)]): row for row in read_table(RESULTS, "recipes")}
    rows |= {key: tell(key, group) for key, group in results.groupby(list(KEY), sort=False)}
    shown = [row for row in rows.values() if SHOWN.fullmatch(row[0])]
    note = (
        "Measured by `python benchmarks/recipes.py FER2013 FOLDER`; mean and standard deviation over models with other seeds. "
        f"Balanced accuracy and both columns `without` are by {VIEWS} views. Minutes are wall time, of the studies' recipes "
        f"beside other work. The last row was measured on {describe_machine()}."
    )
    replace_section(
        RESULTS,
        "recipes",
        f"## Recipes in full\n\n{note}\n\n{to_table(HEADER, list(rows.values()))}",
    )
    replace_section(README, "recipes", f"{note}\n\n{to_table(HEADER, shown)}")
    print(to_table(HEADER, list(rows.values())))


def tell(key: tuple[str, ...], group: pd.DataFrame) -> list[str]:
    scores = [
        format_spread(100 * group[name])
        for name in ("one_view", "views", "balanced", "no_exact_copy", "no_copy")
    ]
    test = f"{group['rows'].iloc[0]:,} ({group['without_copy'].iloc[0]:,} without a copy)"
    return [
        *key,
        str(group["models"].sum()),
        test,
        f"{group['minutes'].mean():.1f}",
        f"{group['cpu_minutes'].mean():.1f}",
        *scores,
        RECIPES[key[0]].published if key[0] in RECIPES else "",
    ]


def format_spread(values: "pd.Series[float]") -> str:
    return (
        f"{values.mean():.1f}" if len(values) == 1 else f"{values.mean():.1f} ± {values.std():.1f}"
    )


if __name__ == "__main__":
    main()
