"""`train saliency`: which pixels a run looks at, on single faces and on the mean of each class."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from curate.files import write_atomically
from curate.thumbnails import write_array
from curate.workspace import Workspace
from train.attribution import cut_model, map_gradcam, map_gradient, map_smoothgrad
from train.feed import one_hot
from train.opened import Opened, open_runs
from train.result import Result
from train.sheets import enlarge_heat, normalise_heat, overlay, plot_sheet

# Faces whose maps are averaged for each class: enough that no single face shows.
PER_CLASS = 32
METHODS = ("gradient", "SmoothGrad", "Grad-CAM")


def map_saliency(
    workspace: Workspace,
    run: Path | None = None,
    *,
    rows: str = "test",
    per_class: int = PER_CLASS,
    seed: int = 0,
    dry_run: bool = False,
) -> Result:
    """Draw the maps of one face per class and the mean map of each class into the run's folder.

    Parameters
    ----------
    per_class : faces of each class whose maps are averaged, drawn by the seed
    """
    opened = open_runs(workspace, [run] if run else (), rows=rows)
    if dry_run:
        return Result(f"saliency: would look at {opened.name} on {rows} rows, {per_class} a class")
    parts = cut_model(opened.load_models()[0])
    reads = max(opened.count_reads(1), default=None)
    picked = pick_rows(opened, per_class, seed)
    size = opened.known[0].recipe.size
    images = opened.read_images(size)
    folder = opened.known[0].folder / f"saliency-{opened.take_place()}"
    singles, means, stored = [], [], {}
    for name, places in picked.items():
        pixels = np.asarray(images[opened.rows[places]])
        targets = one_hot(opened.targets[places], len(opened.classes))
        maps = [map_gradient(parts, pixels, targets), map_smoothgrad(parts, pixels, targets, seed)]
        maps.append(np.stack([enlarge_heat(cam, size) for cam in map_gradcam(parts, pixels, targets)]))
        singles.append([(pixels[0], name), *((overlay(pixels[0], normalise_heat(each[0])), "") for each in maps)])
        face = np.rint(pixels.mean(axis=0)).astype(np.uint8)
        mean = [average_maps(each) for each in maps]
        means.append([(face, f"{name}, {len(places)}"), *((overlay(face, normalise_heat(each)), "") for each in mean)])
        stored[name] = np.stack(mean)
    heads = ("face", *METHODS)
    title = f"{opened.name}: what it looks at"
    write_atomically(folder / "faces.png", plot_sheet(singles, title, columns=heads, cell_inches=1.3))
    title = f"{opened.name}: mean map per class"
    write_atomically(folder / "classes.png", plot_sheet(means, title, columns=heads, cell_inches=1.3))
    write_array(folder / "classes.npy", np.stack(list(stored.values())))
    counts = {"run": opened.name, "rows": {name: len(places) for name, places in picked.items()}, "test_reads": reads}
    total = sum(len(places) for places in picked.values())
    return Result(f"saliency: {opened.name} on {total:,} {opened.chosen} rows -> {folder}", counts)


def pick_rows(opened: Opened, per_class: int, seed: int) -> dict[str, npt.NDArray[np.int64]]:
    """Class -> positions among the opened rows, at most `per_class`, drawn by the seed."""
    random = np.random.default_rng(seed)
    places = {name: np.flatnonzero(opened.targets == k) for k, name in enumerate(opened.classes)}
    return {name: random.permutation(found)[:per_class] for name, found in places.items() if len(found)}


def average_maps(maps: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(N, S, S) -> (S, S): the mean of maps that each sum to 1, so that no face outweighs the others."""
    sums = maps.sum(axis=(1, 2), keepdims=True)
    return np.asarray((maps / np.maximum(sums, 1e-12)).mean(axis=0), np.float64)
