"""The study of masked faces: VGG16 and ResNet50 trained and scored under each mask.

    python benchmarks/masked_faces.py [RUNS.zip]

RUNS.zip holds run folders `official/runs/<recipe>-<mask>` with their recipes, metrics and what
`train occlude` measured on PrivateTest. They were trained from scratch on FER2013's own split,
every image of it, 128 pixels, at most 20 epochs, one seed:

    train run --recipe vgg16 --weights none --train-mask eyes --epochs 20 --name vgg16-eyes
    train occlude manifests/runs/vgg16-eyes --sample 60

Out: the section `masked-faces` of docs/studies.md: the scores under the mask of the training beside
the published ones, F1 per class, and which findings of the study hold. What was predicted under the
masks was not kept, so a difference is that of two independent samples, wider than a paired one.
"""

import argparse
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from results import ROOT, replace_section, to_table
from scipy.stats import binomtest

RUNS = Path(__file__).parent / "runs" / "h200.zip"
PAGE = ROOT / "docs" / "studies.md"
RECIPES = ("vgg16", "resnet50")
MASKS = {"none": "nothing", "forehead": "forehead", "eyes": "eyes", "lower": "nose and mouth"}
# Accuracy in % that the study published, where it names one.
PUBLISHED = {
    ("vgg16", "none"): "58.3", ("vgg16", "forehead"): "57.5", ("vgg16", "eyes"): "54.9",
    ("vgg16", "lower"): "43.3", ("resnet50", "none"): "47.4",
}  # fmt: skip
SMALL = 0.02  # a loss of accuracy that the study calls hardly any
# What the study found, and (recipe, mask) of the two networks whose difference shows it.
FINDINGS = (
    ("VGG16 is better than ResNet50", ("resnet50", "none"), ("vgg16", "none"), "gain"),
    ("hiding the forehead costs hardly anything, VGG16", ("vgg16", "none"), ("vgg16", "forehead"),
     "small"),
    ("and ResNet50", ("resnet50", "none"), ("resnet50", "forehead"), "small"),
    ("nose and mouth matter more than the eyes, VGG16", ("vgg16", "eyes"), ("vgg16", "lower"),
     "loss"),
    ("and ResNet50", ("resnet50", "eyes"), ("resnet50", "lower"), "loss"),
    ("eyes matter more than the forehead, VGG16", ("vgg16", "forehead"), ("vgg16", "eyes"), "loss"),
    ("and ResNet50", ("resnet50", "forehead"), ("resnet50", "eyes"), "loss"),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="?", default=RUNS)
    with zipfile.ZipFile(parser.parse_args().runs) as archive:
        note = describe(archive)
        scores, classes = tabulate_scores(archive), tabulate_classes(archive)
        findings = tabulate_findings(archive)
    text = "\n\n".join([note, scores, classes, findings])
    replace_section(PAGE, "masked-faces", text)
    print(text)


def read(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(archive.read(f"official/runs/{name}"))
    return values


def read_scores(archive: zipfile.ZipFile, recipe: str, mask: str) -> dict[str, Any]:
    """Accuracy, weighted F1, F1 of each class and rows of a network under the mask it learned."""
    run = f"official/runs/{recipe}-{mask}"
    occlusion = json.loads(archive.read(f"{run}/occlusion-test/metrics.json"))
    found = occlusion["masks"][mask]
    with archive.open(f"{run}/evaluation-test/per_class.csv") as file:
        support = pd.read_csv(file).set_index("class")["support"]
    f1 = {name: found[f"f1_{name}"] for name in support.index}
    weighted = float(np.average(list(f1.values()), weights=support))
    return {"accuracy": found["accuracy"], "weighted": weighted, "f1": f1, "n": occlusion["rows"]}


def describe(archive: zipfile.ZipFile) -> str:
    record = read(archive, "vgg16-none/recipe.json")
    rows = read(archive, "vgg16-none/occlusion-test/metrics.json")["rows"]
    return (
        "`python benchmarks/masked_faces.py`: trained and scored under the mask, on FER2013's own "
        f"split ({rows:,} images of PrivateTest), from scratch, {record['recipe']['size']} pixels, "
        f"at most {record['recipe']['epochs']} epochs, one seed, on "
        f"{', '.join(record['machine']['gpus'])} beside six other trainings. The study's networks "
        "began with ImageNet's weights, which were not at hand. Accuracy has its 95 % Wilson "
        "interval."
    )


def tabulate_scores(archive: zipfile.ZipFile) -> str:
    """A row a network: accuracy with its interval and weighted F1 beside what was published."""
    rows = []
    for recipe in RECIPES:
        for mask, hidden in MASKS.items():
            trained = read(archive, f"{recipe}-{mask}/metrics.json")
            found = read_scores(archive, recipe, mask)
            right = round(found["accuracy"] * found["n"])
            bounds = binomtest(right, found["n"]).proportion_ci(method="wilson")
            interval = f"({100 * bounds.low:.1f} to {100 * bounds.high:.1f})"
            rows.append([
                recipe, hidden, PUBLISHED.get((recipe, mask), ""),
                f"{100 * found['accuracy']:.1f} {interval}", f"{100 * found['weighted']:.1f}",
                f"{trained['epochs']} ({trained['best_epoch']})", f"{trained['seconds'] / 60:.1f}",
            ])  # fmt: skip
    header = ("recipe", "hidden", "published, %", "accuracy, %", "weighted F1, %", "epochs (best)",
              "minutes")  # fmt: skip
    return to_table(header, rows)


def tabulate_classes(archive: zipfile.ZipFile) -> str:
    """A row a network: F1 of each class."""
    rows: list[Sequence[str]] = []
    for recipe in RECIPES:
        for mask, hidden in MASKS.items():
            f1 = read_scores(archive, recipe, mask)["f1"]
            rows.append([recipe, hidden, *(f"{100 * value:.0f}" for value in f1.values())])
    table = to_table(["recipe", "hidden", *f1], rows)
    return f"F1 per class, in %:\n\n{table}"


def tabulate_findings(archive: zipfile.ZipFile) -> str:
    """A row a finding: the difference of two accuracies, and whether it bears the finding out."""
    rows = []
    for finding, before, after, kind in FINDINGS:
        low, gain, high = compare(read_scores(archive, *before), read_scores(archive, *after))
        points = f"{100 * gain:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        rows.append([finding, points, judge(kind, low, high)])
    table = to_table(["finding of the study", "difference, points (95 %)", "here"], rows)
    return f"Which findings of the study hold:\n\n{table}"


def compare(before: dict[str, Any], after: dict[str, Any]) -> tuple[float, float, float]:
    """The difference of two accuracies and its 95 % bounds, as of two independent samples."""
    shares = [(found["accuracy"], found["n"]) for found in (before, after)]
    error = float(np.sqrt(sum(share * (1 - share) / rows for share, rows in shares)))
    gain = after["accuracy"] - before["accuracy"]
    return gain - 1.96 * error, gain, gain + 1.96 * error


def judge(kind: str, low: float, high: float) -> str:
    """Whether the interval of a difference bears a finding out."""
    if kind == "small":
        holds, fails = low > -SMALL, high < -SMALL
    elif kind == "gain":
        holds, fails = low > 0, high < 0
    else:
        holds, fails = high < 0, low > 0
    return "holds" if holds else "does not hold" if fails else "not shown"


if __name__ == "__main__":
    main()
