"""`train preview`: the first batch as the model will see it, beside the images as they are.

`train run` with the same seed begins with this batch, so a wrong augmentation shows before the
training.
"""

from pathlib import Path

import numpy as np

from curate.files import require_own, write_atomically
from curate.result import Result
from curate.workspace.workspace import Workspace
from train.data.batches import plan_epoch, stream_batches
from train.data.dataset import load_images, read_dataset, select_examples
from train.evaluation.image_grid import plot_image_grid
from train.recipes.recipe import Recipe, resolve_batch_size

# Images in a row: 8 stay readable on a screen.
COLUMNS = 8


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
    most : number of images on the sheet; a batch may have fewer
    out : PNG file; None for previews/<recipe>.png in the workspace
    """
    dataset = read_dataset(workspace, recipe, class_view)
    file = out or workspace.root / "previews" / f"{recipe.name}.png"
    require_own(file, b"\x89png")
    if dry_run:
        return Result(f"preview: would draw a batch of {recipe.name} -> {file}")
    images = load_images(workspace, dataset.manifest, recipe.size)
    train = select_examples(dataset, images, "train", recipe)
    recipe = resolve_batch_size(recipe, dataset.train_rows)
    shown, _, weights = next(stream_batches(recipe, len(dataset.classes), train, (seed,)))
    first = plan_epoch(recipe, len(train.rows), (seed, 0)).order[: len(shown)][:most]
    before = np.asarray(train.images[train.rows[first]])
    names = [dataset.classes[target] for target in train.targets[first]]
    captions = names
    if dataset.class_weights:
        pairs = zip(names, weights, strict=False)
        captions = [f"{name}\nweight {weight:.2f}" for name, weight in pairs]
    cells, headings = [], []
    for start in range(0, len(first), COLUMNS):
        part = slice(start, start + COLUMNS)
        fed = zip(shown[part, ..., 0], captions[part], strict=False)
        cells += [[(image, "") for image in before[part]], list(fed)]
        headings += ["as it is", "as fed"]
    title = f"{recipe.name}: the first {len(first)} images of its first batch, seed {seed}"
    write_atomically(file, plot_image_grid(cells, title, rows=headings))
    return Result(
        f"preview: {len(first)} images of {recipe.name} -> {file}",
        {"images": len(first), "file": str(file)},
    )
