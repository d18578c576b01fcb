"""`train occlude`: how much accuracy a run loses when a part of the face is hidden.

Input: a run and rows of a workspace. Output: a table and plots in a folder of the run. Each mask
(a band of the face) is scored on all rows. A patch that slides over the
face is scored on a sample: its map shows how much accuracy each place contributes.

References
----------
M. Zeiler, R. Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, section 4.2
(the sliding patch)
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.errors import UsageError
from curate.files import write_atomically
from curate.result import Result
from curate.stderr import open_bar
from curate.workspace.manifest import table_bytes
from curate.workspace.workspace import Workspace
from train.data.dataset import Images, Pixels
from train.data.masks import cover, mask_images, slide_patch
from train.data.tta import plan_identity
from train.evaluation.image_grid import Heat, plot_image_grid
from train.evaluation.metrics import format_percent, score_classes, score_predictions
from train.evaluation.open_runs import RunSet, open_runs
from train.evaluation.plots import plot_heat
from train.evaluation.predict import PREDICT_BATCH, predict_probs
from train.recipes.recipe import MASKS
from train.runs.folder import METRICS, write_json

# Rows of the sample: 500 give the accuracy at a place to about 4 points, enough for a map.
SAMPLE = 500
# Faces that masks.png shows under each mask.
MAX_EXAMPLES = 8


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
    """Score a run under every mask and with the sliding patch; write tables and plots.

    Parameters
    ----------
    run : folder of the run; None for the newest of the workspace
    rows : train, val, test, or all kept rows
    classes : "3" merges the classes into positive, neutral and negative
    patch : side of the patch in pixels of the model's input; None for a quarter of it; the patch
        moves by half its side
    sample : most rows that the patch is scored on
    """
    run_set = open_runs(workspace, [run] if run else (), rows=rows, classes=classes)
    size = run_set.records[0].recipe.size
    side = size // 4 if patch is None else patch
    if not 2 <= side <= size:
        raise UsageError(f"--patch {side}: must be 2 to {size}, the side of the model's input")
    if dry_run:
        return Result(f"occlude: would score {run_set.name} on {len(run_set.rows):,} {rows} rows")
    model = run_set.load_models()[0]
    reads = max(run_set.count_reads(1), default=None)
    images = run_set.read_images(size)
    sampled = run_set.sample(sample, seed)
    pixels = np.asarray(images[sampled.rows])
    scores = Occlusion(
        masks=score_masks(run_set, model, images),
        patches=score_patches(sampled, model, pixels, side),
        side=side,
    )
    name = f"occlusion-{run_set.reserve_suffix()}"
    if classes:
        name += f"-{classes}"
    folder = run_set.records[0].folder / name
    counts = {
        "run": run_set.name, "rows": len(run_set.rows), "patch": side, "sample": len(sampled.rows),
        "manifest_sha256": run_set.manifest_sha256,
        "test_reads": reads, "masks": {row["mask"]: row for row in scores.masks.to_dict("records")},
    }  # fmt: skip
    _write(folder, run_set, scores, pixels)
    write_json(folder / METRICS, counts)
    table = format_masks(scores.masks, run_set.classes)
    return Result(_format_summary(run_set, scores, folder), counts, table)


@dataclass(frozen=True)
class Occlusion:
    """The scores of a run with parts of the face hidden.

    Attributes
    ----------
    masks : see `score_masks`
    patches : see `score_patches`
    side : of the patch, pixels
    """

    masks: pd.DataFrame
    patches: pd.DataFrame
    side: int


def score_masks(run_set: RunSet, model: Any, images: Images) -> pd.DataFrame:
    """One row per mask, `none` first: accuracy, macro F1 and the F1 of each class."""
    tta_views = plan_identity(len(run_set.rows))
    rows = []
    for mask in MASKS:
        change = partial(mask_images, mask=mask)
        probs = predict_probs(model, images, run_set.rows, tta_views, change=change)
        probs = run_set.merge_probs(probs)
        scores = score_predictions(run_set.targets, probs)
        of_classes = score_classes(run_set.targets, probs.argmax(axis=1), run_set.classes)
        row = {"mask": mask, "accuracy": scores["accuracy"], "macro_f1": scores["macro_f1"]}
        for name, f1 in zip(of_classes["class"], of_classes["f1"], strict=True):
            row[f"f1_{name}"] = f1
        rows.append(row)
    return pd.DataFrame(rows)


def score_patches(run_set: RunSet, model: Any, pixels: Pixels, side: int) -> pd.DataFrame:
    """One row per place of the patch: its upper left corner, the accuracy, and the accuracy lost.

    Parameters
    ----------
    pixels : (N, S, S) of the selected rows
    side : of the patch, pixels
    """

    def score(faces: Pixels) -> float:
        probs = model.predict(faces[..., None], batch_size=PREDICT_BATCH, verbose=0)
        merged = run_set.merge_probs(probs.astype(np.float64))
        return float((merged.argmax(axis=1) == run_set.targets).mean())

    without_patch = score(pixels)
    corners = list(slide_patch(pixels.shape[1], side, max(side // 2, 1)))
    rows = []
    with open_bar(len(corners), "occlude") as bar:
        for row, column in corners:
            accuracy = score(cover(pixels, row, column, side))
            loss = without_patch - accuracy
            rows.append({"row": row, "column": column, "accuracy": accuracy, "loss": loss})
            bar.update()
    return pd.DataFrame(rows)


def average_losses(patches: pd.DataFrame, side: int, size: int) -> Heat:
    """(S, S): the mean loss over the patches that cover each pixel, points of accuracy."""
    total, count = np.zeros((size, size)), np.zeros((size, size))
    for row, column, loss in patches[["row", "column", "loss"]].to_numpy():
        covered = slice(int(row), int(row) + side), slice(int(column), int(column) + side)
        total[covered] += 100 * loss
        count[covered] += 1
    return total / np.maximum(count, 1)


def format_masks(table: pd.DataFrame, classes: list[str]) -> str:
    """The table for a terminal, in percent."""
    names = ["accuracy", "macro_f1", *(f"f1_{name}" for name in classes)]
    heads = ["accuracy", "macro F1", *classes]
    lines = [f"{'mask':<10}" + "".join(f"{head:>10}" for head in heads)]
    for row in table.to_dict("records"):
        cells = "".join(f"{100 * row[name]:>10.1f}" for name in names)
        lines.append(f"{row['mask']:<10}{cells}")
    return "\n".join(lines)


def _write(folder: Path, run_set: RunSet, scores: Occlusion, pixels: Pixels) -> None:
    """Write the tables and plots; `pixels` is (n, S, S) of the sample."""
    write_atomically(folder / "masks.csv", table_bytes(scores.masks.round(6)))
    write_atomically(folder / "patch.csv", table_bytes(scores.patches.round(6)))
    face = np.rint(pixels.mean(axis=0)).astype(np.uint8)
    heat = average_losses(scores.patches, scores.side, len(face))
    recipe, patch = run_set.records[0].recipe.name, f"{scores.side} x {scores.side} patch"
    title = f"{recipe}: accuracy lost to a {patch}, {len(pixels):,} rows"
    write_atomically(folder / "patch.png", plot_heat(face, heat, title, "points of accuracy lost"))
    examples = pixels[:MAX_EXAMPLES]
    cells = [[(image, "") for image in mask_images(examples, mask)] for mask in MASKS]
    headings = [
        f"{mask}\n{format_percent(accuracy)}"
        for mask, accuracy in zip(scores.masks["mask"], scores.masks["accuracy"], strict=True)
    ]
    rows = f"{len(run_set.rows):,} {run_set.selection} rows"
    title = f"{run_set.name}: accuracy on {rows} under each mask"
    write_atomically(folder / "masks.png", plot_image_grid(cells, title, rows=headings))


def _format_summary(run_set: RunSet, scores: Occlusion, folder: Path) -> str:
    accuracies = ", ".join(
        f"{mask} {format_percent(accuracy)}"
        for mask, accuracy in zip(scores.masks["mask"], scores.masks["accuracy"], strict=True)
    )
    rows = f"{len(run_set.rows):,} {run_set.selection} rows"
    worst = scores.patches.iloc[int(scores.patches["loss"].argmax())]
    place = f"row {int(worst['row'])}, column {int(worst['column'])}"
    return (
        f"occlude: {run_set.name} on {rows}: accuracy {accuracies}; a patch costs most at {place} "
        f"({100 * worst['loss']:.1f} points) -> {folder}"
    )
