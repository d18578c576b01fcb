"""`train occlude`: what a run loses when a part of the face is hidden.

Three masks of fixed bands (forehead, eyes, nose and mouth), each scored on all rows, and a patch that slides over the face,
scored on a sample: the map shows how much accuracy each place is worth.

References
----------
M. Zeiler, R. Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, section 4.2 (the sliding patch)
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate import engine
from curate.errors import UsageError
from curate.files import write_atomically
from curate.result import Result
from curate.workspace.manifest import table_bytes
from curate.workspace.workspace import Workspace
from train.data.augment import plan_still
from train.data.images import Pixels
from train.data.masks import BANDS, cover, mask_images, slide_patch
from train.evaluation.image_grid import plot_sheet
from train.evaluation.metrics import format_percent, score_classes, score_predictions
from train.evaluation.open_runs import RunSet, open_runs
from train.evaluation.plots import plot_heat
from train.evaluation.predict import predict_probs
from train.runs.folder import write_json

# Rows that the patch slides over: 500 bound a place's accuracy to about 4 points, enough for a map.
SAMPLE = 500


def occlude_run(
    workspace: Workspace,
    run: Path | None = None,
    *,
    rows: str = "test",
    classes: str | None = None,
    patch: int | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
    dry_run: bool = False,
) -> Result:
    """Score a run under every mask and draw the map of the sliding patch into its folder.

    Parameters
    ----------
    patch : side of the patch in pixels of the model's input; None for a quarter of it; it moves by half its side
    sample : most rows that the patch slides over
    """
    run_set = open_runs(workspace, [run] if run else (), rows=rows, classes=classes)
    size = run_set.known[0].recipe.size
    side = size // 4 if patch is None else patch
    if not 2 <= side <= size:
        raise UsageError(f"--patch {side}: must be 2 to {size}, the side of the model's input")
    if dry_run:
        return Result(f"occlude: would score {run_set.name} on {len(run_set.rows):,} {rows} rows")
    model = run_set.load_models()[0]
    reads = max(run_set.count_reads(1), default=None)
    images = run_set.read_images(size)
    table = score_masks(run_set, model, images)
    few = run_set.sample(sample, seed)
    heat = slide(few, model, np.asarray(images[few.rows]), side)
    folder = (
        run_set.known[0].folder
        / f"occlusion-{run_set.take_place()}{f'-{classes}' if classes else ''}"
    )
    counts = {
        "run": run_set.name, "rows": len(run_set.rows), "patch": side, "sample": len(few.rows), "test_reads": reads,
        "masks": {row["mask"]: row for row in table.to_dict("records")},
    }  # fmt: skip
    _write(folder, run_set, few, table, heat, side, images)
    write_json(folder / "metrics.json", counts)
    return Result(
        _format_summary(run_set, table, heat, folder), counts, format_masks(table, run_set.classes)
    )


def score_masks(run_set: RunSet, model: Any, images: Any) -> pd.DataFrame:
    """One row per mask, none first: accuracy, macro F1 and F1 of each class."""
    views = plan_still(len(run_set.rows))
    lines = []
    for mask in BANDS:
        probs = predict_probs(
            model, images, run_set.rows, views, change=partial(mask_images, mask=mask)
        )
        probs = run_set.merge_probs(probs)
        scores = score_predictions(run_set.targets, probs)
        of_classes = score_classes(run_set.targets, probs.argmax(axis=1), run_set.classes)
        lines.append(
            {"mask": mask, "accuracy": scores["accuracy"], "macro_f1": scores["macro_f1"]}
            | {
                f"f1_{name}": f1
                for name, f1 in zip(of_classes["class"], of_classes["f1"], strict=True)
            }
        )
    return pd.DataFrame(lines)


def slide(run_set: RunSet, model: Any, pixels: Pixels, side: int) -> pd.DataFrame:
    """One row per place of the patch: its upper left corner, the accuracy with it there, and what is lost.

    Parameters
    ----------
    pixels : (N, S, S) of the opened rows
    """
    size = pixels.shape[1]

    def score(covered: Pixels) -> float:
        probs = run_set.merge_probs(
            model.predict(covered[..., None], batch_size=256, verbose=0).astype(np.float64)
        )
        return float((probs.argmax(axis=1) == run_set.targets).mean())

    whole = score(pixels)
    corners = list(slide_patch(size, side, max(side // 2, 1)))
    lines = []
    with engine.progress(len(corners), "occlude") as bar:
        for row, column in corners:
            accuracy = score(cover(pixels, row, column, side))
            lines.append(
                {"row": row, "column": column, "accuracy": accuracy, "loss": whole - accuracy}
            )
            bar.update()
    return pd.DataFrame(lines)


def spread_heat(places: pd.DataFrame, side: int, size: int) -> np.ndarray:
    """(S, S): the mean loss of the patches that cover each pixel, points of accuracy."""
    total, count = np.zeros((size, size)), np.zeros((size, size))
    for row, column, loss in places[["row", "column", "loss"]].to_numpy():
        where = slice(int(row), int(row) + side), slice(int(column), int(column) + side)
        total[where] += 100 * loss
        count[where] += 1
    return total / np.maximum(count, 1)


def format_masks(table: pd.DataFrame, classes: list[str]) -> str:
    """The table for a terminal, in percent."""
    names = ["accuracy", "macro_f1", *(f"f1_{name}" for name in classes)]
    heads = ["accuracy", "macro F1", *classes]
    lines = ["mask      " + "".join(f"{head:>10}" for head in heads)]
    lines += [
        f"{row['mask']:<10}" + "".join(f"{100 * row[name]:>10.1f}" for name in names)
        for row in table.to_dict("records")
    ]
    return "\n".join(lines)


def _write(
    folder: Path,
    run_set: RunSet,
    few: RunSet,
    table: pd.DataFrame,
    places: pd.DataFrame,
    side: int,
    images: Any,
) -> None:
    pixels = np.asarray(images[few.rows])
    face = np.rint(pixels.mean(axis=0)).astype(np.uint8)
    heat = spread_heat(places, side, len(face))
    write_atomically(folder / "masks.csv", table_bytes(table.round(6)))
    write_atomically(folder / "patch.csv", table_bytes(places.round(6)))
    title = f"{run_set.known[0].recipe.name}: accuracy lost to a {side} x {side} patch, {len(few.rows):,} rows"
    write_atomically(folder / "patch.png", plot_heat(face, heat, title, "points of accuracy lost"))
    examples = pixels[: min(8, len(pixels))]
    cells = [[(picture, "") for picture in mask_images(examples, mask)] for mask in BANDS]
    headings = [
        f"{row['mask']}\n{format_percent(row['accuracy'])}" for row in table.to_dict("records")
    ]
    title = (
        f"{run_set.name}: accuracy on {len(run_set.rows):,} {run_set.chosen} rows under each mask"
    )
    write_atomically(folder / "masks.png", plot_sheet(cells, title, rows=headings))


def _format_summary(
    run_set: RunSet, table: pd.DataFrame, places: pd.DataFrame, folder: Path
) -> str:
    told = ", ".join(
        f"{row['mask']} {format_percent(row['accuracy'])}" for row in table.to_dict("records")
    )
    worst = places.iloc[int(places["loss"].argmax())]
    return (
        f"occlude: {run_set.name} on {len(run_set.rows):,} {run_set.chosen} rows: accuracy {told}; a patch costs most at row "
        f"{int(worst['row'])}, column {int(worst['column'])} ({100 * worst['loss']:.1f} points) -> {folder}"
    )
