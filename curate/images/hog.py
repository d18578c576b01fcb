"""Histograms of oriented gradients of small grey faces (N. Dalal, B. Triggs, CVPR 2005), and how unlike the others one is."""

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
    (N, F) float32 in [0, 1]; the four histograms of a block have length one together
    """
    side = images.shape[1]
    makers = [cv2.HOGDescriptor((side, side), (2 * c, 2 * c), (c, c), (c, c), BINS) for c in cells]
    plain = np.ascontiguousarray(images)
    length = sum(BINS * 4 * (side // c - 1) ** 2 for c in cells)
    rows = [np.concatenate([np.ravel(maker.compute(image)) for maker in makers]) for image in plain]
    return np.stack(rows) if rows else np.zeros((0, length), np.float32)


def find_components(described: Floats, count: int) -> tuple[Floats, Floats, float]:
    """The mean (F,), the first principal components (count, F), and the sum of their variances."""
    exact = described.astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(exact.T))
    kept = vectors[:, ::-1][:, :count].T
    signs = np.sign(
        kept[np.arange(len(kept)), np.abs(kept).argmax(axis=1)]
    )  # eigenvectors have none of their own
    components = (kept * signs[:, None]).astype(np.float32)
    return exact.mean(axis=0).astype(np.float32), components, float(values[::-1][:count].sum())


def measure_strangeness(described: Floats, mean: Floats, components: Floats) -> Floats:
    """(N,) squared distance from what the components can say: the reconstruction error."""
    off = described - mean
    error: Floats = (off * off).sum(axis=1) - ((off @ components.T) ** 2).sum(axis=1)
    return error
