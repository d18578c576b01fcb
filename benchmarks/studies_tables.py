"""The sections of docs/studies.md that `studies.py --write` makes of the finished jobs.

In: FOLDER/results.jsonl and FOLDER/scores, and the runs of an H200 that runs/h200.zip keeps. Out:
the sections `fernet`, `affectnet` and `views`, each as soon as one of its jobs is finished,
docs/fernet.png and docs/affectnet.png. A row is the mean over its seeds, with their standard
deviation from two on.
"""

import json
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jobs import RUNS, read_done
from results import ROOT, replace_section, save_figure, to_table

from curate.files import write_atomically
from curate.workspace.class_views import find_class_view
from train.evaluation.intervals import BOUNDS, DRAWS
from train.evaluation.open_runs import MERGED_VIEWS
from train.evaluation.plots import plot_embedding

PAGE, PLOT = ROOT / "docs" / "studies.md", ROOT / "docs" / "fernet.png"
LAYOUT = ROOT / "docs" / "affectnet.png"
ZIP = RUNS / "h200.zip"
FERNET = {
    "fernet-w16": "widths 16 to 256",
    "fernet-w32": "widths 32 to 512",
    "fernet-w64": "widths 64 to 1024",
    "fernet-w32-upright": "widths 32 to 512, turned by at most 15 degrees",
    "fernet-w32-first": "`fernet5`, widths 32 to 512",
}
AFFECTNET = "'base|affectnet|timeline'"  # its jobs
VIEWED = ("five-layer", "fast", "long")
VIEWS = ("flip", "5", "10", "20")
COMMAND = "`python benchmarks/studies.py FER2013 CK48 FOLDER --only {} && … --write`"
Record = dict[str, Any]


def write_tables(folder: Path) -> None:
    done = {
        job: line["result"] | {"machine": line.get("machine", "")}
        for job, line in read_done(folder).items()
        if line.get("result")
    }
    sections = {
        "fernet": tabulate_fernet({**read_zip(), **done}),
        "affectnet": tabulate_affectnet(done),
        "views": tabulate_views(folder, done),
    }
    for name, text in sections.items():
        if text:
            replace_section(PAGE, name, text)
            print(text, end="\n\n")
    draw_curves(folder)
    draw_layout(folder)


def read_zip() -> dict[str, Record]:
    """Job -> its record, of the runs of FERNet in the zip: by one view and by ten."""
    found: dict[str, Record] = {}
    with zipfile.ZipFile(ZIP) as archive:
        for split in ("random", "clean"):
            place = f"{split}/runs/fernet-w32"
            trained = json.loads(archive.read(f"{place}/metrics.json"))
            scored = json.loads(archive.read(f"{place}/evaluation-test/metrics.json"))
            gpus = json.loads(archive.read(f"{place}/recipe.json"))["machine"]["gpus"]
            views = {"1": {"all": scored["one_view"]}, str(scored["views"]): {"all": scored}}
            found[f"{split}/fernet-w32/s0"] = {
                "epochs": trained["epochs"], "minutes": trained["seconds"] / 60, "test": views,
                "machine": ", ".join(gpus),
            }  # fmt: skip
    return found


def group_rows(done: Mapping[str, Record]) -> dict[tuple[str, str], list[Record]]:
    """(Split, row) -> the records of its seeds."""
    rows: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for job, record in sorted(done.items()):
        if job.count("/") == 2:
            split, row, _ = job.split("/")
            rows[split, row].append(record)
    return rows


def tabulate_fernet(done: Mapping[str, Record]) -> str:
    """A row a variant and split: five classes, by one view and by ten, without copies too."""
    table = []
    for (split, row), seeds in group_rows(done).items():
        if row not in FERNET:
            continue
        scores = [
            format_mean([find(seed, views, rows, "accuracy") for seed in seeds])
            for views, rows in (("1", "all"), ("10", "all"), ("10", "copy_free"))
        ]
        cost = [f"{np.mean([seed[key] for seed in seeds]):.0f}" for key in ("epochs", "minutes")]
        machines = ", ".join(sorted({seed["machine"] for seed in seeds}))
        table.append([FERNET[row], split, len(seeds), *scores, *cost, machines])
    header = (
        "network", "split", "seeds", "one view, %", "10 views, %", "10 views, no copy, %", "epochs",
        "minutes", "on",
    )  # fmt: skip
    return f"{COMMAND.format('fernet')}\n\n{to_table(header, table)}" if table else ""


def find(record: Record, views: str, rows: str, score: str) -> float:
    """A score of test; NaN where it was not measured."""
    return float(record["test"].get(views, {}).get(rows, {}).get(score, np.nan))


def format_mean(shares: Sequence[float]) -> str:
    """`62.7`, or `62.7 ± 0.4` of several seeds; empty where one is not known."""
    if np.isnan(shares).any():
        return ""
    spread = f" ± {100 * np.std(shares, ddof=1):.1f}" if len(shares) > 1 else ""
    return f"{100 * np.mean(shares):.1f}{spread}"


