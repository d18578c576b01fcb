"""`train saliency`: which pixels a run looks at, on single faces and on the mean of each class, and what those are worth."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.files import write_atomically
from curate.manifest import table_bytes
from curate.thumbnails import write_array
from curate.workspace import Workspace
from train.attribution import Maps, cut_model, hide_marked, map_gradcam, map_gradient, map_smoothgrad
from train.data import Pixels
from train.feed import one_hot
from train.opened import Opened, open_runs
from train.result import Result
from train.sheets import enlarge_heat, normalise_heat, overlay, plot_sheet

# Faces whose maps are averaged for each class: enough that no single face shows.
PER_CLASS = 32
METHODS = ("gradient", "SmoothGrad", "Grad-CAM")
# Share of the pixels that is hidden to see whether a map marks what the model needs.
HIDDEN = 0.2


def map_saliency(
    workspace: Workspace,
    run: Path | None = None,
    *,
    rows: str = "test",
    per_class: int = PER_CLASS,
    seed: int = 0,
    dry_run: bool = False,
) -> Result:
    """Draw the maps of one face per class and the mean map of each class into the run's folder, and test them by deletion.

    Parameters
    ----------
    per_class : faces of each class whose maps are averaged, drawn by the seed
    """
    opened = open_runs(workspace, [run] if run else (), rows=rows)
    if dry_run:
        return Result(f"saliency: would look at {opened.name} on {rows} rows, {per_class} a class")
    model = opened.load_models()[0]
    parts = cut_model(model)
    reads = max(opened.count_reads(1), default=None)
    picked = pick_rows(opened, per_class, seed)
    size = opened.known[0].recipe.size
    images = opened.read_images(size)
    folder = opened.known[0].folder / f"saliency-{opened.take_place()}"
    singles, means, stored, lines = [], [], {}, []
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
        lines += score_deletion(model, name, pixels, maps, opened.classes.index(name))
    heads = ("face", *METHODS)
    title = f"{opened.name}: what it looks at"
    write_atomically(folder / "faces.png", plot_sheet(singles, title, columns=heads, cell_inches=1.3))
    title = f"{opened.name}: mean map per class"
    write_atomically(folder / "classes.png", plot_sheet(means, title, columns=heads, cell_inches=1.3))
    write_array(folder / "classes.npy", np.stack(list(stored.values())))
    deletion = pd.DataFrame(lines)
    write_atomically(folder / "deletion.csv", table_bytes(deletion.round(6)))
    counts = {
        "run": opened.name, "rows": {name: len(places) for name, places in picked.items()}, "test_reads": reads,
        "hidden": HIDDEN, "deletion": average_deletion(deletion).to_dict("records"),
    }  # fmt: skip
    total = sum(len(places) for places in picked.values())
    story = f"saliency: {opened.name} on {total:,} {opened.chosen} rows, above the mean probability of the label -> {folder}"
    return Result(story, counts, format_deletion(average_deletion(deletion)))


def pick_rows(opened: Opened, per_class: int, seed: int) -> dict[str, npt.NDArray[np.int64]]:
    """Class -> positions among the opened rows, at most `per_class`, drawn by the seed."""
    random = np.random.default_rng(seed)
    places = {name: np.flatnonzero(opened.targets == k) for k, name in enumerate(opened.classes)}
    return {name: random.permutation(found)[:per_class] for name, found in places.items() if len(found)}


def score_deletion(model: Any, name: str, pixels: Pixels, maps: Sequence[Maps], label: int) -> list[dict[str, Any]]:
    """One line per method: what hiding the pixels that its maps mark most does to the faces of a class.

    The same share is hidden by the map of another face of the class too: how much of it is the face, and not the place where
    every face of the class has its mouth.

    Returns
    -------
    class, map, rows, and the mean probability of the label, 0 to 1: `whole`, with the marked pixels `hidden`, and with those
    that the map of `another` face marks

    References
    ----------
    V. Petsiuk et al., RISE, BMVC 2018 (the deletion metric)
    """

    def believe(faces: Pixels) -> float:
        return float(model.predict(faces[..., None], batch_size=256, verbose=0)[:, label].mean())

    whole = believe(pixels)
    return [
        {"class": name, "map": method, "rows": len(pixels), "whole": whole}
        | {
            "hidden": believe(hide_marked(pixels, each, HIDDEN)),
            "another": believe(hide_marked(pixels, np.roll(each, 1, axis=0), HIDDEN)),
        }
        for method, each in zip(METHODS, maps, strict=True)
    ]


def average_deletion(lines: pd.DataFrame) -> pd.DataFrame:
    """One row per method, over the faces of all classes."""
    scores = ["whole", "hidden", "another"]
    sums = lines[scores].mul(lines["rows"], axis=0).groupby(lines["map"], sort=False).sum()
    return sums.div(lines.groupby("map", sort=False)["rows"].sum(), axis=0).reset_index()


def format_deletion(means: pd.DataFrame) -> str:
    """The table for a terminal: the mean probability of the label, in percent."""
    lines = [f"{'map':<12}{'whole':>7}{f'{100 * HIDDEN:.0f} % hidden':>14}{'by another map':>17}"]
    lines += [
        f"{row['map']:<12}{100 * row['whole']:>7.1f}{100 * row['hidden']:>14.1f}{100 * row['another']:>17.1f}"
        for row in means.to_dict("records")
    ]
    return "\n".join(lines)


def average_maps(maps: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(N, S, S) -> (S, S): the mean of maps that each sum to 1, so that no face outweighs the others."""
    sums = maps.sum(axis=(1, 2), keepdims=True)
    return np.asarray((maps / np.maximum(sums, 1e-12)).mean(axis=0), np.float64)
