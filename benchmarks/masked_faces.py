"""The study of masked faces: VGG16 and ResNet50 trained and scored under each mask.

    python benchmarks/masked_faces.py [RUNS.zip]

RUNS.zip holds run folders `official/runs/<recipe>-<mask>`, each with its recipe, metrics, and what
`train occlude` measured on PrivateTest. They were trained from scratch on FER2013's own split,
every image of it, 128 pixels, at most 20 epochs, one seed:

    train run --recipe vgg16 --weights none --train-mask eyes --epochs 20 --name vgg16-eyes
    train occlude manifests/runs/vgg16-eyes --sample 60

The section `masked-faces` of RESULTS.md shows the accuracy under the mask of the training.
"""

import argparse
import json
import zipfile
from pathlib import Path
from typing import Any

from results import RESULTS, replace_section, to_table
from scipy.stats import binomtest

from curate.labels import VOCABULARY

RUNS = Path(__file__).parent / "runs" / "h200.zip"
RECIPES = ("vgg16", "resnet50")
MASKS = {"none": "none", "forehead": "forehead", "eyes": "eyes", "lower": "nose and mouth"}
# Accuracy in % that the study published, where it names one.
PUBLISHED = {
    ("vgg16", "none"): "58.3", ("vgg16", "forehead"): "57.5", ("vgg16", "eyes"): "54.9",
    ("vgg16", "lower"): "43.3", ("resnet50", "none"): "47.4",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="?", default=RUNS)
    with zipfile.ZipFile(parser.parse_args().runs) as archive:
        rows = [read_row(archive, recipe, mask) for recipe in RECIPES for mask in MASKS]
        gpus = read(archive, "vgg16-none/recipe.json")["machine"]["gpus"]
    classes = [name for name in VOCABULARY if name != "contempt"]
    header = ("recipe", "hidden", "accuracy, %", "published, %", "macro F1, %",
              *(f"F1 {name}, %" for name in classes), "epochs (best)", "minutes")  # fmt: skip
    note = (
        "Printed by `python benchmarks/masked_faces.py`: trained and scored under the mask, on "
        "FER2013's own split (3,591 images of PrivateTest), from scratch, 128 pixels, at most 20 "
        f"epochs, one seed, on {', '.join(gpus)} beside six other trainings. Accuracy has its "
        "95 % Wilson interval. The study's networks began with ImageNet's weights, which were not "
        "at hand."
    )
    table = to_table(header, rows)
    replace_section(RESULTS, "masked-faces", f"## Masked faces\n\n{note}\n\n{table}")
    print(table)


def read(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(archive.read(f"official/runs/{name}"))
    return values


def read_row(archive: zipfile.ZipFile, recipe: str, mask: str) -> list[str]:
    run = f"{recipe}-{mask}"
    metrics = read(archive, f"{run}/metrics.json")
    occlusion = read(archive, f"{run}/occlusion-test/metrics.json")
    scores, rows = occlusion["masks"][mask], occlusion["rows"]
    right = round(scores["accuracy"] * rows)
    interval = binomtest(right, rows).proportion_ci(method="wilson")
    accuracy = f"{100 * right / rows:.1f} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"
    per_class = [f"{100 * scores[name]:.1f}" for name in sorted(scores) if name.startswith("f1_")]
    epochs = f"{metrics['epochs']} ({metrics['best_epoch']})"
    return [
        recipe, MASKS[mask], accuracy, PUBLISHED.get((recipe, mask), ""),
        f"{100 * scores['macro_f1']:.1f}", *per_class, epochs, f"{metrics['seconds'] / 60:.1f}",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
