"""`hog`: the model of `train oof` that is not a network.

Comes in: faces, labels of the training rows. Goes out: probabilities of the held-out rows. The
features are histograms of oriented gradients at two cell sizes (N. Dalal, B. Triggs, CVPR 2005),
then random Fourier features of their principal components (A. Rahimi, B. Recht, NIPS 2007); the
classifier is ridge regression on one-hot labels. `train.oof.join` calibrates its softmax as that of
any other model. Its errors differ from a convolutional network's, which is the use of a second
opinion, and it takes a tenth of the time.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from curate.images.hog import describe_gradients, find_components
from train.data.dataset import Examples, Images, Rows

Floats = npt.NDArray[np.float32]
BLOCK = 4096  # images whose features are in memory at once
SAMPLE = 8192  # images from which the principal components are computed
# Each image as it is and mirrored: slices of the columns.
ORIENTATIONS = (slice(None), slice(None, None, -1))


@dataclass(frozen=True)
class Hog:
    """The hyperparameters of the model.

    Attributes
    ----------
    size : side of the faces, pixels
    cells : sides of the cells of the histograms, pixels; blocks are two cells wide
    components : number of principal components, the input of the random features
    features : number of random features
    width : of the kernel, in root mean squares of the data
    ridge : added to the diagonal
    gain : factor of the scores before the softmax; calibration corrects it
    """

    name: str = "hog"
    size: int = 48
    cells: tuple[int, ...] = (8, 6)
    components: int = 500
    features: int = 3072
    width: float = 1.0
    ridge: float = 0.3
    gain: float = 10.0

    def count_steps(self, rows: int) -> int:
        """Steps of the progress bar; one takes about as long as a batch of a small network."""
        return 2 * -(-rows // BLOCK)


def to_json(model: Hog) -> dict[str, Any]:
    """The hyperparameters as plain JSON values."""
    return {**asdict(model), "cells": list(model.cells)}


def fit_and_predict(
    model: Hog,
    train: Examples,
    held_out: Rows,
    class_count: int,
    seed: tuple[int, ...],
    bar: Any,
) -> npt.NDArray[np.float64]:
    """Fit the model on some rows and predict others.

    Parameters
    ----------
    train : rows to learn from, with their class indices; weights are ignored
    held_out : (M,) row numbers to predict
    class_count : number of classes, K
    bar : progress bar, advanced after each block of training images

    Returns
    -------
    (M, K) probabilities; the scores are the mean over the image and its mirror image
    """
    with threadpool_limits(1):  # one order of summation, whatever the machine's number of cores
        random = np.random.default_rng(seed)
        project = _draw_projection(model, train, random)
        targets = np.eye(class_count, dtype=np.float32)[train.targets]
        mean = targets.mean(axis=0)
        gram: Any = 0.0
        right: Any = 0.0
        for start in range(0, len(train.rows), BLOCK):
            block = slice(start, start + BLOCK)
            for orientation in ORIENTATIONS:
                features = project(train.rows[block], orientation)
                gram = gram + features.T @ features
                right = right + features.T @ (targets[block] - mean)
            bar.update(2)
        gram[np.diag_indices_from(gram)] += model.ridge
        weights = np.linalg.solve(gram, right)
        scores = []
        for start in range(0, len(held_out), BLOCK):
            rows = held_out[start : start + BLOCK]
            total = sum(project(rows, orientation) @ weights for orientation in ORIENTATIONS)
            scores.append(total / 2 + mean)
    raised = np.exp(model.gain * np.concatenate(scores).astype(np.float64))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _draw_projection(
    model: Hog, train: Examples, random: np.random.Generator
) -> Callable[[Rows, slice], Floats]:
    """The function from (n,) row numbers to their (n, features + components) float32 features."""
    mean, basis = _find_components(model, train.images, train.rows)
    normal = random.standard_normal((model.components, model.features))
    waves = normal.astype(np.float32) * model.width
    phase = random.uniform(0, 2 * np.pi, model.features).astype(np.float32)
    amplitude = np.float32(np.sqrt(2 / model.features))

    def project(rows: Rows, orientation: slice) -> Floats:
        faces = train.images[rows][:, :, orientation]
        components = (describe_gradients(faces, model.cells) - mean) @ basis.T
        cosines = np.cos(components @ waves + phase) * amplitude
        return np.concatenate([cosines, 0.3 * components], axis=1)

    return project


def _find_components(model: Hog, images: Images, rows: Rows) -> tuple[Floats, Floats]:
    """Mean (F,) and principal components (components, F) of a sample, of root mean square 1."""
    step = max(1, len(rows) // SAMPLE)
    sample = describe_gradients(images[rows[::step]], model.cells)
    mean, components, variance = find_components(sample, model.components)
    return mean, components / np.float32(np.sqrt(variance))
