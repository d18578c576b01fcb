"""`train preview`: the first batch as the model will see it, beside the pictures as they are.

The batch is the one that `train run` with the same seed begins with, so a wrong augmentation is seen before the training.
"""

from pathlib import Path

import numpy as np

from curate.files import write_atomically
from curate.result import Result
from curate.workspace.workspace import Workspace
from train.data.batches import plan_epoch, stream_batches
from train.data.dataset import choose_rows, read_dataset
from train.data.images import load_images
from train.evaluation.image_grid import plot_sheet
from train.recipes.presets import resolve_batch_size
from train.recipes.recipe import Recipe

# Pairs in a line: 8 stay readable on a screen.
ACROSS = 8


def preview_batch(
    workspace: Workspace,
    recipe: Recipe,
    *,
    class_view: str = "",
    seed: int = 0,
    most: int = 32,
    out: Path | None = None,
    dry_run: bool = False,
) -> Result:
    """Draw the first images of the first batch, each under its original.

    Parameters
    ----------
    most : images on the sheet, no more than a batch has
    out : PNG file; None for previews/<recipe>.png in the workspace
    """
    dataset = read_dataset(workspace, recipe, class_view)
    file = out or workspace.root / "previews" / f"{recipe.name}.png"
    if dry_run:
        return Result(f"preview: would draw a batch of {recipe.name} -> {file}")
    train = choose_rows(
        dataset, load_images(workspace, dataset.manifest, recipe.size), "train", recipe, class_view
    )
    recipe = resolve_batch_size(recipe, len(train.rows))
    shown, _, weights = next(stream_batches(recipe, len(dataset.classes), train, (seed,)))
    first = plan_epoch(recipe, len(train.rows), (seed, 0)).order[: len(shown)][:most]
    before = np.asarray(train.images[train.rows[first]])
    names = [dataset.classes[target] for target in train.targets[first]]
    captions = [
        name + (f"\nweight {weight:.2f}" if dataset.class_weights else "")
        for name, weight in zip(names, weights, strict=False)
    ]
    cells, headings = [], []
    for start in range(0, len(first), ACROSS):
        part = slice(start, start + ACROSS)
        cells += [
            [(image, "") for image in before[part]],
            [
                (image[..., 0], caption)
                for image, caption in zip(shown[part], captions[part], strict=False)
            ],
        ]
        headings += ["as it is", "as fed"]
    title = f"{recipe.name}: the first {len(first)} images of its first batch, seed {seed}"
    write_atomically(file, plot_sheet(cells, title, rows=headings))
    return Result(
        f"preview: {len(first)} images of {recipe.name} -> {file}",
        {"images": len(first), "file": str(file)},
    )
