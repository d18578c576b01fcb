"""A finished run that is asked about single faces: its model, its classes, and the classes that answers are given in."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.workspace.workspace import Workspace
from train.data.tta import count_views, plan_tta, require_views
from train.evaluation.open_runs import Probs, merge_classes, merge_probs, require_merged
from train.evaluation.predict import predict_probs
from train.runs.find import find_newest_run
from train.runs.folder import Record, read_record
from train.runs.load import load_run


@dataclass(frozen=True)
class Predictor:
    """A loaded run; `classes` are those of its answers, `seed` is that of random views."""

    known: Record
    model: Any
    classes: list[str]
    tta: str
    seed: int = 0

    @property
    def size(self) -> int:
        """Side of the faces that it is given, pixels."""
        return self.known.recipe.size

    def judge(self, faces: Sequence[npt.NDArray[np.uint8]]) -> Probs:
        """(N, K) probabilities of N faces, (S, S) uint8 grey each."""
        if not len(faces):
            return np.zeros((0, len(self.classes)))
        pixels = np.stack(faces)
        keys = [hashlib.sha256(face.tobytes()).hexdigest() for face in pixels]
        views = plan_tta(self.tta, keys, self.known.recipe, self.seed)
        probs = predict_probs(self.model, pixels, np.arange(len(pixels)), views)
        return merge_probs(probs, self.known.classes, self.classes)


def load_speaker(
    workspace: Workspace, run: Path | None, classes: str | None, tta: str, seed: int = 0
) -> Predictor:
    """The run in that folder, or the newest of the workspace.

    Raises
    ------
    RunError  if there is none
    UsageError  if the classes cannot be merged, or the views would all be the face itself
    """
    require_merged(classes)
    count_views(tta)
    known = read_record(run or find_newest_run(workspace.root / "runs"))
    require_views(tta, known.recipe)
    told = merge_classes(known.classes) if classes else known.classes
    return Predictor(known, load_run(known), told, tta, seed)
