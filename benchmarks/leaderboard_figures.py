"""Where the figures of our models on the leaderboard come from: RESULTS.md, and folders of runs.

In: the section `recipes` of RESULTS.md; or run folders with the predictions of `train evaluate`,
which may be in a zip, a workspace with the copies, and crowd votes. Out: entries in the schema of
`leaderboard.py`.
"""

import io
import json
import re
import subprocess
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from results import ROOT, read_table

from curate.workspace.predictions import PREFIX, class_names
from curate.workspace.votes import choose_majority, votes_of
from curate.workspace.workspace import Workspace
from train.evaluation.metrics import score_predictions
from train.recipes.presets import RECIPES
from train.recipes.recipe import format_option, format_value, from_json, option_fields

TESTS = {
    "official": "PrivateTest as shipped",
    "official-no-exact": "without the images that have an identical copy in Training",
    "official-no-copy": "without the images that have any copy in Training",
    "crowd": "of these, the images whose majority of FER+'s votes is one of the seven classes; it "
    "is the label",
}
MEASURES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
}
OURS = "FER2013's Training as shipped, copies too"
PICKED = "PublicTest picks the epoch; "
Scores = dict[str, Any]


def read_results(file: Path) -> Iterator[Scores]:
    """An entry for each row of the section `recipes`: FER2013's own split, seven classes."""
    for row in read_table(file, "recipes"):
        name, split, classes, models, test, _, _, _, views, balanced, no_exact, no_copy, _ = row
        if split != "official" or classes != "7":
            continue
        rows, without_copy = (int(each.replace(",", "")) for each in re.findall(r"[\d,]+", test))
        ensemble = re.search(r"ensemble of (\d+) seeds", name)
        scored = "mean of 10 views" + (f" and of {ensemble[1]} models" if ensemble else "")
        yield {
            "model": name,
            "recipe": name.split(", ensemble")[0],
            "code": None,
            "commit": find_commit(file, f"| {' | '.join(row)} |"),
            "seeds": int(models),
            "training_data": OURS,
            "protocol": f"{PICKED}{scored}",
            "source": "benchmarks/RESULTS.md, section recipes, by `leaderboard.py tables`",
            "scores": {
                "official": fill(rows, accuracy=parse(views), balanced_accuracy=parse(balanced)),
                "official-no-exact": fill(None, accuracy=parse(no_exact)),
                "official-no-copy": fill(without_copy, accuracy=parse(no_copy)),
                "crowd": fill(None),
            },
        }


def fill(rows: int | None, **scores: Any) -> Scores:
    """The scores of a test; null for those that are not given."""
    return {"rows": rows, **{name: scores.get(name) for name in MEASURES}}


def parse(cell: str) -> Scores:
    """ "70.7 ± 0.1" percent as shares."""
    mean, *deviation = (round(float(each) / 100, 5) for each in cell.split(" ± "))
    return {"mean": mean, "deviation": deviation[0] if deviation else None}


