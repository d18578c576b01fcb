"""`train saliency`: which pixels a run looks at, on single faces and on the mean of each class, and what those are worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.files import write_atomically
from curate.manifest import table_bytes
from curate.thumbnails import write_array
from curate.workspace import Workspace
from train.attribution import Maps, Parts, cut_model, hide_marked, map_gradcam, map_gradient, map_smoothgrad
from train.data import Pixels
from train.feed import one_hot
from train.metrics import format_percent
from train.opened import Opened, open_runs
from train.record import METRICS, write_json
from train.result import Result
from train.sheets import enlarge_heat, normalise_heat, overlay, plot_sheet

# Faces whose maps are averaged for each class: enough that no single face shows.
PER_CLASS = 32
METHODS = ("gradient", "SmoothGrad", "Grad-CAM")
# Share of the pixels that is hidden to see whether a map marks what the model needs: it is felt, and most of the face stays.
HIDDEN_SHARE = 0.2
DELETION = ("whole", "own_map", "another_map")


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
    reads = max(opened.count_reads(1), default=None)
    picked = pick_rows(opened, per_class, seed)
    images, parts = opened.read_images(opened.known[0].recipe.size), cut_model(model)
    mapped = [
        map_class(model, parts, opened, name, places, np.asarray(images[opened.rows[places]]), seed)
        for name, places in picked.items()
    ]
    folder = opened.known[0].folder / f"saliency-{opened.take_place()}"
    deletion = _write(folder, opened.name, mapped)
    scores = deletion.groupby("map", sort=False)[list(DELETION)].mean()
    counts = {
        "run": opened.name, "rows": {name: len(places) for name, places in picked.items()}, "test_reads": reads,
        "hidden_share": HIDDEN_SHARE, "deletion": scores.to_dict("index"),
    }  # fmt: skip
    write_json(folder / METRICS, counts | {"seed": seed})
    total = sum(len(places) for places in picked.values())
    told = tell_deletion(scores) if len(scores) else ""
    return Result(f"saliency: {opened.name} on {total:,} {opened.chosen} rows{told} -> {folder}", counts)


@dataclass(frozen=True)
class ClassMaps:
    """What is kept of the maps of one class.

    Attributes
    ----------
    face, mean : a row of pictures with captions each: the first face and its maps, the mean face and the mean maps
    means : (3, S, S), by METHODS
    deletion : see `score_deletion`, and the path of each face; no rows where the class has one face
    """

    face: list[tuple[Pixels, str]]
    mean: list[tuple[Pixels, str]]
    means: npt.NDArray[np.float64]
    deletion: pd.DataFrame


def map_class(
    model: Any, parts: Parts, opened: Opened, name: str, places: npt.NDArray[np.int64], pixels: Pixels, seed: int
) -> ClassMaps:
    """The maps of the faces of one class.

    Parameters
    ----------
    parts : of the model
    places : (N,) positions among the opened rows
    pixels : (N, S, S) uint8
    """
    targets = one_hot(opened.targets[places], len(opened.classes))
    maps = [map_gradient(parts, pixels, targets), map_smoothgrad(parts, pixels, targets, seed)]
    maps.append(np.stack([enlarge_heat(cam, pixels.shape[1]) for cam in map_gradcam(parts, pixels, targets)]))
    face = np.rint(pixels.mean(axis=0)).astype(np.uint8)
    means = [average_maps(each) for each in maps]
    deletion = pd.DataFrame(columns=["path", "map", *DELETION])
    if len(places) > 1:
        deletion = score_deletion(model, pixels, maps, opened.classes.index(name))
        deletion.insert(0, "path", opened.manifest.loc[opened.rows[places], "path"].tolist() * len(maps))
    return ClassMaps(
        [(pixels[0], name), *((overlay(pixels[0], normalise_heat(each[0])), "") for each in maps)],
        [(face, f"{name}, {len(places)}"), *((overlay(face, normalise_heat(each)), "") for each in means)],
        np.stack(means),
        deletion,
    )


def _write(folder: Path, run: str, mapped: Sequence[ClassMaps]) -> pd.DataFrame:
    """Pictures and tables; hands back what deletion did to all faces."""
    heads = ("face", *METHODS)
    sheet = plot_sheet([each.face for each in mapped], f"{run}: what it looks at", columns=heads, cell_inches=1.3)
    write_atomically(folder / "faces.png", sheet)
    sheet = plot_sheet([each.mean for each in mapped], f"{run}: mean map per class", columns=heads, cell_inches=1.3)
    write_atomically(folder / "classes.png", sheet)
    write_array(folder / "classes.npy", np.stack([each.means for each in mapped]))
    deletion = pd.concat([each.deletion for each in mapped if len(each.deletion)] or [mapped[0].deletion])
    write_atomically(folder / "deletion.csv", table_bytes(deletion.round(6)))
    return deletion


def pick_rows(opened: Opened, per_class: int, seed: int) -> dict[str, npt.NDArray[np.int64]]:
    """Class -> positions among the opened rows, at most `per_class`, drawn by the seed."""
    random = np.random.default_rng(seed)
    places = {name: np.flatnonzero(opened.targets == k) for k, name in enumerate(opened.classes)}
    return {name: random.permutation(found)[:per_class] for name, found in places.items() if len(found)}


def score_deletion(model: Any, pixels: Pixels, maps: Sequence[Maps], label: int) -> pd.DataFrame:
    """What hiding the pixels that the maps mark most does to the faces of one class.

    The map of another face of the class hides as many: what that costs too is where faces of the class have their mouth, and
    only what the face's own map costs beyond it tells something of this face.

    Parameters
    ----------
    pixels : (N, S, S) uint8, two faces or more
    maps : (N, S, S) of each of METHODS
    label : the column of the class in what the model predicts

    Returns
    -------
    One row per method and face: its map, and the probability of the label, 0 to 1, of the face `whole`, with the marked pixels
    hidden (`own_map`), and with those hidden that the map of another face marks (`another_map`)

    References
    ----------
    V. Petsiuk et al., RISE, BMVC 2018: deletion, here at one share of the pixels and not as the area under a curve
    """

    def believe(faces: Pixels) -> npt.NDArray[np.float64]:
        return np.asarray(model.predict(faces[..., None], batch_size=256, verbose=0)[:, label], np.float64)

    whole = believe(pixels)
    return pd.concat(
        pd.DataFrame(
            {
                "map": method,
                "whole": whole,
                "own_map": believe(hide_marked(pixels, each, HIDDEN_SHARE)),
                "another_map": believe(hide_marked(pixels, np.roll(each, 1, axis=0), HIDDEN_SHARE)),
            }
        )
        for method, each in zip(METHODS, maps, strict=True)
    )


def tell_deletion(scores: pd.DataFrame) -> str:
    """The mean probabilities of the label: of the whole face, and by each method with its share of the pixels hidden."""
    each = ", ".join(
        f"{method} {format_percent(row['own_map'])} (another face's {format_percent(row['another_map'])})"
        for method, row in scores.iterrows()
    )
    whole = format_percent(scores["whole"].iloc[0])
    share = f"{100 * HIDDEN_SHARE:.0f} %"
    return f": probability of the label {whole}, with the {share} of the pixels hidden that a map marks: {each}"


def average_maps(maps: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(N, S, S) -> (S, S): the mean of maps that each sum to 1, so that no face outweighs the others."""
    sums = maps.sum(axis=(1, 2), keepdims=True)
    return np.asarray((maps / np.maximum(sums, 1e-12)).mean(axis=0), np.float64)