def tabulate_affectnet(done: Mapping[str, Record]) -> str:
    """The pipeline with FER2013 in the place of AffectNet: groups, classes and timelines."""
    if "seven/affectnet/s0" not in done:
        return ""
    record = done["seven/affectnet/s0"]
    rows = []
    for name, key in (("7 classes", "flip"), ("3 groups", "classes 3")):
        for split in ("val", "test"):
            found = record[split][key]["all"]
            recalls = [
                f"{label.removeprefix('recall ')} {100 * share:.0f}"
                for label, share in found.items()
                if label.startswith("recall ")
            ]
            accuracy = f"{100 * found['accuracy']:.1f}"
            rows.append([name, split, f"{found['rows']:,}", accuracy, ", ".join(recalls)])
    header = ("classes", "rows of", "rows", "accuracy, %", "right per class, %")
    took = (
        f"One seed, {record['epochs']} epochs, {record['cpu_minutes']:.0f} minutes of one core on "
        f"{record['machine']}, by the image and its mirror image."
    )
    text = f"{COMMAND.format(AFFECTNET)}\n\n{took}\n\n{to_table(header, rows)}"
    times = [
        [kind, f"{100 * found['found']:.0f}", name, f"{100 * found['frame']:.1f}",
         f"{100 * found['smoothed']:.1f}"]
        for kind in ("drawn", "real")
        for name, found in done.get(f"timeline/{kind}", {}).items()
        if isinstance(found, dict)
    ]  # fmt: skip
    header = ("faces", "found, %", "classes", "right by the frame alone, %", "smoothed, %")
    return f"{text}\n\n{to_table(header, times)}" if times else text


def tabulate_views(folder: Path, done: Mapping[str, Record]) -> str:
    """What test-time augmentation gains, by views, with paired intervals over images."""
    table = []
    for recipe in VIEWED:
        names = sorted(job for job in done if job.startswith(f"official/{recipe}/"))
        if not names:
            continue
        right = [read_right(folder, name) for name in names]
        base = [find(done[name], "1", "all", "accuracy") for name in names]
        gains = [format_gain([seed[f"v{views}"] - seed["v1"] for seed in right]) for views in VIEWS]
        table.append([f"`{recipe}`", len(names), format_mean(base), *gains])
    header = ["recipe", "seeds", "one view, %", *(f"{v} views" for v in ("2", *VIEWS[1:]))]
    return f"{COMMAND.format('official')}\n\n{to_table(header, table)}" if table else ""


def read_right(folder: Path, job: str) -> pd.DataFrame:
    """(N, views) whether each image of test is predicted right, as 0.0 and 1.0."""
    file = folder / "scores" / f"{job.replace('/', '-')}-test.csv"
    table = pd.read_csv(file, keep_default_na=False)
    views = [name for name in table if name.startswith("v")]
    return table[views].eq(table["label"], axis=0).astype(float)


def format_gain(seeds: Sequence["pd.Series[float]"]) -> str:
    """Points gained, the mean over seeds, with the 95 % interval of a bootstrap over images."""
    gains = np.mean(seeds, axis=0)
    random = np.random.default_rng(0)
    drawn = [random.choice(gains, len(gains)).mean() for _ in range(DRAWS)]
    low, high = np.percentile(drawn, BOUNDS)
    return f"{100 * gains.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def draw_curves(folder: Path) -> None:
    """Train and val accuracy by epoch of every variant of FERNet on the random split."""
    from matplotlib import pyplot

    curves = read_curves(folder)
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    for row, curve in curves.items():
        for axis, column in zip(axes, ("accuracy", "val_accuracy"), strict=True):
            axis.plot(curve["epoch"], 100 * curve[column], label=FERNET[row].replace("`", ""))
    for axis, title, published in zip(axes, ("train", "val"), (72, 68.2), strict=True):
        axis.axhline(published, color="grey", linestyle=":", linewidth=1)
        axis.set(title=f"FERNet, {title} accuracy, %", xlabel="epoch")
        axis.grid(alpha=0.3)
    axes[1].legend(fontsize="small")
    save_figure(figure, PLOT)


def read_curves(folder: Path) -> dict[str, pd.DataFrame]:
    """Row -> the curves of its seed 0 on the random split."""
    with (
        zipfile.ZipFile(ZIP) as archive,
        archive.open("random/runs/fernet-w32/history.csv") as kept,
    ):
        curves = {"fernet-w32": pd.read_csv(kept)}
    for row in FERNET:
        file = folder / "scores" / f"random-{row}-s0-history.csv"
        if file.is_file():
            curves[row] = pd.read_csv(file)
    return curves


def draw_layout(folder: Path) -> None:
    """The faces in the plane, by the last features of the AffectNet pipeline."""
    file = folder / "scores" / "affectnet-points.csv"
    if not file.is_file():
        return
    points = pd.read_csv(file)
    class_of = find_class_view(MERGED_VIEWS["3"]).class_of
    panels = [("7 classes", list(points["label"]))]
    panels.append(("3 groups", [class_of[label] for label in points["label"]]))
    title = f"mobilenetv2 on FER2013: last features of {len(points):,} test faces (t-SNE)"
    layout = points[["x", "y"]].to_numpy()
    write_atomically(LAYOUT, plot_embedding(layout, panels, title))
