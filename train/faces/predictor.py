"""A finished run that predicts single faces.

Comes in: a run folder and faces cut out as squares. Goes out: class probabilities per face.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.images.decode import pixel_hash
from curate.workspace.workspace import Workspace
from train.data.dataset import Pixels
from train.data.tta import count_views, plan_tta, require_views
from train.evaluation.metrics import Probs
from train.evaluation.open_runs import merge_classes, merge_probs, require_merged_view
from train.evaluation.predict import predict_probs
from train.runs.find import find_newest_run
from train.runs.load import load_run
from train.runs.record import RunRecord, read_finished_run


@dataclass(frozen=True)
class PredictorOptions:
    """Which run predicts, and how.

    Attributes
    ----------
    run : folder of a run; None for the newest of the workspace
    classes : "3" merges the classes into positive, neutral and negative; None for the run's own
    tta : number of TTA views, "1" for the face alone, or "flip" for the face and its mirror image
    seed : of random TTA views
    """

    run: Path | None = None
    classes: str | None = None
    tta: str = "1"
    seed: int = 0


DEFAULTS = PredictorOptions()


@dataclass(frozen=True)
class Predictor:
    """A run with its model in memory.

    Attributes
    ----------
    run : the record of the run
    model : the Keras model with the run's best weights
    classes : the K classes of the predictions, merged or the run's own
    tta, seed : the TTA views to average over, and the seed of random ones
    """

    run: RunRecord
    model: Any
    classes: list[str]
    tta: str
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return self.run.folder.name

    @property
    def size(self) -> int:
        """Side of the input faces, pixels."""
        return self.run.recipe.size

    def predict(self, faces: Sequence[Pixels]) -> Probs:
        """(N, K) probabilities of N faces; each row sums to 1.

        Parameters
        ----------
        faces : N arrays (size, size) uint8 grey, 0-255; the same face has the same random views
        """
        if not len(faces):
            return np.zeros((0, len(self.classes)))
        pixels = np.stack(faces)
        keys = [pixel_hash(face) for face in pixels]  # as of an image of that size in a manifest
        tta_views = plan_tta(self.tta, keys, self.run.recipe, self.seed)
        probs = predict_probs(self.model, pixels, np.arange(len(pixels)), tta_views)
        return merge_probs(probs, self.run.classes, self.classes)


def load_predictor(workspace: Workspace, options: PredictorOptions = DEFAULTS) -> Predictor:
    """Load the run that the options name.

    Raises
    ------
    RunError  if there is no such run
    UsageError  if the classes cannot be merged, or all TTA views would be the face itself
    """
    require_merged_view(options.classes)
    count_views(options.tta)
    run = read_finished_run(options.run or find_newest_run(workspace.root / "runs"))
    require_views(options.tta, run.recipe)
    classes = merge_classes(run.classes) if options.classes else run.classes
    return Predictor(run, load_run(run), classes, options.tta, options.seed)
