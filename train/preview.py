"""`train preview`: the first batch as the model will see it, beside the pictures as they are.

The batch is the one that `train run` with the same seed begins with, so a wrong augmentation is seen before the training.
"""

from pathlib import Path

import numpy as np

from curate.files import write_atomically
from curate.workspace import Workspace
from train.data import load_images
from train.feed import plan_epoch, stream_batches
from train.fields import Recipe
from train.material import choose_rows, read_material
from train.recipes import settle_batch
from train.result import Result
from train.sheets import plot_sheet

# Pairs in a line: 8 stay readable on a screen.
ACROSS = 8


def preview_batch(
    workspace: Workspace,
    recipe: Recipe,
    *,
    view: str = "",
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
    material = read_material(workspace, recipe, view)
    file = out or workspace.root / "previews" / f"{recipe.name}.png"
    if dry_run:
        return Result(f"preview: would draw a batch of {recipe.name} -> {file}")
    train = choose_rows(material, load_images(workspace, material.manifest, recipe.size), "train", recipe, view)
    recipe = settle_batch(recipe, len(train.rows))
    shown, _, weights = next(stream_batches(recipe, len(material.classes), train, (seed,)))
    first = plan_epoch(recipe, len(train.rows), (seed, 0)).order[: len(shown)][:most]
    before = np.asarray(train.images[train.rows[first]])
    names = [material.classes[target] for target in train.targets[first]]
    captions = [
        name + (f"\nweight {weight:.2f}" if material.class_weights else "")
        for name, weight in zip(names, weights, strict=False)
    ]
    cells, headings = [], []
    for start in range(0, len(first), ACROSS):
        part = slice(start, start + ACROSS)
        cells += [
            [(image, "") for image in before[part]],
            [(image[..., 0], caption) for image, caption in zip(shown[part], captions[part], strict=False)],
        ]
        headings += ["as it is", "as fed"]
    title = f"{recipe.name}: the first {len(first)} images of its first batch, seed {seed}"
    write_atomically(file, plot_sheet(cells, title, rows=headings))
    return Result(f"preview: {len(first)} images of {recipe.name} -> {file}", {"images": len(first), "file": str(file)})
