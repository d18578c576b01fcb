"""`train saliency`: which pixels matter for the prediction of each class, tested by deletion.

Input: a run and rows of a workspace. Output: saliency maps of one face per class and mean maps of
each class, and the probability of the label with the most salient pixels hidden, in a folder of the
run.
"""

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
from train.data.dataset import Pixels, Rows
from train.evaluation.image_grid import Heat, enlarge_heat, normalise_heat, overlay, plot_image_grid
from train.evaluation.metrics import format_percent
from train.evaluation.open_runs import RunSet, open_runs
from train.evaluation.predict import PREDICT_BATCH
from train.explain.attribution import (
    Maps,
    SplitModel,
    hide_salient_pixels,
    map_gradcam,
    map_gradient,
    map_smoothgrad,
    split_model,
)
from train.runs.folder import METRICS, write_json

# Faces whose maps are averaged for each class: enough that no single face dominates.
PER_CLASS = 32
METHODS = ("gradient", "SmoothGrad", "Grad-CAM")
# Share of the pixels that the deletion test hides: enough to change the prediction, and most of the
# face stays.
HIDDEN_SHARE = 0.2
# Columns of the deletion test, the mean probability of the label: no pixel hidden, the most salient
# pixels of the face's own map hidden, those of another face's map hidden.
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
    """Write the maps of one face per class and the mean maps of each class; test them by deletion.

    Parameters
    ----------
    run : folder of the run; None for the newest of the workspace
    rows : train, val, test, or all kept rows
    per_class : most faces of each class whose maps are averaged, drawn with the seed
    seed : of the drawn faces and of SmoothGrad's noise
    """
    run_set = open_runs(workspace, [run] if run else (), rows=rows)
    if dry_run:
        return Result(f"saliency: would explain {run_set.name} on {rows} rows, {per_class} a class")
    model = run_set.load_models()[0]
    reads = max(run_set.count_reads(1), default=None)
    drawn = draw_rows(run_set, per_class, seed)
    images, parts = run_set.read_images(run_set.records[0].recipe.size), split_model(model)
    class_maps = []
    for name, numbers in drawn.items():
        faces = Faces(name, run_set.classes.index(name), numbers, np.asarray(images[numbers]))
        class_maps.append(map_class(model, parts, run_set, faces, seed))
    folder = run_set.records[0].folder / f"saliency-{run_set.reserve_suffix()}"
    deletion = _write(folder, run_set.name, class_maps)
    scores = deletion.groupby("map", sort=False)[list(DELETION)].mean()
    row_counts = {name: len(numbers) for name, numbers in drawn.items()}
    counts = {
        "run": run_set.name, "rows": row_counts, "test_reads": reads,
        "manifest_sha256": run_set.manifest_sha256,
        "hidden_share": HIDDEN_SHARE, "deletion": scores.to_dict("index"),
    }  # fmt: skip
    write_json(folder / METRICS, counts | {"seed": seed})
    total = f"{sum(row_counts.values()):,} {run_set.selection} rows"
    tested = len(deletion) // max(len(scores), 1)
    test = format_deletion(scores, tested, sum(row_counts.values())) if len(scores) else ""
    return Result(f"saliency: {run_set.name} on {total}{test} -> {folder}", counts)


@dataclass(frozen=True)
class Faces:
    """Faces of one class.

    Attributes
    ----------
    name : of the class
    label : index of the class
    rows : (N,) row numbers
    pixels : (N, S, S) uint8
    """

    name: str
    label: int
    rows: Rows
    pixels: Pixels


@dataclass(frozen=True)
class ClassMaps:
    """The maps of the faces of one class, as plots and as numbers.

    Attributes
    ----------
    first_face : images with captions: the first face, and its map by each of METHODS
    mean_face : images with captions: the mean face, and the mean map by each of METHODS
    means : (3, S, S) the mean maps, in the order of METHODS
    deletion : from `score_deletion`, with the path of each face; no rows if the class has one face
    """

    first_face: list[tuple[Pixels, str]]
    mean_face: list[tuple[Pixels, str]]
    means: Heat
    deletion: pd.DataFrame


def map_class(model: Any, parts: SplitModel, run_set: RunSet, faces: Faces, seed: int) -> ClassMaps:
    """Map the faces of one class by all METHODS and average the maps.

    Parameters
    ----------
    parts : of the model
    """
    pixels, classes = faces.pixels, len(run_set.classes)
    targets = one_hot(np.full(len(pixels), faces.label), classes)
    gradcam = map_gradcam(parts, pixels, targets)
    maps: list[Maps] = [
        map_gradient(parts, pixels, targets),
        map_smoothgrad(parts, pixels, targets, seed),
        np.stack([enlarge_heat(heat, pixels.shape[1]) for heat in gradcam]),
    ]
    means = [average_maps(each) for each in maps]
    mean_face = np.rint(pixels.mean(axis=0)).astype(np.uint8)
    deletion = pd.DataFrame(columns=["path", "map", *DELETION])
    if len(pixels) > 1:
        deletion = score_deletion(model, pixels, maps, faces.label)
        paths = run_set.manifest.loc[faces.rows, "path"].tolist()
        deletion.insert(0, "path", paths * len(maps))
    return ClassMaps(
        first_face=_overlay_maps(pixels[0], faces.name, [each[0] for each in maps]),
        mean_face=_overlay_maps(mean_face, f"{faces.name}, {len(pixels)}", means),
        means=np.stack(means),
        deletion=deletion,
    )


