"""`hog`: histograms of oriented gradients, random features, ridge regression; the member of `train oof` that is no network.

It errs elsewhere than a convolutional net, which is what a second opinion is for, and costs a tenth of the time. Gradients:
N. Dalal, B. Triggs, CVPR 2005, at two cell sizes. Random features: A. Rahimi, B. Recht, NIPS 2007, of the principal
components. Ridge regression on one-hot labels; the softmax of its scores is calibrated by `train oof` like any other.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from curate.images.hog import describe_gradients, find_components
from train.data.images import Images, Rows

Floats = npt.NDArray[np.float32]
BLOCK = 4096  # images whose features are held at once
MIRROR = slice(None, None, -1)


@dataclass(frozen=True)
class Hog:
    """What decides how the member learns.

    Attributes
    ----------
    size : side of the faces, pixels
    cells : sides of the cells of the histograms, pixels; blocks are two cells wide
    components : principal components that the random features are made of
    features : number of random features
    width : of the kernel, in root mean squares of the data
    ridge : added to the diagonal
    gain : of the scores before the softmax; calibration makes it good
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
        """Of the progress bar: about as long as this many batches of a small network."""
        return 2 * -(-rows // BLOCK)


def to_json(member: Hog) -> dict[str, Any]:
    """The member as plain JSON values."""
    return {**asdict(member), "cells": list(member.cells)}


def learn_and_predict(
    member: Hog,
    images: Images,
    learn: Rows,
    targets: Rows,
    held_out: Rows,
    classes: int,
    seed: tuple[int, ...],
    bar: Any,
) -> npt.NDArray[np.float64]:
    """Learn from some rows and their mirror images, predict others.

    Parameters
    ----------
    targets : (N,) class indices of the rows `learn`
    bar : advanced by one per block of images

    Returns
    -------
    (M, K) probabilities of `held_out`, the mean of the image's and its mirror's scores
    """
    with threadpool_limits(1):  # sums in the same order on any machine's number of cores
        random = np.random.default_rng(seed)
        basis = _find_components(member, images, learn)
        waves = (
            random.standard_normal((member.components, member.features)).astype(np.float32)
            * member.width
        )
        phase = random.uniform(0, 2 * np.pi, member.features).astype(np.float32)

        def project(rows: Rows, way: slice) -> Floats:
            component = (
                describe_gradients(images[rows][:, :, way], member.cells) - basis[0]
            ) @ basis[1:].T
            wave = np.cos(component @ waves + phase) * np.float32(np.sqrt(2 / member.features))
            return np.concatenate([wave, 0.3 * component], axis=1)

        onehot = np.eye(classes, dtype=np.float32)[targets]
        mean = onehot.mean(axis=0)
        gram: Any = 0.0
        right: Any = 0.0
        for start in range(0, len(learn), BLOCK):
            block = slice(start, start + BLOCK)
            for way in (slice(None), MIRROR):
                seen = project(learn[block], way)
                gram, right = gram + seen.T @ seen, right + seen.T @ (onehot[block] - mean)
            bar.update(2)
        gram[np.diag_indices_from(gram)] += member.ridge
        weights = np.linalg.solve(gram, right)
        scores = [
            sum(project(held_out[s : s + BLOCK], way) @ weights for way in (slice(None), MIRROR))
            / 2
            + mean
            for s in range(0, len(held_out), BLOCK)
        ]
    raised = np.exp(member.gain * np.concatenate(scores).astype(np.float64))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _find_components(member: Hog, images: Images, learn: Rows) -> Floats:
    """(1 + components, F): the mean, and the principal components of a sample over their root mean square."""
    sample = describe_gradients(images[learn[:: max(1, len(learn) // 8192)]], member.cells)
    mean, components, variance = find_components(sample, member.components)
    return np.concatenate([mean[None], components / np.float32(np.sqrt(variance))])
