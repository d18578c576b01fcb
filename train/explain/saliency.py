"""`train saliency`: which pixels a run looks at, on single faces and on the mean of each class, and what those are worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.files import write_atomically
from curate.images.thumbnails import write_array
from curate.result import Result
from curate.workspace.manifest import table_bytes
from curate.workspace.workspace import Workspace
from train.data.batches import one_hot
from train.data.images import Pixels
from train.evaluation.image_grid import enlarge_heat, normalise_heat, overlay, plot_sheet
from train.evaluation.metrics import format_percent
from train.evaluation.open_runs import RunSet, open_runs
from train.explain.attribution import (
    Maps,
    Parts,
    cut_model,
    hide_marked,
    map_gradcam,
    map_gradient,
    map_smoothgrad,
)
from train.runs.folder import METRICS, write_json

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
    run_set = open_runs(workspace, [run] if run else (), rows=rows)
    if dry_run:
        return Result(f"saliency: would look at {run_set.name} on {rows} rows, {per_class} a class")
    model = run_set.load_models()[0]
    reads = max(run_set.count_reads(1), default=None)
    picked = pick_rows(run_set, per_class, seed)
    images, parts = run_set.read_images(run_set.known[0].recipe.size), cut_model(model)
    mapped = [
        map_class(
            model, parts, run_set, name, places, np.asarray(images[run_set.rows[places]]), seed
        )
        for name, places in picked.items()
    ]
    folder = run_set.known[0].folder / f"saliency-{run_set.take_place()}"
    deletion = _write(folder, run_set.name, mapped)
    scores = deletion.groupby("map", sort=False)[list(DELETION)].mean()
    counts = {
        "run": run_set.name, "rows": {name: len(places) for name, places in picked.items()}, "test_reads": reads,
        "hidden_share": HIDDEN_SHARE, "deletion": scores.to_dict("index"),
    }  # fmt: skip
    write_json(folder / METRICS, counts | {"seed": seed})
    total = sum(len(places) for places in picked.values())
    told = format_deletion(scores) if len(scores) else ""
    return Result(
        f"saliency: {run_set.name} on {total:,} {run_set.chosen} rows{told} -> {folder}", counts
    )


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
    model: Any,
    parts: Parts,
    run_set: RunSet,
    name: str,
    places: npt.NDArray[np.int64],
    pixels: Pixels,
    seed: int,
) -> ClassMaps:
    """The maps of the faces of one class.

    Parameters
    ----------
    parts : of the model
    places : (N,) positions among the opened rows
    pixels : (N, S, S) uint8
    """
    targets = one_hot(run_set.targets[places], len(run_set.classes))
    maps = [map_gradient(parts, pixels, targets), map_smoothgrad(parts, pixels, targets, seed)]
    maps.append(
        np.stack(
            [enlarge_heat(cam, pixels.shape[1]) for cam in map_gradcam(parts, pixels, targets)]
        )
    )
    face = np.rint(pixels.mean(axis=0)).astype(np.uint8)
    means = [average_maps(each) for each in maps]
    deletion = pd.DataFrame(columns=["path", "map", *DELETION])
    if len(places) > 1:
        deletion = score_deletion(model, pixels, maps, run_set.classes.index(name))
        deletion.insert(
            0, "path", run_set.manifest.loc[run_set.rows[places], "path"].tolist() * len(maps)
        )
    return ClassMaps(
        [(pixels[0], name), *((overlay(pixels[0], normalise_heat(each[0])), "") for each in maps)],
        [
            (face, f"{name}, {len(places)}"),
            *((overlay(face, normalise_heat(each)), "") for each in means),
        ],
        np.stack(means),
        deletion,
    )


def _write(folder: Path, run: str, mapped: Sequence[ClassMaps]) -> pd.DataFrame:
    """Pictures and tables; hands back what deletion did to all faces."""
    heads = ("face", *METHODS)
    sheet = plot_sheet(
        [each.face for each in mapped], f"{run}: what it looks at", columns=heads, cell_inches=1.3
    )
    write_atomically(folder / "faces.png", sheet)
    sheet = plot_sheet(
        [each.mean for each in mapped], f"{run}: mean map per class", columns=heads, cell_inches=1.3
    )
    write_atomically(folder / "classes.png", sheet)
    write_array(folder / "classes.npy", np.stack([each.means for each in mapped]))
    deletion = pd.concat(
        [each.deletion for each in mapped if len(each.deletion)] or [mapped[0].deletion]
    )
    write_atomically(folder / "deletion.csv", table_bytes(deletion.round(6)))
    return deletion


def pick_rows(run_set: RunSet, per_class: int, seed: int) -> dict[str, npt.NDArray[np.int64]]:
    """Class -> positions among the opened rows, at most `per_class`, drawn by the seed."""
    random = np.random.default_rng(seed)
    places = {name: np.flatnonzero(run_set.targets == k) for k, name in enumerate(run_set.classes)}
    return {
        name: random.permutation(found)[:per_class] for name, found in places.items() if len(found)
    }


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
        return np.asarray(
            model.predict(faces[..., None], batch_size=256, verbose=0)[:, label], np.float64
        )

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


def format_deletion(scores: pd.DataFrame) -> str:
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