def _overlay_maps(
    face: Pixels, caption: str, maps: Sequence[npt.NDArray[np.floating]]
) -> list[tuple[Pixels, str]]:
    """The face with its caption, and the face under each map."""
    overlays = [overlay(face, normalise_heat(each)) for each in maps]
    return [(face, caption), *((image, "") for image in overlays)]


def _write(folder: Path, run: str, class_maps: Sequence[ClassMaps]) -> pd.DataFrame:
    """Write plots and tables; return the deletion test of all faces."""
    columns = ("face", *METHODS)
    for file, title, cells in (
        ("faces.png", "saliency per face", [each.first_face for each in class_maps]),
        ("classes.png", "mean saliency per class", [each.mean_face for each in class_maps]),
    ):
        grid = plot_image_grid(cells, f"{run}: {title}", columns=columns, cell_inches=1.3)
        write_atomically(folder / file, grid)
    write_array(folder / "classes.npy", np.stack([each.means for each in class_maps]))
    tables = [each.deletion for each in class_maps]
    filled = [table for table in tables if len(table)]
    deletion = pd.concat(filled) if filled else tables[0]
    write_atomically(folder / "deletion.csv", table_bytes(deletion.round(6)))
    return deletion


def draw_rows(run_set: RunSet, per_class: int, seed: int) -> dict[str, Rows]:
    """Class -> numbers of at most `per_class` of its selected rows, drawn with the seed."""
    random = np.random.default_rng(seed)
    drawn = {}
    for label, name in enumerate(run_set.classes):
        numbers = run_set.rows[run_set.targets == label]
        if len(numbers):
            drawn[name] = random.permutation(numbers)[:per_class]
    return drawn


def score_deletion(model: Any, pixels: Pixels, maps: Sequence[Maps], label: int) -> pd.DataFrame:
    """The probability of the label with the most salient pixels of each face hidden.

    The map of another face of the class hides as many pixels. It measures the loss from hiding
    places that are typical of the class, such as the mouth. Only the loss beyond that shows that
    the map belongs to the face.

    Parameters
    ----------
    pixels : (N, S, S) uint8, two faces or more of one class
    maps : (N, S, S) by each of METHODS
    label : index of the class

    Returns
    -------
    one row per method and face: `map`, and the probability of the label in [0, 1], `whole`: of the
    face, `own_map`: with the most salient pixels of its map hidden, `another_map`: with those of
    another face's map hidden

    References
    ----------
    V. Petsiuk et al., RISE, BMVC 2018: deletion, here at one share of the pixels and not as the
    area under a curve
    """

    def predict_label(faces: Pixels) -> npt.NDArray[np.float64]:
        probs = model.predict(faces[..., None], batch_size=PREDICT_BATCH, verbose=0)
        return np.asarray(probs[:, label], np.float64)

    whole = predict_label(pixels)
    tables = []
    for method, own in zip(METHODS, maps, strict=True):
        others = np.roll(own, 1, axis=0)
        hidden = [hide_salient_pixels(pixels, each, HIDDEN_SHARE) for each in (own, others)]
        own_map, another_map = (predict_label(faces) for faces in hidden)
        columns = {"whole": whole, "own_map": own_map, "another_map": another_map}
        tables.append(pd.DataFrame({"map": method, **columns}))
    return pd.concat(tables)


def format_deletion(scores: pd.DataFrame, tested: int, rows: int) -> str:
    """The mean probabilities of the label: of the whole face, and by each method.

    Parameters
    ----------
    tested : how many of the rows they are of: classes of one face have no other face's map
    """
    methods = []
    for method, row in scores.iterrows():
        own, another = format_percent(row["own_map"]), format_percent(row["another_map"])
        methods.append(f"{method} {own} (another face's {another})")
    whole = format_percent(scores["whole"].iloc[0])
    share = f"{100 * HIDDEN_SHARE:.0f} %"
    few = f" (of the {tested:,} in classes of two and more)" if tested < rows else ""
    return (
        f": probability of the label {whole}{few}, with the most salient {share} of the pixels "
        f"hidden: {', '.join(methods)}"
    )


def average_maps(maps: npt.NDArray[np.floating]) -> Heat:
    """(N, S, S) -> (S, S): the mean of the maps, each first scaled to sum to 1.

    So all faces count equally.
    """
    sums = maps.sum(axis=(1, 2), keepdims=True)
    return np.asarray((maps / np.maximum(sums, 1e-12)).mean(axis=0), np.float64)
