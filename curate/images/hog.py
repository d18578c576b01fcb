"""Histograms of oriented gradients (HOG) of small grey faces, and how unlike the others a face is.

Comes in: grey squares. Goes out: a descriptor of each, and its distance from what is usual.

References
----------
N. Dalal and B. Triggs, "Histograms of oriented gradients for human detection", CVPR 2005
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from curate.images.decode import Pixels

Floats = npt.NDArray[np.float32]
BINS = 9


def describe_gradients(images: Pixels, cells: Sequence[int]) -> Floats:
    """Histograms at several cell sizes, side by side.

    Parameters
    ----------
    images : (N, S, S) uint8 grey
    cells : sides of the cells, pixels, that divide S; blocks are two cells wide and move by one

    Returns
    -------
    (N, F) float32 in [0, 1]; the four histograms of a block together have length one
    """
    side = images.shape[1]
    hogs = [cv2.HOGDescriptor((side, side), (2 * c, 2 * c), (c, c), (c, c), BINS) for c in cells]
    length = sum(BINS * 4 * (side // c - 1) ** 2 for c in cells)
    described = np.zeros((len(images), length), np.float32)
    for row, image in zip(described, np.ascontiguousarray(images), strict=True):
        row[:] = np.concatenate([np.ravel(hog.compute(image)) for hog in hogs])
    return described


def find_components(described: Floats, count: int) -> tuple[Floats, Floats, float]:
    """The mean (F,), the first principal components (count, F), and the sum of their variances."""
    from scipy.linalg import eigh
    from threadpoolctl import threadpool_limits

    exact = described.astype(np.float64)
    # The last ones only: all of them take five times as long.
    last = [exact.shape[1] - count, exact.shape[1] - 1]
    with threadpool_limits(1):  # one order of summation, whatever the machine's number of cores
        values, vectors = eigh(np.cov(exact.T), subset_by_index=last)
    kept = vectors[:, ::-1].T
    # An eigenvector has no sign of its own: the largest coefficient of each becomes positive.
    signs = np.sign(kept[np.arange(len(kept)), np.abs(kept).argmax(axis=1)])
    components = (kept * signs[:, None]).astype(np.float32)
    return exact.mean(axis=0).astype(np.float32), components, float(values.sum())


def measure_strangeness(described: Floats, mean: Floats, components: Floats) -> Floats:
    """(N,) reconstruction error: the squared distance from the span of the components."""
    off = described - mean
    error: Floats = (off * off).sum(axis=1) - ((off @ components.T) ** 2).sum(axis=1)
    return error