def find_commit(file: Path, line: str) -> str | None:
    """The first commit whose table has this line: its code measured it. None without history."""
    words = ["git", "log", "--reverse", "--format=%h", f"-S{line}", "--", str(file)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.split()[0] if done.stdout else None


def score_runs(
    name: str, runs: Sequence[Path], files: Workspace, votes: Mapping[str, str]
) -> Scores:
    """An entry from the predictions in the folders of runs, one run a seed."""
    manifest = files.read().set_index("path")
    tests = find_tests(manifest, votes)
    records = [json.loads(read_file(run / "recipe.json")) for run in runs]
    metrics = [json.loads(read_file(run / "evaluation-test" / "metrics.json")) for run in runs]
    recipes = {describe_recipe(record["recipe"]) for record in records}
    if len(recipes) > 1:
        raise SystemExit(f"{name}: the runs have several recipes ({'; '.join(sorted(recipes))})")
    table = [score_predicted(run, tests) for run in runs]
    views = metrics[0]["views"]
    rows = sum(records[0]["rows"]["train"].values())
    return {
        "model": name,
        "recipe": recipes.pop(),
        "code": None,
        "commit": None,
        "seeds": len(runs),
        "training_data": f"{rows:,} images of FER2013's Training as shipped",
        "protocol": PICKED + (f"mean of {views} views" if views > 1 else "one view"),
        "source": f"{', '.join(name_run(run) for run in runs)}, by `leaderboard.py runs`",
        "scores": average(table),
    }


def find_tests(manifest: pd.DataFrame, votes: Mapping[str, str]) -> dict[str, "pd.Series[str]"]:
    """Test -> label by path, of the images of PrivateTest that it has.

    Parameters
    ----------
    manifest : by path, with the copies that `curate dedup` has found
    """
    given, is_train = manifest["given_label"], manifest["source_split"] == "train"
    official = manifest["source_split"] == "test"
    exact = manifest["pixel_hash"].isin(set(manifest.loc[is_train, "pixel_hash"]))
    groups = set(manifest.loc[is_train, "duplicate_group"]) - {""}
    copy = exact | manifest["duplicate_group"].isin(groups)
    crowd = [choose_majority(votes_of(votes.get(path, "")), own) for path, own in given.items()]
    majority = pd.Series(crowd, manifest.index, dtype=str)
    is_class = majority.isin(set(given))
    return {
        "official": given[official],
        "official-no-exact": given[official & ~exact],
        "official-no-copy": given[official & ~copy],
        "crowd": majority[official & ~copy & is_class],
    }


def score_predicted(run: Path, tests: Mapping[str, "pd.Series[str]"]) -> Scores:
    """The scores of one run on each test; of no row, nulls."""
    predictions = pd.read_csv(io.BytesIO(read_file(run / "evaluation-test" / "predictions.csv")))
    predictions = predictions.set_index("path")
    classes = class_names(predictions)
    probs = predictions[[PREFIX + name for name in classes]]
    scores = {}
    for name, labels in tests.items():
        missing = labels.index.difference(probs.index)
        if len(missing):
            raise SystemExit(f"{run}: no prediction of {len(missing)} rows (first: {missing[0]})")
        scores[name] = {"rows": 0}
        if len(labels):
            targets = labels.map(classes.index).to_numpy()
            scores[name] = score_predictions(targets, probs.loc[labels.index].to_numpy())
    return scores


def average(tables: Sequence[Mapping[str, Mapping[str, Any]]]) -> Scores:
    """Mean and sample standard deviation over the seeds; what one of them lacks is null."""
    averaged = {}
    for test in TESTS:
        rows = {table[test]["rows"] if test in table else 0 for table in tables}
        if len(rows) > 1:
            raise SystemExit(f"{test}: the seeds have different rows: {sorted(rows)}")
        averaged[test] = fill(rows.pop() or None)
        for name in MEASURES:
            values = [table.get(test, {}).get(name) for table in tables]
            if None not in values:
                averaged[test][name] = {
                    "mean": round(float(np.mean(values)), 5),
                    "deviation": round(float(np.std(values, ddof=1)), 5) if values[1:] else None,
                }
    return averaged


def describe_recipe(values: Mapping[str, Any]) -> str:
    """The recipe and the options that make it differ from the named one."""
    recipe, named = from_json(dict(values)), RECIPES[values["name"]]
    words = [recipe.name]
    # A batch of 0 is chosen from the number of rows, and the learning rate with it.
    chosen = ("batch_size", "learning_rate") if not named.batch_size else ()
    for item in option_fields():
        value, usual = getattr(recipe, item.name), getattr(named, item.name)
        if value != usual and item.name not in chosen:
            words += [format_option(item.name), format_value(value)]
    return " ".join(words)


def read_file(file: Path) -> bytes:
    """The bytes of a file, which may be in a zip."""
    archive = next((part for part in file.parents if part.suffix == ".zip"), None)
    if archive is None:
        return file.read_bytes()
    with zipfile.ZipFile(archive) as opened:
        return opened.read(file.relative_to(archive).as_posix())


def name_run(run: Path) -> str:
    """Where a run is: in the repository, else its folder's name."""
    run = run.resolve()
    return run.relative_to(ROOT).as_posix() if run.is_relative_to(ROOT) else run.name
