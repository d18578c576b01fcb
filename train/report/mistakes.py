"""The most confident mistakes of a run: the face, and what the model looked at.

Comes in: the predictions of an evaluation and the run's model. Goes out: pictures as data: URLs.
The map is Grad-CAM of the predicted class: where the last feature maps speak for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.images.decode import (
    UnreadableImageError,
    decode_image,
    read_recorded,
    resize_grey,
    to_grey,
)
from curate.images.embed import shrink, to_data_url
from curate.workspace.places import OutsideError, locate_named
from curate.workspace.predictions import PREFIX, class_names
from curate.workspace.workspace import Workspace
from train.data.batches import one_hot
from train.data.dataset import Pixels
from train.evaluation.compare import read_predictions
from train.evaluation.evaluation_files import REMEDY
from train.evaluation.image_grid import enlarge_heat, normalise_heat, overlay
from train.evaluation.open_runs import PREDICTIONS_FILE
from train.explain.attribution import map_gradcam, split_model
from train.runs.errors import reading
from train.runs.load import load_run
from train.runs.read_counter import count_test_read
from train.runs.record import RunRecord

SHOWN = 24


@dataclass(frozen=True)
class Mistake:
    """One row: its face and the map over it as data: URLs, empty if it cannot be shown."""

    path: str
    label: str
    predicted: str
    confidence: float
    image: str = ""
    heat: str = ""


def list_mistakes(evaluation: Path) -> list[Mistake]:
    """The most confident mistakes, the first of each label in turn, the most confident first.

    Raises
    ------
    RunError  if the table of predictions is damaged
    """
    file = evaluation / PREDICTIONS_FILE
    table = read_predictions(evaluation, has_probs=True)
    with reading(file, REMEDY):
        probs = table[[PREFIX + name for name in class_names(table)]].astype(float)
        wrong = table.assign(confidence=probs.max(axis=1))[table["predicted"] != table["label"]]
        ranked = wrong.sort_values(["confidence", "path"], ascending=[False, True])
        turn = ranked.groupby("label").cumcount()
        chosen = ranked.assign(turn=turn).sort_values("turn", kind="stable").head(SHOWN)
        shown = chosen.sort_values(["confidence", "path"], ascending=[False, True])
        names = ("path", "label", "predicted", "confidence")
        return [Mistake(*row) for row in zip(*(shown[name] for name in names), strict=True)]


def picture_mistakes(
    mistakes: Sequence[Mistake],
    evaluation: Path,
    workspace: Workspace,
    record: RunRecord,
    *,
    rows: str,
) -> list[Mistake]:
    """The mistakes with their pictures.

    Parameters
    ----------
    evaluation : the folder from which they are
    rows : that it scored; if test rows are among the mistakes, a read of test is counted

    Raises
    ------
    WorkspaceError  if the pictures lie in a folder that the user has not named
    RunError  if the weights are damaged
    """
    manifest, digest = workspace.read_hashed()
    shown = manifest[manifest["path"].isin([each.path for each in mistakes])]
    locate = locate_named(workspace, shown["path"])
    columns = zip(shown["path"], shown["box"], shown["sha256"], strict=True)
    faces = {row[0]: _read_face(locate, *row) for row in columns}
    found = [(each, face) for each in mistakes if (face := faces.get(each.path)) is not None]
    if not found:
        return list(mistakes)
    size = record.recipe.size
    pixels = np.stack([resize_grey(face, size) for _, face in found])
    with reading(evaluation / PREDICTIONS_FILE, REMEDY):
        predicted = [record.classes.index(each.predicted) for each, _ in found]
    model = load_run(record)
    if (shown["split"] == "test").any():
        count_test_read(record.folder, rows, 1, digest)
    heats = _map_predicted(model, pixels, predicted, len(record.classes))
    urls = {
        each.path: (to_data_url(shrink(face)), to_data_url(heat))
        for (each, face), heat in zip(found, heats, strict=True)
    }
    return [
        Mistake(each.path, each.label, each.predicted, each.confidence, *urls.get(each.path, ()))
        for each in mistakes
    ]


def _read_face(locate: Callable[[str], Path], path: str, box: str, sha256: str) -> Pixels | None:
    """(H, W) grey; None if it cannot be read or has other bytes than `build` recorded."""
    try:
        return to_grey(decode_image(read_recorded(locate(path), sha256, decodes=False), box))
    except (UnreadableImageError, OutsideError):
        return None


def _map_predicted(
    model: Any, pixels: Pixels, predicted: Sequence[int], classes: int
) -> list[Pixels]:
    """(S, S, 3) of each face: Grad-CAM of its predicted class over it."""
    targets = one_hot(np.array(predicted), classes)
    maps = map_gradcam(split_model(model), pixels, targets)
    enlarged = [enlarge_heat(heat, pixels.shape[1]) for heat in maps]
    return [
        overlay(face, normalise_heat(heat)) for face, heat in zip(pixels, enlarged, strict=True)
    ]
